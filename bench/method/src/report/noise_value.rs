//! What a trained network finds in a noise about prompts that it never met, as `pretrain/noise_value.py` measures it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The record of the measurement.
#[derive(Clone, Debug, Deserialize)]
pub struct NoiseValue {
    /// Name of the model.
    pub model: String,
    /// Images generated and scored in all.
    pub evaluations: usize,
    /// Prompts that no network was trained on.
    pub held_out_prompts: usize,
    /// The networks.
    pub points: Vec<Point>,
}

/// One trained network.
#[derive(Clone, Debug, Deserialize)]
pub struct Point {
    /// Evaluations that it was trained on.
    pub evaluations: usize,
    /// Whether it was given the prompt beside the noise.
    pub prompt_given: bool,
    /// Spearman's correlation of its output with the reward, within each held-out prompt, averaged over prompts.
    pub rank_correlation: f64,
    /// Its interval.
    pub ci95: [f64; 2],
}

/// Reads the record; `None` where there is no file.
pub fn read(path: &Path) -> Result<Option<NoiseValue>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(Some(serde_json::from_str(&text).with_context(|| path.display().to_string())?))
}

/// The table and what follows from it.
pub fn noise_value_section(record: Option<&NoiseValue>) -> String {
    let Some(record) = record else { return String::new() };
    let mut text = format!(
        "\nA small convolutional network was trained to predict the reward of a noise of {} under a prompt, from {} evaluations in \
         all, of which those of {} prompts were held out (`python -m pretrain.noise_value`). Rank correlation of its prediction \
         with the reward within a held-out prompt:\n\n\
         | evaluations trained on | noise and prompt | noise alone |\n| --- | --- | --- |\n",
        record.model, record.evaluations, record.held_out_prompts
    );
    let mut sizes: Vec<usize> = record.points.iter().map(|point| point.evaluations).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let of = |prompt_given: bool| {
            let found = record
                .points
                .iter()
                .find(|point| (point.evaluations, point.prompt_given) == (size, prompt_given));
            found.map_or("-".to_owned(), |point| {
                format!("{:.3} [{:.3}, {:.3}]", point.rank_correlation, point.ci95[0], point.ci95[1])
            })
        };
        let _ = writeln!(text, "| {size} | {} | {} |", of(true), of(false));
    }
    text.push_str("\n![What a network finds in a noise](results/value-of-a-noise.png)\n");
    text
}
