//! What a finished run leaves for people: pictures, the grid, the curve, the comparison as numbers.

use noisefind_core::ports::Reward;
use noisefind_rundir::{Event, EventValue, Layout, write_atomic};

use crate::config::TuneConfig;
use crate::error::{Error, Result};
use crate::evaluate::comparison::Arms;
use crate::evaluate::evaluator::Evaluated;
use crate::images::{Cell, Curve, Row, curve, grid};
use crate::record::MetricsLine;

/// Pictures an arm on the grid: as many as fit a screen side by side.
const GRID_COLUMNS: usize = 8;

/// The pictures of the whole run, as PNG files.
pub(crate) struct Overview {
    grid: Vec<u8>,
    curve: Vec<u8>,
}

impl Overview {
    /// The pictures for TensorBoard.
    pub(crate) fn event(&self, step: u32, elapsed_seconds: f64) -> Event<'_> {
        let value = |name: &str, bytes| (name.to_owned(), EventValue::Png(bytes));
        let values = vec![value("grid", &self.grid[..]), value("curve", &self.curve[..])];
        Event { step, elapsed_seconds, values }
    }
}

/// Writes everything that is made from the comparison; `comparison.json` comes last.
pub(crate) fn write(
    layout: &Layout,
    config: &TuneConfig,
    metrics: &[MetricsLine],
    arms: &Arms,
) -> Result<Overview> {
    let rows = [("base", &arms.base), ("tuned", &arms.tuned)]
        .map(|(label, evaluated)| Row { label, cells: cells(evaluated) });
    let grid = grid(&config.prompt, &rows)?;
    let curve = draw_curve(config, metrics, arms)?;
    write_atomic(&layout.grid(), &grid)?;
    write_atomic(&layout.curve(), &curve)?;
    let path = layout.comparison();
    let json = serde_json::to_vec_pretty(&arms.comparison)
        .map_err(|error| Error::Config { path: path.clone(), reason: error.to_string() })?;
    let page =
        noisefind_page::report(layout.root(), &json).map_err(|error| Error::Picture(error.to_string()))?;
    write_atomic(&layout.report(), page.as_bytes())?;
    write_atomic(&path, &json)?;
    Ok(Overview { grid, curve })
}

fn cells(evaluated: &Evaluated) -> Vec<Cell<'_>> {
    let cell = |(at, media)| Cell {
        media,
        caption: match evaluated.rewards.get(at).and_then(Reward::given) {
            Some(reward) => format!("{reward:.3}"),
            None => "no reward".to_owned(),
        },
        success: evaluated.judgements.get(at).and_then(Reward::given).map(|judgement| judgement >= 0.5),
    };
    evaluated.media.iter().take(GRID_COLUMNS).enumerate().map(cell).collect()
}

fn draw_curve(config: &TuneConfig, metrics: &[MetricsLine], arms: &Arms) -> Result<Vec<u8>> {
    let steps = metrics
        .iter()
        .filter_map(|line| Some((line.record.evaluations as u64, line.record.reward_mean?)))
        .collect::<Vec<_>>();
    let names = metrics.first().map(|line| &line.held_out[..]).unwrap_or_default();
    let held_out = names.iter().enumerate().map(|(at, first)| {
        let of = |line: &MetricsLine| {
            Some((line.record.evaluations as u64, line.held_out.get(at)?.standardised_gain?))
        };
        (first.scorer.clone(), metrics.iter().filter_map(of).collect())
    });
    curve(&Curve {
        title: &config.prompt,
        reward: &arms.comparison.reward,
        steps: &steps,
        base: arms.comparison.base.reward_mean,
        tuned: arms.comparison.tuned.reward_mean,
        held_out: &held_out.collect::<Vec<_>>(),
    })
}
