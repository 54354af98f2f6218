//! What a finished run leaves for people: pictures, the grid, the curve, the comparison as numbers.

use noisefind_core::ports::Reward;
use noisefind_core::run::StopReason;
use noisefind_rundir::{Event, EventValue, Layout, RunReader, write_atomic};

use crate::artifacts::report::report;
use crate::config::TuneConfig;
use crate::config::reward::sum_name;
use crate::error::{Error, Result};
use crate::evaluate::comparison::Arms;
use crate::evaluate::draw::Drawn;
use crate::images::save_frames;
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
    stop_reason: StopReason,
    arms: &Arms,
) -> Result<Overview> {
    for (arm, drawn) in [("base", &arms.base), ("tuned", &arms.tuned)] {
        save_pictures(layout, config, arm, drawn)?;
    }
    let rows = [("base", &arms.base), ("tuned", &arms.tuned)]
        .map(|(label, drawn)| Row { label, cells: cells(drawn) });
    let grid = grid(&config.prompt, &rows)?;
    let metrics = RunReader::open(layout.root())?.metrics::<MetricsLine>()?;
    let curve = draw_curve(config, &metrics, arms)?;
    write_atomic(&layout.grid(), &grid)?;
    write_atomic(&layout.curve(), &curve)?;
    write_atomic(
        &layout.report(),
        report(config, stop_reason, &arms.comparison, &metrics, &grid, &curve).as_bytes(),
    )?;
    let path = layout.comparison();
    let json = serde_json::to_vec_pretty(&arms.comparison)
        .map_err(|error| Error::Config { path: path.clone(), reason: error.to_string() })?;
    write_atomic(&path, &json)?;
    Ok(Overview { grid, curve })
}

fn save_pictures(layout: &Layout, config: &TuneConfig, arm: &str, drawn: &Drawn) -> Result<()> {
    for (at, (media, seed)) in drawn.media.iter().zip(&drawn.seeds).enumerate() {
        let mut texts = vec![
            ("prompt", config.prompt.clone()),
            ("seed", seed.to_string()),
            ("policy", arm.to_owned()),
            ("model", config.generation.model.clone()),
        ];
        if let Some(reward) = drawn.rewards.get(at).and_then(Reward::given) {
            texts.push(("reward", format!("{} {reward}", sum_name(&config.reward))));
        }
        save_frames(&layout.images(), &format!("{arm}-{seed}"), media, &texts)?;
    }
    Ok(())
}

fn cells(drawn: &Drawn) -> Vec<Cell<'_>> {
    let cell = |(at, media)| Cell {
        media,
        caption: match drawn.rewards.get(at).and_then(Reward::given) {
            Some(reward) => format!("{reward:.3}"),
            None => "no reward".to_owned(),
        },
        success: drawn.judgements.get(at).and_then(Reward::given).map(|judgement| judgement >= 0.5),
    };
    drawn.media.iter().take(GRID_COLUMNS).enumerate().map(cell).collect()
}

fn draw_curve(config: &TuneConfig, metrics: &[MetricsLine], arms: &Arms) -> Result<Vec<u8>> {
    let steps = metrics
        .iter()
        .filter_map(|line| Some((line.record.evaluations as u64, line.record.reward_mean?)))
        .collect::<Vec<_>>();
    let names = metrics.first().map(|line| &line.watched[..]).unwrap_or_default();
    let watched = names.iter().enumerate().map(|(at, first)| {
        let of = |line: &MetricsLine| {
            Some((line.record.evaluations as u64, line.watched.get(at)?.standardised_gain?))
        };
        (first.scorer.clone(), metrics.iter().filter_map(of).collect())
    });
    curve(&Curve {
        title: &config.prompt,
        reward: &arms.comparison.reward,
        steps: &steps,
        base: arms.comparison.base.reward_mean,
        tuned: arms.comparison.tuned.reward_mean,
        watched: &watched.collect::<Vec<_>>(),
    })
}
