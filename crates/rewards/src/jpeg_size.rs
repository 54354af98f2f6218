//! How large an image is as a JPEG file: needs no weights, and shows whether a method moves at all.
//!
//! Black et al., "Training Diffusion Models with Reinforcement Learning", ICLR 2024, section 5.1. The file is made as
//! Pillow makes it: quality 95, colours at half resolution, standard tables.

use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};
use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};

use crate::Error;
use crate::features::mean_over_frames;
use crate::preprocess::frames;
use crate::resize::RgbPixels;

const QUALITY: u8 = 95;

/// Whether large or small files are rewarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JpegSize {
    /// The size in units of 1000 bytes: detail is rewarded.
    Incompressible,
    /// Minus the size in units of 1000 bytes: plainness is rewarded.
    Compressible,
}

impl Scorer for JpegSize {
    fn name(&self) -> &str {
        match self {
            Self::Incompressible => "jpeg-size",
            Self::Compressible => "negative-jpeg-size",
        }
    }

    fn score(&mut self, _prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        let sign = match self {
            Self::Incompressible => 1.0,
            Self::Compressible => -1.0,
        };
        let sizes = media
            .iter()
            .flat_map(frames)
            .map(|frame| Ok(sign * jpeg_bytes(&frame)? as f64 / 1000.0))
            .collect::<Result<Vec<f64>, Error>>()?;
        Ok(mean_over_frames(self.name(), media, sizes.into_iter()))
    }
}

/// The size of the image's JPEG file in bytes: Pillow's to the byte, but up to 3 % more where a side has an odd
/// number of 8-pixel blocks, because Pillow leaves the block that fills it up empty.
///
/// # Errors
/// Where a side has more than 65535 pixels, which the format cannot hold.
pub fn jpeg_bytes(image: &RgbPixels) -> Result<usize, Error> {
    let too_large = || Error::JpegSide { width: image.width(), height: image.height() };
    let width = u16::try_from(image.width()).map_err(|_| too_large())?;
    let height = u16::try_from(image.height()).map_err(|_| too_large())?;
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder.encode(image.bytes(), width, height, ColorType::Rgb).map_err(|_| too_large())?;
    Ok(file.len())
}
