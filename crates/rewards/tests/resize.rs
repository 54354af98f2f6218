//! Pillow's own results, made by `golden/rewards/resize.py`, are met to the byte.

use std::path::PathBuf;

use noisefind_rewards::resize::{Filter, RgbPicture, resize};

fn golden(name: &str) -> RgbPicture {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/rewards/resize").join(name);
    let picture = image::open(&path).expect("the golden picture is there").to_rgb8();
    RgbPicture::new(picture.width() as usize, picture.height() as usize, picture.into_raw())
        .expect("a picture has pixels")
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
