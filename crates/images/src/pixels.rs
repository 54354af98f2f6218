//! Pixels of other kinds in RGB, with the rounding of Pillow.

/// A colour over white.
pub(crate) fn over_white([red, green, blue, alpha]: [u8; 4]) -> [u8; 3] {
    const UNIT: u32 = 1 << 7;
    let opacity = u32::from(alpha) * UNIT;
    let mix = |color: u8| {
        let sum = u32::from(color) * opacity + 255 * (255 * UNIT - opacity) + (0x80 << 7);
        // Division by 255, as ((x >> 8) + x) >> 8.
        (((((sum >> 8) + sum) >> 8) >> 7).min(255)) as u8
    };
    if alpha == 0 { [255; 3] } else { [red, green, blue].map(mix) }
}

/// Each of the first three inks and black cover light together.
pub(crate) fn cmyk_to_rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let light = 255 - i32::from(black);
    let ink = |ink: u8| {
        let covered = i32::from(ink) * light + 128;
        (light - (((covered >> 8) + covered) >> 8)).clamp(0, 255) as u8
    };
    [ink(cyan), ink(magenta), ink(yellow)]
}

/// Numbers of `bits` (1, 2, 4, 8 or 16) each, highest bit first, from rows that begin with whole bytes.
pub(crate) fn unpack(row: &[u8], bits: usize, count: usize) -> Vec<u16> {
    let number = |at: usize| match bits {
        16 => u16::from_be_bytes([row[2 * at], row[2 * at + 1]]),
        8 => u16::from(row[at]),
        _ => {
            let place = at * bits;
            let shift = 8 - bits - place % 8;
            u16::from(row[place / 8] >> shift) & ((1 << bits) - 1)
        }
    };
    (0..count).map(number).collect()
}

/// The table of a palette image: 256 colours, of which those that the file does not give are grays.
pub(crate) fn palette(bytes: &[u8]) -> Vec<[u8; 3]> {
    let mut colors: Vec<[u8; 3]> = (0..=255).map(|level| [level; 3]).collect();
    for (color, given) in colors.iter_mut().zip(bytes.as_chunks::<3>().0) {
        *color = *given;
    }
    colors
}
