//! Reward against evaluations: what each step sampled, and where base and tuned policy stand on fresh samples.

use std::ops::Range;

use plotters::coord::types::{RangedCoordf64, RangedCoordu64};
use plotters::prelude::*;

use super::canvas::{self, Area, BASE, FAINT, FONT, HELD_OUT, INK, TUNED, failed};
use crate::error::Result;

/// What the curve shows.
pub struct Curve<'a> {
    /// The prompt.
    pub title: &'a str,
    /// Name of the reward.
    pub reward: &'a str,
    /// Evaluations so far and mean reward of that step's samples.
    pub steps: &'a [(u64, f64)],
    /// Mean reward of fresh base samples.
    pub base: Option<f64>,
    /// Mean reward of fresh tuned samples.
    pub tuned: Option<f64>,
    /// Held-out scorers by name, in base standard deviations; where there are any, a second chart shows them.
    pub held_out: &'a [(String, Vec<(u64, f64)>)],
}

const WIDTH: usize = 900;
const HEIGHT: usize = 480;
const HELD_OUT_HEIGHT: usize = 280;

/// Draws the curve and returns a PNG file.
///
/// # Errors
/// Where the drawing library reports one.
pub fn curve(shown: &Curve<'_>) -> Result<Vec<u8>> {
    let height = if shown.held_out.is_empty() { HEIGHT } else { HEIGHT + HELD_OUT_HEIGHT };
    canvas::draw(WIDTH, height, &[("Title", shown.title.to_owned())], |area| {
        let (above, below) = area.split_vertically(HEIGHT as u32);
        draw_reward(shown, &above)?;
        if shown.held_out.is_empty() { Ok(()) } else { draw_watched(shown, &below) }
    })
}

fn draw_reward(shown: &Curve<'_>, area: &Area<'_>) -> Result<()> {
    let rewards = shown.steps.iter().map(|(_, reward)| *reward).chain(shown.base).chain(shown.tuned);
    let axes = Axes {
        caption: shown.title,
        name: shown.reward,
        evaluations: evaluations(shown),
        range: range(rewards),
    };
    let mut chart = axes.draw(area)?;
    let levels = [("base, fresh samples", BASE, shown.base), ("tuned, fresh samples", TUNED, shown.tuned)];
    for (label, colour, level) in levels {
        let Some(level) = level else { continue };
        let ends = [(0, level), (axes.evaluations, level)];
        chart
            .draw_series(DashedLineSeries::new(ends, 6, 5, colour.stroke_width(2)))
            .map_err(failed)?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    draw_line(&mut chart, "mean of a step's samples", INK, shown.steps)?;
    draw_legend(&mut chart)
}

fn draw_watched(shown: &Curve<'_>, area: &Area<'_>) -> Result<()> {
    let values =
        shown.held_out.iter().flat_map(|(_, steps)| steps.iter().map(|(_, value)| *value)).chain([0.0]);
    let axes = Axes {
        caption: "held-out scorers",
        name: "base standard deviations",
        evaluations: evaluations(shown),
        range: range(values),
    };
    let mut chart = axes.draw(area)?;
    for ((name, steps), colour) in shown.held_out.iter().zip(HELD_OUT.into_iter().cycle()) {
        draw_line(&mut chart, name, colour, steps)?;
    }
    draw_legend(&mut chart)
}

type Chart<'a, 'b> = ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordu64, RangedCoordf64>>;

/// What stands around the lines of a chart.
struct Axes<'a> {
    caption: &'a str,
    name: &'a str,
    evaluations: u64,
    range: Range<f64>,
}

impl Axes<'_> {
    fn draw<'a, 'b>(&self, area: &'a Area<'b>) -> Result<Chart<'a, 'b>> {
        let mut chart = ChartBuilder::on(area)
            .margin(14)
            .caption(self.caption, (FONT, 20).into_font().color(&INK))
            .x_label_area_size(42)
            .y_label_area_size(70)
            .build_cartesian_2d(0..self.evaluations, self.range.clone())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT.mix(0.25))
            .axis_style(FAINT)
            .label_style((FONT, 14).into_font().color(&INK))
            .x_desc("evaluations")
            .y_desc(self.name)
            .y_label_formatter(&|value| format!("{value:.3}"))
            .draw()
            .map_err(failed)?;
        Ok(chart)
    }
}

fn draw_line<'a, 'b: 'a>(
    chart: &mut Chart<'a, 'b>,
    label: &str,
    colour: RGBColor,
    steps: &[(u64, f64)],
) -> Result<()> {
    let points = steps.iter().copied();
    chart
        .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))
        .map_err(failed)?
        .label(label)
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled()))).map_err(failed)?;
    Ok(())
}

fn draw_legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>) -> Result<()> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .label_font((FONT, 14).into_font().color(&INK))
        .draw()
        .map_err(failed)
}

fn evaluations(shown: &Curve<'_>) -> u64 {
    shown.steps.last().map_or(1, |(evaluations, _)| *evaluations).max(1)
}

/// An axis that holds all values, with room for the legend below them.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
    // A flat curve still needs an axis with two ends.
    let margin = ((high - low) * 0.1).max(high.abs() * 1e-3).max(1e-6);
    low - 3.5 * margin..high + margin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_flat_empty_and_ordinary_curves() {
        for steps in [vec![], vec![(16, 0.5)], vec![(16, 0.1), (32, 0.3)]] {
            let held_out = [("taste".to_owned(), steps.clone())];
            for (held_out, height) in [(&held_out[..0], 480), (&held_out[..], 760)] {
                let shown = Curve {
                    title: "a dog",
                    reward: "clip-score",
                    steps: &steps,
                    base: None,
                    tuned: Some(0.5),
                    held_out,
                };
                let shown = image::load_from_memory(&curve(&shown).unwrap()).unwrap();
                assert_eq!((shown.width(), shown.height()), (900, height));
            }
        }
    }
}
