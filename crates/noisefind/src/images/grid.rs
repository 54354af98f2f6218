//! Rows of pictures, one seed a column: the same noise before and after tuning stands one above the other.

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Rgb};
use noisefind_core::media::{FrameReduction, Media};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{self, FAINT, FONT, INK, failed};
use crate::error::{Error, Result};

/// One row of the grid.
pub struct Row<'a> {
    /// What stands to the left of the row.
    pub label: &'a str,
    /// Left to right.
    pub cells: Vec<Cell<'a>>,
}

/// One picture of the grid.
pub struct Cell<'a> {
    /// The picture; of a clip, its middle frame is shown.
    pub media: &'a Media,
    /// One short line below the picture.
    pub caption: String,
    /// Draws a frame: green where the judge said yes, red where it said no.
    pub success: Option<bool>,
}

const GAP: usize = 8;
const CAPTION: usize = 22;
const TITLE: usize = 40;
const LABEL: usize = 72;
const YES: RGBColor = RGBColor(0x2e, 0x9e, 0x4f);
const NO: RGBColor = RGBColor(0xc6, 0x3d, 0x3d);

/// Draws `rows` below `title` and returns a PNG file.
///
/// # Errors
/// Where the drawing library reports one.
pub fn grid(title: &str, rows: &[Row<'_>]) -> Result<Vec<u8>> {
    let Some(first) = rows.iter().flat_map(|row| &row.cells).next() else {
        return Err(Error::Picture("a grid of no pictures".to_owned()));
    };
    let (width, height) = shown_size(first.media);
    let columns = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
    let (step_x, step_y) = (width + GAP, height + CAPTION + GAP);
    let (total_x, total_y) = (LABEL + columns * step_x + GAP, TITLE + rows.len() * step_y);

    canvas::draw(total_x, total_y, &[("Title", title.to_owned())], |area| {
        let text = |size: f64, colour: &'static RGBColor, h: HPos| {
            TextStyle::from((FONT, size).into_font()).color(colour).pos(Pos::new(h, VPos::Center))
        };
        let at = |x: usize, y: usize| (x as i32, y as i32);
        area.draw_text(title, &text(20.0, &INK, HPos::Left), at(GAP, TITLE / 2)).map_err(failed)?;
        for (row_at, row) in rows.iter().enumerate() {
            let y = TITLE + row_at * step_y;
            let style = text(17.0, &INK, HPos::Left);
            area.draw_text(row.label, &style, at(GAP, y + height / 2)).map_err(failed)?;
            for (column, cell) in row.cells.iter().enumerate() {
                let x = LABEL + column * step_x;
                if let Some(success) = cell.success {
                    let colour = if success { YES } else { NO };
                    let corners = [at(x - 3, y - 3), at(x + width + 3, y + height + 3)];
                    area.draw(&Rectangle::new(corners, colour.filled())).map_err(failed)?;
                }
                let pixels = shown_pixels(cell.media, width, height);
                let bitmap =
                    BitMapElement::with_owned_buffer(at(x, y), (width as u32, height as u32), pixels)
                        .ok_or_else(|| failed("pixels do not fit their picture"))?;
                area.draw(&bitmap).map_err(failed)?;
                let style = text(13.0, &FAINT, HPos::Center);
                let below = at(x + width / 2, y + height + CAPTION / 2 + 2);
                area.draw_text(&cell.caption, &style, below).map_err(failed)?;
            }
        }
        Ok(())
    })
}

/// Small pictures are enlarged by a whole factor, large ones shrunk, so that a row fits a screen.
fn shown_size(media: &Media) -> (usize, usize) {
    let (width, height) = (media.width(), media.height());
    let longest = width.max(height);
    if longest > 256 {
        ((width * 256 / longest).max(1), (height * 256 / longest).max(1))
    } else {
        let factor = (128 / longest).max(1);
        (width * factor, height * factor)
    }
}

fn shown_pixels(media: &Media, width: usize, height: usize) -> Vec<u8> {
    let pixels = media.reduced(FrameReduction::Middle).pixels().to_vec();
    let picture = ImageBuffer::<Rgb<u8>, _>::from_raw(media.width() as u32, media.height() as u32, pixels)
        .unwrap_or_default();
    resize(&picture, width as u32, height as u32, FilterType::CatmullRom).into_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_where_they_should() {
        let plain = |value: f32| Media::quantise(1, 64, 64, &[value; 3 * 64 * 64]).unwrap();
        let (dark, light) = (plain(0.25), plain(0.75));
        let cell = |media| Cell { media, caption: "0.1".to_owned(), success: None };
        let rows = [
            Row { label: "base", cells: vec![cell(&dark)] },
            Row { label: "tuned", cells: vec![cell(&light)] },
        ];
        let bytes = grid("a dog", &rows).unwrap();
        let shown = image::load_from_memory(&bytes).unwrap().to_rgb8();
        let middle = |row: usize| shown.get_pixel((LABEL + 64) as u32, (TITLE + 64 + row * 158) as u32).0;
        assert_eq!((middle(0), middle(1)), ([64; 3], [191; 3]));
    }

    #[test]
    fn sizes_fit_a_screen() {
        let size =
            |width, height| shown_size(&Media::new(1, height, width, vec![0; 3 * height * width]).unwrap());
        assert_eq!(size(64, 64), (128, 128));
        assert_eq!(size(100, 50), (100, 50));
        assert_eq!(size(512, 256), (256, 128));
        assert_eq!(size(1, 600), (1, 256));
    }
}
