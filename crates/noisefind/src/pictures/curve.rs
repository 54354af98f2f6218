//! Reward against evaluations: what each step drew, and where base and tuned policy stand on fresh samples.

use plotters::prelude::*;

use super::canvas::{self, BASE, FAINT, FONT, INK, TUNED, failed};
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
}

/// Draws the curve and returns a PNG file.
///
/// # Errors
/// Where the drawing library reports one.
pub fn curve(shown: &Curve<'_>) -> Result<Vec<u8>> {
    let evaluations = shown.steps.last().map_or(1, |(evaluations, _)| *evaluations).max(1);
    let rewards = || shown.steps.iter().map(|(_, reward)| *reward).chain(shown.base).chain(shown.tuned);
    let (low, high) = rewards()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), reward| (low.min(reward), high.max(reward)));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
    // A flat curve still needs an axis with two ends.
    let margin = ((high - low) * 0.1).max(high.abs() * 1e-3).max(1e-6);

    canvas::draw(900, 480, &[("Title", shown.title.to_owned())], |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(14)
            .caption(shown.title, (FONT, 20).into_font().color(&INK))
            .x_label_area_size(42)
            .y_label_area_size(70)
            .build_cartesian_2d(0..evaluations, low - margin..high + margin)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT.mix(0.25))
            .axis_style(FAINT)
            .label_style((FONT, 14).into_font().color(&INK))
            .x_desc("evaluations")
            .y_desc(shown.reward)
            .y_label_formatter(&|reward| format!("{reward:.3}"))
            .draw()
            .map_err(failed)?;
        let levels =
            [("base, fresh samples", BASE, shown.base), ("tuned, fresh samples", TUNED, shown.tuned)];
        for (label, colour, level) in levels {
            let Some(level) = level else { continue };
            chart
                .draw_series(DashedLineSeries::new(
                    [(0, level), (evaluations, level)],
                    6,
                    5,
                    colour.stroke_width(2),
                ))
                .map_err(failed)?
                .label(label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        let points = shown.steps.iter().copied();
        chart
            .draw_series(LineSeries::new(points.clone(), INK.stroke_width(2)))
            .map_err(failed)?
            .label("mean of a step's samples")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], INK.stroke_width(2)));
        chart.draw_series(points.map(|point| Circle::new(point, 3, INK.filled()))).map_err(failed)?;
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .label_font((FONT, 14).into_font().color(&INK))
            .draw()
            .map_err(failed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_flat_empty_and_ordinary_curves() {
        for steps in [vec![], vec![(16, 0.5)], vec![(16, 0.1), (32, 0.3)]] {
            let shown =
                Curve { title: "a dog", reward: "clip-score", steps: &steps, base: None, tuned: Some(0.5) };
            let bytes = curve(&shown).unwrap();
            assert_eq!(image::load_from_memory(&bytes).unwrap().width(), 900);
        }
    }
}
