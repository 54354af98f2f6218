//! A drawing surface in memory with one font that travels with the program, so no system font is needed.

use std::sync::Once;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::png;
use crate::error::{Error, Result};

/// The family under which the font is known to the drawing functions.
pub const FONT: &str = "sans-serif";
/// Text and lines of measured values.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Axes.
pub const FAINT: RGBColor = RGBColor(0x88, 0x88, 0x88);
/// The model as it is.
pub const BASE: RGBColor = RGBColor(0x6b, 0x7a, 0x8f);
/// The tuned policy.
pub const TUNED: RGBColor = RGBColor(0xd9, 0x5f, 0x02);
/// One a held-out scorer.
pub const HELD_OUT: [RGBColor; 4] = [
    RGBColor(0x1b, 0x7f, 0x79),
    RGBColor(0x8e, 0x4f, 0xa8),
    RGBColor(0xb0, 0x7d, 0x12),
    RGBColor(0x3a, 0x6f, 0xc4),
];

/// The canvas while it is drawn on.
pub type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Whatever the drawing library reports, in our words.
pub fn failed(error: impl std::fmt::Display) -> Error {
    Error::Rendering(error.to_string())
}

/// Draws on a white canvas and returns it as a PNG file.
///
/// # Errors
/// Where the drawing library reports one.
pub fn draw(
    width: usize,
    height: usize,
    texts: &[(&str, String)],
    paint: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<Vec<u8>> {
    png::encode(width, height, &painted(width, height, paint)?, texts)
}

/// Draws on a white canvas and returns its pixels, `[height, width, 3]`.
///
/// # Errors
/// Where the drawing library reports one.
pub(super) fn painted(
    width: usize,
    height: usize,
    paint: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<Vec<u8>> {
    static FONT_REGISTERED: Once = Once::new();
    // The font is a constant of the program; were it broken, the first text would report it.
    FONT_REGISTERED.call_once(|| drop(register_font(FONT, FontStyle::Normal, dejavu::sans::regular())));
    let mut rgb = vec![255; width * height * 3];
    {
        let backend = BitMapBackend::with_buffer(&mut rgb, (width as u32, height as u32));
        let area = backend.into_drawing_area();
        paint(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(rgb)
}
