//! PNG files whose text chunks say where an image came from.

use noisefind_core::media::Media;

use crate::error::{Error, Result};

/// A frame as a PNG file; each text is a keyword (Latin letters) and its value.
///
/// # Errors
/// Where a keyword is not allowed in a PNG.
pub fn image(media: &Media, frame: usize, texts: &[(&str, String)]) -> Result<Vec<u8>> {
    encode(media.width(), media.height(), media.frame(frame), texts)
}

/// `rgb` is interleaved, `height * width * 3` bytes.
pub(super) fn encode(width: usize, height: usize, rgb: &[u8], texts: &[(&str, String)]) -> Result<Vec<u8>> {
    let failed = |error: png::EncodingError| Error::Rendering(error.to_string());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    for (keyword, text) in texts {
        // iTXt holds any language; tEXt only Latin-1.
        encoder.add_itxt_chunk((*keyword).to_owned(), text.clone()).map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(rgb).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_texts_come_back() {
        let media = Media::new(1, 1, 2, vec![255, 128, 0, 0, 0, 255]).unwrap();
        let bytes = image(&media, 0, &[("prompt", "四只熊猫".to_owned())]).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; 6];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, [255, 128, 0, 0, 0, 255]);
        let chunk = &reader.info().utf8_text[0];
        assert_eq!((chunk.keyword.as_str(), chunk.get_text().unwrap().as_str()), ("prompt", "四只熊猫"));
    }
}
