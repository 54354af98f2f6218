//! What a finished run leaves for people: images, the grid, the curve, the comparison as numbers.

use noisefind_core::media::{FrameReduction, Media};
use noisefind_core::ports::Reward;
use noisefind_rundir::{Event, EventValue, Layout, write_atomic};

use crate::config::TuneConfig;
use crate::error::{Error, Result};
use crate::evaluate::comparison::Arms;
use crate::evaluate::evaluator::Evaluated;
use crate::images::{Cell, Curve, Row, animations, curve, grid, grid_clip, mp4};
use crate::observer::Observer;
use crate::record::MetricsLine;

/// Images an arm on the grid: as many as fit a screen side by side.
const GRID_COLUMNS: usize = 8;

/// Seeds on the strip of a run of clips: as many as fit a page with both of their rows.
const STRIP_SEEDS: usize = 3;

/// Frames of each clip on the strip, evenly spread.
const STRIP_FRAMES: usize = 8;

/// The images of the whole run, as files.
pub(crate) struct Overview {
    grid: Vec<u8>,
    curve: Vec<u8>,
    /// The grid of clips as an animated GIF.
    clips: Option<Vec<u8>>,
}

impl Overview {
    /// The images for TensorBoard.
    pub(crate) fn event(&self, step: u32, elapsed_seconds: f64) -> Event<'_> {
        let grid = match &self.clips {
            Some(clips) => EventValue::Gif(clips),
            None => EventValue::Png(&self.grid),
        };
        let values = vec![("grid".to_owned(), grid), ("curve".to_owned(), EventValue::Png(&self.curve[..]))];
        Event { step, elapsed_seconds, values }
    }
}

/// Writes everything that is made from the comparison; `comparison.json` comes last.
pub(crate) fn write(
    layout: &Layout,
    config: &TuneConfig,
    metrics: &[MetricsLine],
    arms: &Arms,
    observer: &mut dyn Observer,
) -> Result<Overview> {
    let rows = [("base", &arms.base), ("tuned", &arms.tuned)]
        .map(|(label, evaluated)| Row { label, cells: cells(evaluated) });
    let clips = match arms.base.media.iter().any(|media| media.frames() > 1) {
        true => Some(write_clips(layout, config, &rows, arms, observer)?),
        false => None,
    };
    let grid = grid(&config.prompt, &rows)?;
    let curve = draw_curve(config, metrics, arms)?;
    write_atomic(&layout.grid(), &grid)?;
    write_atomic(&layout.curve(), &curve)?;
    let path = layout.comparison();
    let json = serde_json::to_vec_pretty(&arms.comparison)
        .map_err(|error| Error::Config { path: path.clone(), reason: error.to_string() })?;
    let page =
        noisefind_page::report(layout.root(), &json).map_err(|error| Error::Rendering(error.to_string()))?;
    write_atomic(&layout.report(), page.as_bytes())?;
    write_atomic(&path, &json)?;
    Ok(Overview { grid, curve, clips })
}

/// The grid of clips as animations, the strip of their frames, and MP4 files where they can be made; -> the GIF file.
fn write_clips(
    layout: &Layout,
    config: &TuneConfig,
    rows: &[Row<'_>],
    arms: &Arms,
    observer: &mut dyn Observer,
) -> Result<Vec<u8>> {
    let played = grid_clip(&config.prompt, rows)?;
    let frames: Vec<&[u8]> = (0..played.frames()).map(|frame| played.frame(frame)).collect();
    let [webp, gif] = animations(played.width(), played.height(), &frames, played.fps())?;
    write_atomic(&layout.grid_animation("webp"), &webp)?;
    write_atomic(&layout.grid_animation("gif"), &gif)?;
    write_atomic(&layout.strip(), &strip(config, arms)?)?;
    let clip = |(arm, (seed, media)): (&str, (&u64, &'_ Media))| {
        (layout.images().join(format!("{arm}-{seed}.mp4")), media.clone())
    };
    let of_arm = |arm, evaluated: &Evaluated| {
        evaluated.seeds.iter().zip(&evaluated.media).map(|one| clip((arm, one))).collect::<Vec<_>>()
    };
    let single = [of_arm("base", &arms.base), of_arm("tuned", &arms.tuned)].concat();
    let all = [(layout.grid_animation("mp4"), played)].into_iter().chain(single).collect::<Vec<_>>();
    mp4::save_all(all.iter().map(|(path, media)| (path.clone(), media)), observer);
    Ok(gif)
}

/// Frames of a few seeds, base above tuned: first those that the judge accepts under the policy alone.
fn strip(config: &TuneConfig, arms: &Arms) -> Result<Vec<u8>> {
    let judged = |evaluated: &Evaluated, at: usize| {
        evaluated.judgements.get(at).and_then(Reward::given).map(|judgement| judgement >= 0.5)
    };
    let mut seeds = (0..arms.base.media.len().min(arms.tuned.media.len())).collect::<Vec<_>>();
    let is_gained =
        |at: usize| judged(&arms.tuned, at) == Some(true) && judged(&arms.base, at) == Some(false);
    seeds.sort_by_key(|&at| !is_gained(at));
    let mut frames = Vec::new();
    for &at in seeds.iter().take(STRIP_SEEDS) {
        for (label, evaluated) in [("base", &arms.base), ("tuned", &arms.tuned)] {
            let clip = evaluated.media[at].reduced(FrameReduction::Evenly(STRIP_FRAMES));
            let frame = |frame| Media::new(1, clip.height(), clip.width(), clip.frame(frame).to_vec()).ok();
            let single = (0..clip.frames()).filter_map(frame).collect::<Vec<_>>();
            frames.push((label, evaluated.seeds[at], judged(evaluated, at), single));
        }
    }
    let rows = frames.iter().map(|(label, seed, success, frames)| {
        let caption = |frame| if frame == 0 { format!("seed {seed}") } else { String::new() };
        let cell = |(frame, media)| Cell { media, caption: caption(frame), success: *success };
        Row { label, cells: frames.iter().enumerate().map(cell).collect() }
    });
    grid(&config.prompt, &rows.collect::<Vec<_>>())
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
