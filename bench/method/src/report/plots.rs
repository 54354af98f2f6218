//! The plots of the page.

use anyhow::Result;
use noisefind::pictures::canvas::{self, Area, BASE, FAINT, FONT, INK, TUNED, failed};
use plotters::coord::CoordTranslate;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::summary::{Contender, Figure, Scope, by_prompt, contenders, estimate, gain_curve, mean_curve};
use crate::cell::Cell;
use crate::prompts::Category;

/// The budget of the bars.
const BUDGET: usize = 160;
/// Colours of lines, marks and bars; a contender keeps its place in the order of the records.
const COLOURS: [RGBColor; 8] = [
    TUNED,
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0xe3, 0x77, 0xc2),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0x17, 0xbe, 0xcf),
    RGBColor(0xbc, 0xbd, 0x22),
];

type Drawing = noisefind::Result<()>;

/// Every plot by its file name.
pub fn draw_all(cells: &[Cell]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let shown: Vec<Contender> =
        contenders(cells).into_iter().filter(|contender| !contender.label().contains("-without-")).collect();
    let draw = |name, title: &str, paint: &dyn Fn(&Area<'_>) -> Drawing| -> Result<(&'static str, Vec<u8>)> {
        Ok((name, canvas::draw(900, 480, &[("Title", title.to_owned())], paint)?))
    };
    Ok(vec![
        draw("reward-against-evaluations.png", "Gain while learning", &|area| {
            let lines = shown.iter().map(|contender| (contender.label(), gain_curve(cells, contender)));
            curves(area, "gain in base sigmas", &lines.collect::<Vec<_>>())
        })?,
        draw("success-by-category.png", "Success by category", &|area| bars(area, cells, &shown))?,
        draw("diversity-against-gain.png", "Diversity against gain", &|area| scatter(area, cells, &shown))?,
        draw("step-norm-and-kl.png", "Step norm and KL", &|area| {
            let (left, right) = area.split_horizontally(450);
            let of = |value: fn(&Cell, usize) -> Option<f64>| -> Vec<(String, Vec<(usize, f64)>)> {
                shown
                    .iter()
                    .map(|contender| (contender.label(), mean_curve(cells, contender, value)))
                    .collect()
            };
            curves(&left, "norm of the step of the mean", &of(|cell, at| cell.curve[at].step_norm))?;
            curves(&right, "KL to N(0, I) in nats", &of(|cell, at| cell.curve[at].kl_nats))
        })?,
    ])
}

/// Lines over evaluations on a logarithmic axis.
fn curves(area: &Area<'_>, what: &str, lines: &[(String, Vec<(usize, f64)>)]) -> Drawing {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let most = points().map(|point| point.0).max().unwrap_or(BUDGET) as f64;
    let (low, high) = range(points().map(|point| point.1));
    let mut chart = builder(area).build_cartesian_2d((10f64..most).log_scale(), low..high).map_err(failed)?;
    mesh(&mut chart, "evaluations", what)?;
    for (at, (label, points)) in lines.iter().enumerate().filter(|(_, (_, points))| !points.is_empty()) {
        let colour = COLOURS[at % COLOURS.len()];
        let points = points.iter().map(|&(evaluations, value)| (evaluations as f64, value));
        let drawn = chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).map_err(failed)?;
        drawn
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)
}

/// A group of bars a category, with intervals.
fn bars(area: &Area<'_>, cells: &[Cell], shown: &[Contender]) -> Drawing {
    let at_budget =
        shown.iter().filter(|one| matches!(one, Contender::Method(_, budget) if *budget == BUDGET));
    let rows: Vec<Contender> =
        [Contender::base(), Contender::BestOf(8)].into_iter().chain(at_budget.cloned()).collect();
    let mut chart = builder(area)
        .build_cartesian_2d(0f64..Category::ALL.len() as f64 + 1.0, 0f64..1.08)
        .map_err(failed)?;
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
    for (at, row) in rows.iter().enumerate() {
        let colour = match at {
            0 => BASE,
            1 => FAINT,
            other => COLOURS[(other - 2) % COLOURS.len()],
        };
        let estimates = Category::ALL.iter().enumerate().filter_map(|(number, category)| {
            let scope = Scope { category: Some(*category), half: None };
            Some((number as f64 + 0.1 + width * at as f64, estimate(cells, row, Figure::Success, scope)?))
        });
        let estimates: Vec<_> = estimates.collect();
        let boxes = estimates.iter().map(|(left, found)| {
            Rectangle::new([(*left, 0.0), (left + 0.9 * width, found.value)], colour.filled())
        });
        let drawn = chart.draw_series(boxes).map_err(failed)?;
        drawn
            .label(row.label())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 16, y + 5)], colour.filled()));
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
    legend(&mut chart, SeriesLabelPosition::UpperRight)
}

/// A mark a prompt and method.
fn scatter(area: &Area<'_>, cells: &[Cell], shown: &[Contender]) -> Drawing {
    let points = |contender: &Contender| -> Vec<(f64, f64)> {
        let gains = by_prompt(cells, contender, Figure::Gain, Scope::default());
        let ratios = by_prompt(cells, contender, Figure::DiversityRatio, Scope::default());
        gains.into_iter().filter_map(|(prompt, gain)| Some((gain, *ratios.get(prompt)?))).collect()
    };
    let all: Vec<(f64, f64)> = shown.iter().flat_map(points).collect();
    let (left, right) = range(all.iter().map(|point| point.0));
    let (_, high) = range(all.iter().map(|point| point.1));
    let mut chart = builder(area).build_cartesian_2d(left..right, 0.0..high).map_err(failed)?;
    mesh(&mut chart, "gain in base sigmas", "diversity over that of the base")?;
    for (at, contender) in shown.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let marks =
            points(contender).into_iter().map(|point| Circle::new(point, 4, colour.mix(0.7).filled()));
        let drawn = chart.draw_series(marks).map_err(failed)?;
        drawn.label(contender.label()).legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)
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

fn legend<'a, DB, CT>(chart: &mut ChartContext<'a, DB, CT>, position: SeriesLabelPosition) -> Drawing
where
    DB: DrawingBackend + 'a,
    CT: CoordTranslate,
{
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.85))
        .label_font((FONT, 14).into_font().color(&INK))
        .draw()
        .map_err(failed)
}

/// Ends of an axis that holds all values, zero and a margin.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((0.0f64, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
    let margin = (0.08 * (high - low)).max(1e-3);
    (low - margin, high + margin)
}
