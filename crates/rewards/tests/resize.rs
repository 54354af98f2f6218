//! Pillow's own results, made by `golden/rewards/resize.py`, are met to the byte.

use std::path::PathBuf;

use noisefind_rewards::resize::{Filter, RgbPixels, resize, shortest_side_size};

fn golden(name: &str) -> RgbPixels {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/rewards/resize").join(name);
    let image = image::open(&path).expect("the golden image is there").to_rgb8();
    RgbPixels::new(image.width() as usize, image.height() as usize, image.into_raw())
        .expect("an image has pixels")
}

#[test]
fn every_filter_gives_the_bytes_of_pillow() {
    let sizes =
        [("64x64", "28x28"), ("23x41", "32x17"), ("50x30", "50x12"), ("31x31", "47x47"), ("7x90", "3x124")];
    for (from, to) in sizes {
        for (name, filter) in
            [("bilinear", Filter::Bilinear), ("bicubic", Filter::Bicubic), ("lanczos", Filter::Lanczos)]
        {
            let expected = golden(&format!("{from}-to-{to}-{name}.png"));
            let found = resize(&golden(&format!("{from}.png")), expected.width(), expected.height(), filter);
            let different = expected.bytes().iter().zip(found.bytes()).filter(|(a, b)| a != b).count();
            assert_eq!(different, 0, "{name} from {from} to {to}: {different} bytes differ");
        }
    }
}

/// Ramps, hard edges and, in the last quarter of the rows, noise, as the golden script makes them.
fn formula(width: usize, height: usize) -> RgbPixels {
    let pixel = |at: usize| {
        let (row, column) = ((at / width) as u64, (at % width) as u64);
        let ramp = ((column * 3 + row * 2) as i64 % 510 - 255).unsigned_abs();
        let edge = (column / 6 + row / 9) % 2 * 255;
        let scrambled = (column * 73_856_093 + row * 19_349_663) % (1 << 32) * 2_654_435_761 % (1 << 32);
        let noise = if row * 4 >= height as u64 * 3 { scrambled >> 24 } else { row % 256 };
        [ramp as u8, edge as u8, noise as u8]
    };
    let bytes = (0..width * height).flat_map(pixel).collect();
    RgbPixels::new(width, height, bytes).expect("an image has pixels")
}

#[test]
fn the_sizes_that_scorers_meet_give_the_bytes_of_pillow() {
    for (from, to) in [
        ((512, 512), "224x224"),
        ((1024, 1024), "224x224"),
        ((500, 333), "336x224"),
        ((333, 767), "224x515"),
        ((100, 80), "280x224"),
    ] {
        let expected = golden(&format!("{}x{}-to-{to}-bicubic.png", from.0, from.1));
        let (width, height) = (expected.width(), expected.height());
        assert_eq!(shortest_side_size(from.0, from.1, 224), (width, height));
        let found = resize(&formula(from.0, from.1), width, height, Filter::Bicubic);
        let different = expected.bytes().iter().zip(found.bytes()).filter(|(a, b)| a != b).count();
        assert_eq!(different, 0, "from {from:?} to {to}: {different} bytes differ");
    }
}
