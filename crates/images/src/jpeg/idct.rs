//! The inverse cosine transform, in the fixed-point arithmetic of libjpeg's accurate method.
//!
//! Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989, columns
//! first, with constants of 13 bits and two more bits between the passes.

const CONST_BITS: u32 = 13;
const PASS_BITS: u32 = 2;

/// `round(x 2^13)`
const fn fixed(x: f64) -> i32 {
    (x * (1 << CONST_BITS) as f64 + 0.5) as i32
}

/// Eight bits for each of 64 quantised coefficients, both in rows.
pub(super) fn inverse(block: &[i16; 64], quantization: &[u16; 64]) -> [u8; 64] {
    let mut between = [0i32; 64];
    for column in 0..8 {
        let input: [i32; 8] = std::array::from_fn(|row| {
            let at = row * 8 + column;
            i32::from(block[at]).wrapping_mul(i32::from(quantization[at]))
        });
        for (row, value) in one_dimension(input, CONST_BITS - PASS_BITS).into_iter().enumerate() {
            between[row * 8 + column] = value;
        }
    }
    let mut pixels = [0; 64];
    for (row, pixels) in between.as_chunks::<8>().0.iter().zip(pixels.as_chunks_mut::<8>().0) {
        let values = one_dimension(*row, CONST_BITS + PASS_BITS + 3);
        *pixels = values.map(|value| value.saturating_add(128).clamp(0, 255) as u8);
    }
    pixels
}

/// Eight values from eight coefficients, divided by `2^shift` and rounded.
fn one_dimension(input: [i32; 8], shift: u32) -> [i32; 8] {
    let times = |value: i32, factor: i32| value.wrapping_mul(factor);
    let [c0, c1, c2, c3, c4, c5, c6, c7] = input;

    // Even coefficients: a rotation of the second and sixth.
    let z = times(c2.wrapping_add(c6), fixed(0.541_196_100));
    let (t2, t3) =
        (z.wrapping_sub(times(c6, fixed(1.847_759_065))), z.wrapping_add(times(c2, fixed(0.765_366_865))));
    let (t0, t1) = (c0.wrapping_add(c4) << CONST_BITS, c0.wrapping_sub(c4) << CONST_BITS);
    let even = [t0.wrapping_add(t3), t1.wrapping_add(t2), t1.wrapping_sub(t2), t0.wrapping_sub(t3)];

    // Odd coefficients.
    let (z1, z2) = (c7.wrapping_add(c1), c5.wrapping_add(c3));
    let (z3, z4) = (c7.wrapping_add(c3), c5.wrapping_add(c1));
    let z5 = times(z3.wrapping_add(z4), fixed(1.175_875_602));
    let z1 = times(z1, -fixed(0.899_976_223));
    let z2 = times(z2, -fixed(2.562_915_447));
    let z3 = z5.wrapping_sub(times(z3, fixed(1.961_570_560)));
    let z4 = z5.wrapping_sub(times(z4, fixed(0.390_180_644)));
    let odd = [
        times(c1, fixed(1.501_321_110)).wrapping_add(z1).wrapping_add(z4),
        times(c3, fixed(3.072_711_026)).wrapping_add(z2).wrapping_add(z3),
        times(c5, fixed(2.053_119_869)).wrapping_add(z2).wrapping_add(z4),
        times(c7, fixed(0.298_631_336)).wrapping_add(z1).wrapping_add(z3),
    ];

    let half = 1 << (shift - 1);
    std::array::from_fn(|at| {
        let value =
            if at < 4 { even[at].wrapping_add(odd[at]) } else { even[7 - at].wrapping_sub(odd[7 - at]) };
        value.wrapping_add(half) >> shift
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_alone_gives_a_flat_block() {
        let mut block = [0; 64];
        block[0] = 5;
        assert_eq!(inverse(&block, &[16; 64]), [128 + 10; 64]);
    }

    #[test]
    fn it_is_the_cosine_transform() {
        let block: [i16; 64] = std::array::from_fn(|at| ((at * 37 % 23) as i16 - 11) / (1 + at as i16 / 8));
        let cosine = |x: usize, u: usize| {
            let scale = if u == 0 { 0.5f64.sqrt() } else { 1.0 };
            scale * (std::f64::consts::PI * (2 * x + 1) as f64 * u as f64 / 16.0).cos() / 2.0
        };
        let found = inverse(&block, &[7; 64]);
        for (at, &pixel) in found.iter().enumerate() {
            let terms =
                (0..64).map(|k| 7.0 * f64::from(block[k]) * cosine(at / 8, k / 8) * cosine(at % 8, k % 8));
            let expected = (terms.sum::<f64>() + 128.0).clamp(0.0, 255.0);
            assert!((f64::from(pixel) - expected).abs() < 1.0, "{at}: {pixel}, {expected}");
        }
    }
}
