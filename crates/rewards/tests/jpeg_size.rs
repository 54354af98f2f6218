//! JPEG sizes are those of Pillow, made by `golden/rewards/jpeg.py`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use noisefind_core::media::Media;
use noisefind_core::ports::{Reward, Scorer};
use noisefind_rewards::JpegSize;
use noisefind_rewards::jpeg_bytes;
use noisefind_rewards::resize::RgbPixels;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/rewards")
}

#[test]
fn sizes_are_those_of_pillow_but_for_blocks_that_fill_up() {
    let sizes: BTreeMap<String, usize> =
        serde_json::from_str(&std::fs::read_to_string(golden().join("jpeg.json")).unwrap()).unwrap();
    assert_eq!(sizes.len(), 5);
    for (path, expected) in sizes {
        let image = image::open(golden().join(&path)).unwrap().to_rgb8();
        let (width, height) = (image.width() as usize, image.height() as usize);
        let found = jpeg_bytes(&RgbPixels::new(width, height, image.into_raw()).unwrap()).unwrap();
        let fills_up = [width, height].iter().any(|side| side.div_ceil(8) % 2 == 1);
        let largest = if fills_up { expected + expected * 3 / 100 } else { expected };
        assert!((expected..=largest).contains(&found), "{path}: {found} bytes instead of {expected}");
    }
}

#[test]
fn noise_is_large_and_a_flat_image_is_small() {
    let noise = (0..3 * 64 * 64).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let media =
        [Media::new(1, 64, 64, noise).unwrap(), Media::new(1, 64, 64, vec![128; 3 * 64 * 64]).unwrap()];
    let given = |mut scorer: JpegSize| -> Vec<f64> {
        scorer.score("", &media).unwrap().iter().filter_map(Reward::given).collect()
    };
    let sizes = given(JpegSize::Incompressible);
    assert!(sizes[0] > 4.0 && sizes[1] < 1.5, "{sizes:?}");
    let negative: Vec<f64> = sizes.iter().map(|size| -size).collect();
    assert_eq!(given(JpegSize::Compressible), negative);
}
