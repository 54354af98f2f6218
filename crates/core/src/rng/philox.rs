//! The counter-based generator Philox4x32-10: a random block is a pure function of its counter and key.
//!
//! Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

const MULTIPLIER_0: u64 = 0xD251_1F53;
const MULTIPLIER_1: u64 = 0xCD9E_8D57;
const WEYL_0: u32 = 0x9E37_79B9;
const WEYL_1: u32 = 0xBB67_AE85;
const ROUNDS: usize = 10;

/// Four random words for `counter` under `key`.
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    let [mut key_0, mut key_1] = key;
    for _ in 0..ROUNDS {
        let product_0 = MULTIPLIER_0 * u64::from(a);
        let product_1 = MULTIPLIER_1 * u64::from(c);
        (a, b, c, d) = (
            (product_1 >> 32) as u32 ^ b ^ key_0,
            product_1 as u32,
            (product_0 >> 32) as u32 ^ d ^ key_1,
            product_0 as u32,
        );
        key_0 = key_0.wrapping_add(WEYL_0);
        key_1 = key_1.wrapping_add(WEYL_1);
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three known answers for philox4x32-10 that its authors publish with their library.
    #[test]
    fn agrees_with_the_published_known_answers() {
        assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox4x32_10([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32_10([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
