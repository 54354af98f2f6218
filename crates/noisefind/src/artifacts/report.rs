//! `report.html`: one page that needs nothing beside it, to be kept or sent.

use std::collections::BTreeSet;
use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use noisefind_core::run::StopReason;

use crate::config::TuneConfig;
use crate::evaluate::comparison::{Arm, Comparison, Interval, ScorerArm};
use crate::record::MetricsLine;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;\
color:#222}table{border-collapse:collapse}td,th{padding:.2rem 1.2rem .2rem 0;text-align:left;\
font-variant-numeric:tabular-nums}img{max-width:100%}h1{font-size:1.5rem}.faint{color:#777}";

/// The page for one finished run; `grid` and `curve` are PNG files.
pub(crate) fn report(
    config: &TuneConfig,
    stop_reason: StopReason,
    compared: &Comparison,
    steps: &[MetricsLine],
    grid: &[u8],
    curve: &[u8],
) -> String {
    let prompt = escaped(&config.prompt);
    let mut rows = String::new();
    let mut row = |name: &str, cell: &dyn Fn(&Arm) -> String| {
        let (base, tuned) = (cell(&compared.base), cell(&compared.tuned));
        // Writing into a string cannot fail.
        let _ = writeln!(rows, "<tr><th>{name}</th><td>{base}</td><td>{tuned}</td></tr>");
    };
    row("mean reward", &|arm| with_interval(arm.reward_mean, arm.reward_ci95));
    row("5 % to 95 %", &|arm| format!("{} to {}", number(arm.reward_p5), number(arm.reward_p95)));
    row("success rate", &|arm| with_interval(arm.success_rate, arm.success_ci95));
    row("diversity", &|arm| number(arm.diversity));
    for (kind, scorers) in [("part", &compared.parts), ("held out", &compared.held_out)] {
        for one in scorers {
            let cell = |arm: &ScorerArm| with_interval(arm.reward_mean, arm.reward_ci95);
            let (name, base, tuned) = (escaped(&one.scorer), cell(&one.base), cell(&one.tuned));
            let gain = with_interval(one.standardised_gain, one.standardised_gain_ci95);
            let _ = writeln!(
                rows,
                "<tr><th>{name} ({kind})</th><td>{base}</td><td>{tuned}</td><td>gain {gain} sigmas</td></tr>"
            );
        }
    }
    let picture = |png: &[u8], alt: &str| {
        format!("<p><img alt=\"{alt}\" src=\"data:image/png;base64,{}\"></p>", BASE64_STANDARD.encode(png))
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{prompt}</title><style>{STYLE}</style>\n\
         <h1>{prompt}</h1>\n\
         <p class=\"faint\">{model}, {method}, reward {reward}, {evaluations} evaluations in {seconds:.1} s, \
         seed {seed}; stopped because {why}</p>\n\
         {grid}\n<p>Above: noise from the standard normal. Below: the same seeds under the tuned policy.</p>\n\
         <table><tr><th></th><th>base</th><th>tuned</th></tr>\n{rows}</table>\n\
         <p>Gain {gain} base standard deviations, diversity ratio {ratio}, divergence {kl:.1} nats. \
         Best of {n} base pictures at the same cost: reward {best}.</p>\n{curve}\n{diagnostics}</html>\n",
        model = escaped(&config.generation.model),
        method = config.method.name(),
        reward = escaped(&compared.reward),
        why = stop_reason.why(),
        evaluations = compared.evaluations,
        seconds = compared.elapsed_seconds,
        seed = config.run.seed,
        grid = picture(grid, "base above tuned"),
        gain = with_interval(compared.standardised_gain, compared.standardised_gain_ci95),
        ratio = number(compared.diversity_ratio),
        kl = compared.kl_nats,
        n = compared.best_of_n.n,
        best = number(compared.best_of_n.reward_mean),
        curve = picture(curve, "reward against evaluations"),
        diagnostics = diagnostics(steps),
    )
}

/// One row a step, and what the run warned of.
fn diagnostics(steps: &[MetricsLine]) -> String {
    let headings = [
        "evaluations",
        "reward",
        "spread",
        "missing",
        "KL, nats",
        "rms of mu",
        "step",
        "effective samples",
        "explained share",
    ];
    let headings = headings.map(|heading| format!("<th>{heading}</th>")).concat();
    let mut page = format!("<h2>Steps</h2>\n<table><tr>{headings}</tr>\n");
    for MetricsLine { record, .. } in steps {
        let cells = [
            record.evaluations.to_string(),
            number(record.reward_mean),
            number(record.reward_std),
            record.missing.to_string(),
            format!("{:.1}", record.kl_nats),
            number(Some(record.mean_rms)),
            number(Some(record.step_norm)),
            format!("{:.1}", record.effective_sample_size),
            number(record.predictive_r2),
        ];
        page += &format!("<tr>{}</tr>\n", cells.map(|cell| format!("<td>{cell}</td>")).concat());
    }
    page += "</table>\n";
    for warning in steps.iter().flat_map(|line| &line.record.warnings).collect::<BTreeSet<_>>() {
        page += &format!("<p class=\"faint\">Warning: {}</p>\n", escaped(warning));
    }
    page
}

fn with_interval(value: Option<f64>, interval: Option<Interval>) -> String {
    match interval {
        Some([low, high]) => format!("{} [{low:.3}, {high:.3}]", number(value)),
        None => number(value),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.3}"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_cannot_become_markup() {
        assert_eq!(escaped("<b>\"a\" & b</b>"), "&lt;b&gt;&quot;a&quot; &amp; b&lt;/b&gt;");
    }
}
