//! From an image to the numbers that a vision tower takes: resize, crop, scale, normalise.
//!
//! Reference: `CLIPImageProcessor` of transformers and its `preprocessor_config.json`.

use std::collections::BTreeMap;

use noisefind_core::media::Media;
use noisefind_nn::ModelFiles;
use serde_json::Value;

use crate::Error;
use crate::resize::{CropStart, Filter, RgbPixels, center_crop, resize, shortest_side_size};

/// Mean of the three colours in CLIP's training images.
pub const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Standard deviation of the three colours in CLIP's training images.
pub const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

const FILE: &str = "preprocessor_config.json";

/// To which size an image is brought before it is cropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSize {
    /// The shorter side gets this many pixels; the aspect is kept.
    ShortestSide(usize),
    /// Both sides are given; the aspect is not kept.
    Exact {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
}

/// The steps that one vision tower asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessor {
    /// Resizing, where there is any.
    pub size: Option<TargetSize>,
    /// The kernel of the resizing.
    pub filter: Filter,
    /// Columns and rows of the centre crop, where there is one.
    pub crop: Option<(usize, usize)>,
    /// Where the crop starts.
    pub crop_start: CropStart,
    /// What bytes are multiplied by.
    pub rescale_factor: f32,
    /// Subtracted from each colour after that.
    pub mean: [f32; 3],
    /// What each colour is divided by after that.
    pub std: [f32; 3],
}

impl Preprocessor {
    /// CLIP's own steps: shorter side to `side`, bicubic; centre crop; CLIP's mean and deviation.
    pub fn clip(side: usize, crop_start: CropStart) -> Self {
        Self {
            size: Some(TargetSize::ShortestSide(side)),
            filter: Filter::Bicubic,
            crop: Some((side, side)),
            crop_start,
            rescale_factor: 1.0 / 255.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }

    /// Reads `preprocessor_config.json` in `folder` (empty for the model's top); where there is none, the steps are
    /// CLIP's own at `side` pixels.
    ///
    /// # Errors
    /// Where the file is damaged or asks for something that is not implemented.
    pub fn read(model: &ModelFiles, folder: &str, side: usize) -> Result<Self, Error> {
        let path = if folder.is_empty() { FILE.to_owned() } else { format!("{folder}/{FILE}") };
        let usual = Self::clip(side, CropStart::Floor);
        if !model.contains(&path) {
            return Ok(usual);
        }
        let keys = Keys { file: model.display(&path), values: model.read_json(&path)? };
        let size = match keys.values.get("size") {
            None => usual.size,
            Some(size) => Some(keys.target_size(size)?),
        };
        let crop = match keys.values.get("crop_size") {
            None => usual.crop,
            Some(Value::Number(side)) => side.as_u64().map(|side| (side as usize, side as usize)),
            Some(sides) => Some(keys.sides("crop_size", sides)?),
        };
        let filter = match keys.values.get("resample").map(Value::as_u64) {
            None | Some(Some(3)) => Filter::Bicubic,
            Some(Some(2)) => Filter::Bilinear,
            Some(Some(1)) => Filter::Lanczos,
            Some(_) => return Err(keys.invalid("resample", "1 (Lanczos), 2 (bilinear) or 3 (bicubic)")),
        };
        let rescale_factor = match keys.values.get("rescale_factor") {
            None => usual.rescale_factor,
            Some(factor) => factor
                .as_f64()
                .filter(|factor| factor.is_finite())
                .ok_or_else(|| keys.invalid("rescale_factor", "a number"))?
                as f32,
        };
        let normalise = keys.flag("do_normalize")?;
        Ok(Self {
            size: if keys.flag("do_resize")? { size } else { None },
            crop: if keys.flag("do_center_crop")? { crop } else { None },
            filter,
            crop_start: CropStart::Floor,
            rescale_factor: if keys.flag("do_rescale")? { rescale_factor } else { 1.0 },
            mean: if normalise { keys.colors("image_mean", CLIP_MEAN)? } else { [0.0; 3] },
            std: if normalise { keys.colors("image_std", CLIP_STD)? } else { [1.0; 3] },
        })
    }

    /// The image after resizing and cropping, still in bytes.
    pub fn fit(&self, image: &RgbPixels) -> RgbPixels {
        let sized = match self.size {
            None => image.clone(),
            Some(TargetSize::Exact { width, height }) => resize(image, width, height, self.filter),
            Some(TargetSize::ShortestSide(side)) => {
                let (width, height) = shortest_side_size(image.width(), image.height(), side);
                resize(image, width, height, self.filter)
            }
        };
        match self.crop {
            Some((width, height)) => center_crop(&sized, width, height, self.crop_start),
            None => sized,
        }
    }

    /// Every frame of every image or clip as `[frames, side, side, 3]` numbers, clip after clip.
    ///
    /// # Errors
    /// Where an image does not come out as a square of `side` pixels.
    pub fn pixels(&self, media: &[Media], side: usize) -> Result<Vec<f32>, Error> {
        let mut pixels = Vec::with_capacity(media.iter().map(Media::frames).sum::<usize>() * side * side * 3);
        for frame in media.iter().flat_map(frames) {
            let fitted = self.fit(&frame);
            if (fitted.width(), fitted.height()) != (side, side) {
                return Err(Error::ImageSize { width: fitted.width(), height: fitted.height(), side });
            }
            pixels.extend(fitted.bytes().iter().zip([0, 1, 2].into_iter().cycle()).map(|(&byte, color)| {
                (f32::from(byte) * self.rescale_factor - self.mean[color]) / self.std[color]
            }));
        }
        Ok(pixels)
    }
}

/// The frames of an image or clip in 8 bits, as a file would hold them: a saved image scores what it scored.
pub(crate) fn frames(media: &Media) -> impl Iterator<Item = RgbPixels> {
    (0..media.frames())
        .filter_map(|frame| RgbPixels::new(media.width(), media.height(), media.frame(frame).to_vec()))
}

/// The config's values, with the file's name for messages.
struct Keys {
    file: String,
    values: BTreeMap<String, Value>,
}

impl Keys {
    fn invalid(&self, key: &'static str, expected: &'static str) -> Error {
        let found = self.values.get(key).map_or_else(|| "absent".to_owned(), Value::to_string);
        Error::Config { file: self.file.clone(), key, found, expected }
    }

    fn flag(&self, key: &'static str) -> Result<bool, Error> {
        match self.values.get(key) {
            None => Ok(true),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.invalid(key, "true or false")),
        }
    }

    fn target_size(&self, size: &Value) -> Result<TargetSize, Error> {
        let shortest = size.as_u64().or_else(|| size.get("shortest_edge")?.as_u64());
        if let Some(side) = shortest.filter(|side| SIDES.contains(side)) {
            return Ok(TargetSize::ShortestSide(side as usize));
        }
        let (width, height) = self.sides("size", size)?;
        Ok(TargetSize::Exact { width, height })
    }

    /// Columns and rows.
    fn sides(&self, key: &'static str, sides: &Value) -> Result<(usize, usize), Error> {
        let side = |name| sides.get(name).and_then(Value::as_u64).filter(|side| SIDES.contains(side));
        match (side("width"), side("height")) {
            (Some(width), Some(height)) => Ok((width as usize, height as usize)),
            _ => Err(self.invalid(key, "a number of pixels, or height and width")),
        }
    }

    fn colors(&self, key: &'static str, usual: [f32; 3]) -> Result<[f32; 3], Error> {
        let Some(value) = self.values.get(key) else { return Ok(usual) };
        let numbers: Option<Vec<f32>> =
            value.as_array().and_then(|list| list.iter().map(|n| n.as_f64().map(|n| n as f32)).collect());
        numbers
            .and_then(|numbers| numbers.try_into().ok())
            .filter(|numbers: &[f32; 3]| key != "image_std" || numbers.iter().all(|&number| number > 0.0))
            .ok_or_else(|| self.invalid(key, "three numbers, those of image_std above 0"))
    }
}

/// Sides of an image that a config may ask for.
const SIDES: std::ops::RangeInclusive<u64> = 1..=8192;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Preprocessor, Error> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(FILE), json).expect("a written file");
        let files = ModelFiles::directory(folder.path()).expect("a folder");
        Preprocessor::read(&files, "", 224)
    }

    #[test]
    fn an_absent_or_empty_config_is_clips_own() {
        let folder = tempfile::tempdir().unwrap();
        let files = ModelFiles::directory(folder.path()).unwrap();
        let usual = Preprocessor::clip(224, CropStart::Floor);
        assert_eq!(Preprocessor::read(&files, "", 224).unwrap(), usual);
        assert_eq!(read("{}").unwrap(), usual);
    }

    #[test]
    fn old_and_new_spellings_mean_the_same() {
        let old = read(r#"{"size": 32, "crop_size": 32, "resample": 2}"#).unwrap();
        let new = read(
            r#"{"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "resample": 2}"#,
        );
        assert_eq!(old, new.unwrap());
        assert_eq!(old.size, Some(TargetSize::ShortestSide(32)));
        let exact = read(r#"{"size": {"height": 20, "width": 30}, "do_center_crop": false}"#).unwrap();
        assert_eq!((exact.size, exact.crop), (Some(TargetSize::Exact { width: 30, height: 20 }), None));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (json, expected) in [
            (r#"{"resample": 0}"#, "resample is 0, expected 1 (Lanczos), 2 (bilinear) or 3 (bicubic)"),
            (r#"{"image_std": [1, 0, 1]}"#, "image_std is [1,0,1], expected three numbers"),
            (r#"{"size": {"height": 0, "width": 3}}"#, "size is "),
            (r#"{"do_resize": "yes"}"#, "do_resize is \"yes\", expected true or false"),
        ] {
            let message = read(json).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(FILE), "{message}");
        }
    }

    #[test]
    fn pixels_are_normalised_colour_by_colour_and_the_size_is_checked() {
        let mut preprocessor = Preprocessor::clip(2, CropStart::Floor);
        preprocessor.mean = [0.5, 0.0, 0.0];
        preprocessor.std = [0.5, 1.0, 2.0];
        let white = Media::new(2, 4, 6, vec![255; 3 * 2 * 24]).unwrap();
        let pixels = preprocessor.pixels(std::slice::from_ref(&white), 2).unwrap();
        assert_eq!(pixels.len(), 2 * 2 * 2 * 3);
        for (found, expected) in pixels.iter().zip([1.0, 1.0, 0.5].into_iter().cycle()) {
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
        let message = preprocessor.pixels(&[white], 3).unwrap_err().to_string();
        assert!(message.contains("2 x 2") && message.contains("3 x 3"), "{message}");
    }
}
