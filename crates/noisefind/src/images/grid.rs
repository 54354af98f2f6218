//! Rows of images or clips, one seed a column: the same noise before and after tuning stands one above the other.

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Rgb};
use noisefind_core::media::Media;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{self, Area, FAINT, FONT, INK, failed};
use crate::error::{Error, Result};

/// One row of the grid.
pub struct Row<'a> {
    /// What stands to the left of the row.
    pub label: &'a str,
    /// Left to right.
    pub cells: Vec<Cell<'a>>,
}

/// One image or clip of the grid.
pub struct Cell<'a> {
    /// The image or clip.
    pub media: &'a Media,
    /// One short line below the image.
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

/// Draws `rows` below `title` and returns a PNG file; clips show their middle frames.
///
/// # Errors
/// Where the drawing library reports one.
pub fn grid(title: &str, rows: &[Row<'_>]) -> Result<Vec<u8>> {
    let sizes = Sizes::of(rows)?;
    canvas::draw(sizes.width, sizes.height, &[("Title", title.to_owned())], |area| {
        paint(area, &sizes, title, rows, |media| media.frames() / 2)
    })
}

/// Draws each frame of a grid of clips, which play in step; one that ends before the others rests on its last frame.
///
/// # Errors
/// As [`grid`].
pub(crate) fn grid_clip(title: &str, rows: &[Row<'_>]) -> Result<Media> {
    let sizes = Sizes::of(rows)?;
    let media = || rows.iter().flat_map(|row| &row.cells).map(|cell| cell.media);
    let frames = media().map(Media::frames).max().unwrap_or(1);
    let painted = (0..frames).map(|frame| {
        canvas::painted(sizes.width, sizes.height, |area| {
            paint(area, &sizes, title, rows, |media| frame.min(media.frames() - 1))
        })
    });
    let pixels = painted.collect::<Result<Vec<_>>>()?.concat();
    let clip = Media::new(frames, sizes.height, sizes.width, pixels).map_err(failed)?;
    Ok(clip.with_fps(media().find_map(Media::fps)))
}

/// Pixels of a cell and of the whole grid.
struct Sizes {
    cell: (usize, usize),
    width: usize,
    height: usize,
}

impl Sizes {
    fn of(rows: &[Row<'_>]) -> Result<Self> {
        let Some(first) = rows.iter().flat_map(|row| &row.cells).next() else {
            return Err(Error::Rendering("a grid of no images".to_owned()));
        };
        let cell = shown_size(first.media);
        let columns = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
        let width = LABEL + columns * (cell.0 + GAP) + GAP;
        Ok(Self { cell, width, height: TITLE + rows.len() * (cell.1 + CAPTION + GAP) })
    }
}

fn paint(
    area: &Area<'_>,
    sizes: &Sizes,
    title: &str,
    rows: &[Row<'_>],
    frame_of: impl Fn(&Media) -> usize,
) -> Result<()> {
    let (width, height) = sizes.cell;
    let text = |size: f64, colour: &'static RGBColor, h: HPos| {
        TextStyle::from((FONT, size).into_font()).color(colour).pos(Pos::new(h, VPos::Center))
    };
    let at = |x: usize, y: usize| (x as i32, y as i32);
    area.draw_text(title, &text(20.0, &INK, HPos::Left), at(GAP, TITLE / 2)).map_err(failed)?;
    for (row_at, row) in rows.iter().enumerate() {
        let y = TITLE + row_at * (height + CAPTION + GAP);
        let style = text(17.0, &INK, HPos::Left);
        area.draw_text(row.label, &style, at(GAP, y + height / 2)).map_err(failed)?;
        for (column, cell) in row.cells.iter().enumerate() {
            let x = LABEL + column * (width + GAP);
            if let Some(success) = cell.success {
                let colour = if success { YES } else { NO };
                let corners = [at(x - 3, y - 3), at(x + width + 3, y + height + 3)];
                area.draw(&Rectangle::new(corners, colour.filled())).map_err(failed)?;
            }
            let pixels = shown_pixels(cell.media, frame_of(cell.media), width, height);
            let bitmap = BitMapElement::with_owned_buffer(at(x, y), (width as u32, height as u32), pixels)
                .ok_or_else(|| failed("pixels do not fit their image"))?;
            area.draw(&bitmap).map_err(failed)?;
            let style = text(13.0, &FAINT, HPos::Center);
            let below = at(x + width / 2, y + height + CAPTION / 2 + 2);
            area.draw_text(&cell.caption, &style, below).map_err(failed)?;
        }
    }
    Ok(())
}

/// Small images are enlarged by a whole factor, large ones shrunk, so that a row fits a screen.
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

fn shown_pixels(media: &Media, frame: usize, width: usize, height: usize) -> Vec<u8> {
    let pixels = media.frame(frame).to_vec();
    let image = ImageBuffer::<Rgb<u8>, _>::from_raw(media.width() as u32, media.height() as u32, pixels)
        .unwrap_or_default();
    resize(&image, width as u32, height as u32, FilterType::CatmullRom).into_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_stand_where_they_should() {
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
    fn clips_of_a_grid_play_in_step() {
        let clip = |levels: &[u8]| {
            let pixels = levels.iter().flat_map(|&level| vec![level; 3 * 64 * 64]).collect();
            Media::new(levels.len(), 64, 64, pixels).unwrap().with_fps(Some(4.0))
        };
        let (long, short) = (clip(&[10, 20, 30]), clip(&[200, 100]));
        let cell = |media| Cell { media, caption: String::new(), success: None };
        let rows = [
            Row { label: "base", cells: vec![cell(&long)] },
            Row { label: "tuned", cells: vec![cell(&short)] },
        ];
        let played = grid_clip("a dog", &rows).unwrap();
        assert_eq!((played.frames(), played.fps()), (3, Some(4.0)));
        let middle = |frame: usize, row: usize| {
            let pixel = (TITLE + 64 + row * 158) * played.width() + LABEL + 64;
            played.frame(frame)[3 * pixel]
        };
        assert_eq!(
            [0, 1, 2].map(|frame| [middle(frame, 0), middle(frame, 1)]),
            [[10, 200], [20, 100], [30, 100]]
        );
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
