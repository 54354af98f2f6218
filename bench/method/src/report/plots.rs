//! The plots of the page.

use anyhow::Result;
use noisefind::images::canvas::{self, Area, BASE, FAINT, FONT, INK, TUNED, failed};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::bases::Bases;
use super::front::front;
use super::noise_value::NoiseValue;
use super::summary::{
    Contender, Figure, Scope, by_prompt, contenders, counts, estimate, gain_curve, mean_curve,
};
use crate::cell::Cell;
use crate::methods::RANDOM_PICK;
use crate::prompts::Category;

/// The budget of the bars.
const BUDGET: usize = 160;
/// Pixels of the column that names the colours.
const LEGEND_WIDTH: i32 = 160;
/// Colours of lines, marks and bars, in the order of the records.
const COLOURS: [RGBColor; 10] = [
    TUNED,
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0xe3, 0x77, 0xc2),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0x17, 0xbe, 0xcf),
    RGBColor(0xbc, 0xbd, 0x22),
    RGBColor(0x8b, 0x1a, 0x1a),
    RGBColor(0x19, 0x19, 0x70),
];

/// A contender in its colour, the same in every plot.
type Shown = (Contender, RGBColor);

type Drawing = noisefind::Result<()>;

/// Every plot by its file name.
pub fn draw_all(cells: &[Cell]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    // The noise of a single cell would hide what the others show.
    let several = |one: &Contender| counts(cells, one, Scope::default()).1 > 1;
    let full = contenders(cells).into_iter().filter(|one| !one.is_variant() && several(one));
    let shown: Vec<Shown> = full.zip(COLOURS.into_iter().cycle()).collect();
    // The weights have no noise policy whose divergence or step could be drawn.
    let with_policy: Vec<Shown> =
        shown.iter().filter(|(one, _)| !points(cells, one).is_empty()).cloned().collect();
    // The rewards that the control learns from are random numbers.
    let rewarded: Vec<Shown> = shown.iter().filter(|(one, _)| one.label() != RANDOM_PICK).cloned().collect();
    let draw = |name, title: &str, paint: &dyn Fn(&Area<'_>) -> Drawing| -> Result<(&'static str, Vec<u8>)> {
        Ok((name, canvas::draw(1040, 480, &[("Title", title.to_owned())], paint)?))
    };
    let bases = Bases::new(cells);
    Ok(vec![
        draw("reward-against-evaluations.png", "Gain while learning", &|area| {
            let area = beside_legend(area, &named(&rewarded))?;
            curves(&area, "gain in base sigmas", &rewarded, |contender| gain_curve(cells, &bases, contender))
        })?,
        draw("success-by-category.png", "Success by category", &|area| bars(area, cells, &shown))?,
        draw("diversity-against-gain.png", "Diversity against gain", &|area| {
            scatter(area, cells, &with_policy)
        })?,
        draw("success-against-diversity.png", "Success against diversity, by --variety", &|area| {
            front_plot(area, cells)
        })?,
        draw("step-norm-and-kl.png", "Step norm and KL", &|area| {
            let area = beside_legend(area, &named(&with_policy))?;
            let (left, right) = area.split_horizontally(440);
            curves(&left, "norm of the step of the mean", &with_policy, |contender| {
                mean_curve(cells, contender, |cell, at| cell.curve[at].step_norm)
            })?;
            curves(&right, "KL to N(0, I) in nats", &with_policy, |contender| {
                mean_curve(cells, contender, |cell, at| cell.curve[at].kl_nats)
            })
        })?,
    ])
}

/// The rank correlation of networks against what they were trained on.
pub fn draw_noise_value(record: &NoiseValue) -> Result<(&'static str, Vec<u8>)> {
    let title = "What a network finds in a noise, under prompts that it never met".to_owned();
    let shown = [(true, "noise and prompt", TUNED), (false, "noise alone", BASE)];
    let png = canvas::draw(1040, 480, &[("Title", title)], |area: &Area<'_>| {
        let area = beside_legend(area, &shown.map(|(_, name, colour)| (name.to_owned(), colour)))?;
        let evaluations = record.points.iter().map(|point| point.evaluations as f64);
        let (least, most) = evaluations
            .fold((f64::INFINITY, 0.0), |(least, most), value| (value.min(least), value.max(most)));
        let (low, high) = range(record.points.iter().flat_map(|point| point.ci95).chain([0.15]));
        let mut chart = builder(&area)
            .build_cartesian_2d((0.9 * least..1.1 * most).log_scale(), low..high)
            .map_err(failed)?;
        mesh(&mut chart, "evaluations trained on", "rank correlation with the reward, within a prompt")?;
        for (prompt_given, _, colour) in shown {
            let own = record.points.iter().filter(|point| point.prompt_given == prompt_given);
            let mut own: Vec<_> = own.collect();
            own.sort_unstable_by_key(|point| point.evaluations);
            let line = own.iter().map(|point| (point.evaluations as f64, point.rank_correlation));
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2))).map_err(failed)?;
            let whiskers = own.iter().map(|point| {
                let at = point.evaluations as f64;
                PathElement::new([(at, point.ci95[0]), (at, point.ci95[1])], colour.stroke_width(1))
            });
            chart.draw_series(whiskers).map_err(failed)?;
        }
        Ok(())
    })?;
    Ok(("value-of-a-noise.png", png))
}

/// The names of contenders, with the budget where it is not that of the comparison.
fn named(shown: &[Shown]) -> Vec<(String, RGBColor)> {
    let name = |contender: &Contender| match contender {
        Contender::Method(name, budget) if ![0, BUDGET].contains(budget) => format!("{name}, {budget}"),
        other => other.label(),
    };
    shown.iter().map(|(contender, colour)| (name(contender), *colour)).collect()
}

/// Writes names beside their colours in a column of its own, where nothing lies behind it; -> the area that is left.
fn beside_legend<'a>(area: &Area<'a>, entries: &[(String, RGBColor)]) -> noisefind::Result<Area<'a>> {
    let (rest, column) = area.split_horizontally(area.dim_in_pixel().0 as i32 - LEGEND_WIDTH);
    for (row, (name, colour)) in entries.iter().enumerate() {
        let y = 20 + 20 * row as i32;
        column.draw(&Rectangle::new([(4, y), (18, y + 10)], colour.filled())).map_err(failed)?;
        let text = Text::new(name.clone(), (26, y - 2), (FONT, 14).into_font().color(&INK));
        column.draw(&text).map_err(failed)?;
    }
    Ok(rest)
}

/// Lines over evaluations on a logarithmic axis.
fn curves(
    area: &Area<'_>,
    what: &str,
    shown: &[Shown],
    curve: impl Fn(&Contender) -> Vec<(usize, f64)>,
) -> Drawing {
    let lines: Vec<Vec<(f64, f64)>> =
        shown.iter().map(|(contender, _)| smoothed(&curve(contender))).collect();
    let most = lines.iter().flatten().map(|point| point.0).fold(BUDGET as f64, f64::max);
    let (low, high) = range(lines.iter().flatten().map(|point| point.1));
    let mut chart = builder(area).build_cartesian_2d((10f64..most).log_scale(), low..high).map_err(failed)?;
    mesh(&mut chart, "evaluations", what)?;
    for (points, (_, colour)) in lines.into_iter().zip(shown) {
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).map_err(failed)?;
    }
    Ok(())
}

/// Means over a tenth of a decade of evaluations: one batch of images says little, and many of them hide each other.
fn smoothed(points: &[(usize, f64)]) -> Vec<(f64, f64)> {
    let tenth = |point: &(usize, f64)| (10.0 * (point.0 as f64).log10()) as i64;
    let mean_of = |points: &[(usize, f64)]| {
        let count = points.len() as f64;
        let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 as f64, sum.1 + point.1));
        (sum.0 / count, sum.1 / count)
    };
    points.chunk_by(|a, b| tenth(a) == tenth(b)).map(mean_of).collect()
}

/// A group of bars a category, with intervals.
fn bars(area: &Area<'_>, cells: &[Cell], shown: &[Shown]) -> Drawing {
    let rows: Vec<Shown> = [(Contender::base(), BASE), (Contender::BestOf(8), FAINT)]
        .into_iter()
        .chain(shown.to_vec())
        .collect();
    let area = beside_legend(area, &named(&rows))?;
    let mut chart =
        builder(&area).build_cartesian_2d(0f64..Category::ALL.len() as f64, 0f64..1.08).map_err(failed)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT.mix(0.25))
        .axis_style(FAINT)
        .x_labels(0)
        .label_style((FONT, 14).into_font().color(&INK))
        .y_desc("success by the judge")
        .draw()
        .map_err(failed)?;
    let width = 0.8 / rows.len() as f64;
    for (at, (row, colour)) in rows.iter().enumerate() {
        let estimates = Category::ALL.iter().enumerate().filter_map(|(number, category)| {
            let scope = Scope { category: Some(*category), half: None };
            Some((number as f64 + 0.1 + width * at as f64, estimate(cells, row, Figure::Success, scope)?))
        });
        let estimates: Vec<_> = estimates.collect();
        let boxes = estimates.iter().map(|(left, found)| {
            Rectangle::new([(*left, 0.0), (left + 0.9 * width, found.value)], colour.filled())
        });
        chart.draw_series(boxes).map_err(failed)?;
        let whiskers = estimates.iter().map(|(left, found)| {
            let middle = left + 0.45 * width;
            PathElement::new([(middle, found.low), (middle, found.high)], INK.stroke_width(1))
        });
        chart.draw_series(whiskers).map_err(failed)?;
    }
    let names = Category::ALL.iter().enumerate().map(|(number, category)| {
        Text::new(category.to_string(), (number as f64 + 0.3, 1.06), (FONT, 15).into_font().color(&INK))
    });
    chart.draw_series(names).map_err(failed)?;
    Ok(())
}

/// A mark a prompt and method.
fn scatter(area: &Area<'_>, cells: &[Cell], shown: &[Shown]) -> Drawing {
    let all: Vec<(f64, f64)> = shown.iter().flat_map(|(contender, _)| points(cells, contender)).collect();
    let (left, right) = range(all.iter().map(|point| point.0));
    let (_, high) = range(all.iter().map(|point| point.1));
    let area = beside_legend(area, &named(shown))?;
    let mut chart = builder(&area).build_cartesian_2d(left..right, 0.0..high).map_err(failed)?;
    mesh(&mut chart, "gain in base sigmas", "diversity over that of the base")?;
    for (contender, colour) in shown {
        let marks =
            points(cells, contender).into_iter().map(|point| Circle::new(point, 4, colour.mix(0.7).filled()));
        chart.draw_series(marks).map_err(failed)?;
    }
    Ok(())
}

/// A mark for each setting of `--variety`, joined in their order, and one for the base.
fn front_plot(area: &Area<'_>, cells: &[Cell]) -> Drawing {
    let settings = front(cells);
    let point = |contender: &Contender, own: &[Cell]| {
        let of = |figure| Some(estimate(own, contender, figure, Scope::default())?.value);
        Some((of(Figure::DiversityRatio)?, of(Figure::Success)?))
    };
    let marks: Vec<(f64, (f64, f64))> =
        settings.iter().filter_map(|(variety, one, own)| Some((*variety, point(one, own)?))).collect();
    let of_base: Vec<Cell> = cells
        .iter()
        .filter(|cell| {
            Contender::base().owns(cell)
                && settings
                    .iter()
                    .flat_map(|(_, _, own)| own)
                    .any(|own| (&own.key.prompt, own.key.seed) == (&cell.key.prompt, cell.key.seed))
        })
        .cloned()
        .collect();
    let mut chart = builder(area).build_cartesian_2d(0.0..1.1, 0.0..1.05).map_err(failed)?;
    mesh(&mut chart, "diversity over that of the base", "success")?;
    let line: Vec<(f64, f64)> = marks.iter().map(|mark| mark.1).collect();
    chart.draw_series(LineSeries::new(line, TUNED.stroke_width(2))).map_err(failed)?;
    let base = point(&Contender::base(), &of_base);
    // Settings that come to the same have one mark.
    let mut named: Vec<(String, (f64, f64), RGBColor)> = Vec::new();
    for (variety, at) in marks {
        match named.iter_mut().find(|(_, other, _)| *other == at) {
            Some((name, _, _)) => *name += &format!(", {variety:.2}"),
            None => named.push((format!("{variety:.2}"), at, TUNED)),
        }
    }
    for (name, at, colour) in named.into_iter().chain(base.map(|at| ("base".to_owned(), at, BASE))) {
        let mark = EmptyElement::at(at)
            + Circle::new((0, 0), 5, colour.filled())
            + Text::new(name, (8, -8), (FONT, 15).into_font().color(&INK));
        chart.draw_series(std::iter::once(mark)).map_err(failed)?;
    }
    Ok(())
}

/// Gain and diversity of each prompt.
fn points(cells: &[Cell], contender: &Contender) -> Vec<(f64, f64)> {
    let of = |figure| by_prompt(cells, contender, figure, Scope::default());
    let ratios = of(Figure::DiversityRatio);
    let gains = of(Figure::Gain).into_iter();
    gains.filter_map(|(prompt, gain)| Some((gain, *ratios.get(prompt)?))).collect()
}

fn builder<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'b, BitMapBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(14).x_label_area_size(42).y_label_area_size(62);
    builder
}

fn mesh<DB, X, Y>(chart: &mut ChartContext<'_, DB, Cartesian2d<X, Y>>, x: &str, y: &str) -> Drawing
where
    DB: DrawingBackend,
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT.mix(0.25))
        .axis_style(FAINT)
        .label_style((FONT, 14).into_font().color(&INK))
        .x_labels(6)
        .x_label_formatter(&|value| ((value * 100.0).round() / 100.0).to_string())
        .x_desc(x)
        .y_desc(y)
        .draw()
        .map_err(failed)
}

/// Ends of an axis that holds all values, zero and a margin.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((0.0f64, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
    let margin = (0.08 * (high - low)).max(1e-3);
    (low - margin, high + margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_points_stay_and_many_are_averaged() {
        assert_eq!(smoothed(&[(16, 1.0), (32, 2.0)]), [(16.0, 1.0), (32.0, 2.0)]);
        assert_eq!(smoothed(&[(1000, 1.0), (1010, 3.0), (2000, 5.0)]), [(1005.0, 2.0), (2000.0, 5.0)]);
        assert!(smoothed(&[]).is_empty());
    }
}
