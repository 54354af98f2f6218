//! The comparison as a short table for people.

use noisefind::comparison::{Arm, BaselineResult, Comparison, Interval, ScorerArm};
use noisefind::prompts::PromptsTuned;

/// Base beside tuned, then what it cost and what the same cost would buy otherwise.
pub fn comparison(compared: &Comparison) -> String {
    let (base, tuned) = (&compared.base, &compared.tuned);
    let scorers = [("part of the reward", &compared.parts), ("held out", &compared.held_out)];
    let names = scorers.iter().flat_map(|(_, scorers)| scorers.iter().map(|one| one.scorer.chars().count()));
    let width = names.max().unwrap_or_default().max(12);
    let line = |name: &str, base: &str, tuned: &str| format!("{name:<width$}  {base:<26}{tuned}\n");
    let row = |name: &str, cell: &dyn Fn(&Arm) -> String| line(name, &cell(base), &cell(tuned));
    let mut table = line("", "base", "tuned");
    table += &row("mean reward", &|arm| with_interval(arm.reward_mean, arm.reward_ci95));
    table += &row("5 % to 95 %", &|arm| format!("{} to {}", number(arm.reward_p5), number(arm.reward_p95)));
    if base.success_rate.is_some() || tuned.success_rate.is_some() {
        table += &row("success rate", &|arm| with_interval(arm.success_rate, arm.success_ci95));
    }
    table += &row("diversity", &|arm| number(arm.diversity));
    for (kind, scorers) in scorers {
        for one in scorers {
            let cell = |arm: &ScorerArm| with_interval(arm.reward_mean, arm.reward_ci95);
            table += &line(&one.scorer, &cell(&one.base), &cell(&one.tuned));
            let (gain, interval) =
                (signed(one.standardised_gain), signed_interval(one.standardised_gain_ci95));
            table += &line("", &format!("{kind}, gain {gain}{interval} base sigmas"), "");
        }
    }
    let best = &compared.best_of_n;
    let success = best.success_rate.map(|rate| format!(", success rate {rate:.3}")).unwrap_or_default();
    let best_of_n = match best.reward_mean {
        Some(reward) => {
            format!("best of {} base samples at the same cost: mean reward {reward:.3}{success}", best.n)
        }
        None => {
            format!("best of {} base samples at the same cost: unknown, needs as many --samples", best.n)
        }
    };
    let paid = compared.pays_after_images.map(|images| {
        format!(", paid for after {images} images against generating from the base until one succeeds")
    });
    let paid = paid.unwrap_or_default();
    let baselines: String = compared.baselines.iter().map(baseline_line).collect();
    let (gain, interval) =
        (signed(compared.standardised_gain), signed_interval(compared.standardised_gain_ci95));
    format!(
        "{table}\ngain {gain}{interval} base sigmas on {} fresh seeds, diversity ratio {}, KL {:.1} nats\n\
         {} evaluations in {:.1} s{paid}\n{best_of_n}{baselines}",
        compared.samples,
        number(compared.diversity_ratio),
        compared.kl_nats,
        compared.evaluations,
        compared.elapsed_seconds,
    )
}

/// One line a prompt, then the means.
pub fn prompts(tuned: &PromptsTuned) -> String {
    let longest = tuned.runs.iter().map(|run| run.prompt.chars().count()).max().unwrap_or_default();
    let width = longest.clamp(6, 40);
    let line = |prompt: &str, gain: &str, success: &str, diversity: &str, run: &str| {
        let prompt = match prompt.chars().count() > width {
            true => prompt.chars().take(width - 1).chain(['…']).collect(),
            false => prompt.to_owned(),
        };
        format!("{prompt:<width$}  {gain:<22}{success:<17}{diversity:<11}{run}").trim_end().to_owned()
    };
    let success = |base: Option<f64>, tuned: Option<f64>| match (base, tuned) {
        (Some(base), Some(tuned)) => format!("{base:.2} to {tuned:.2}"),
        _ => "unknown".to_owned(),
    };
    let ratio =
        |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.2}"));
    let rows = tuned.runs.iter().filter_map(|run| {
        let compared = run.tuned.comparison.as_ref()?;
        let gain = signed(compared.standardised_gain) + &signed_interval(compared.standardised_gain_ci95);
        let success = success(compared.base.success_rate, compared.tuned.success_rate);
        let diversity = ratio(compared.diversity_ratio);
        Some(line(&run.prompt, &gain, &success, &diversity, &run.tuned.run.display().to_string()))
    });
    let mean = &tuned.mean;
    let means = line(
        "mean",
        &signed(mean.standardised_gain),
        &success(mean.base_success_rate, mean.tuned_success_rate),
        &ratio(mean.diversity_ratio),
        "",
    );
    let heading = line("prompt", "gain in base sigmas", "success", "diversity", "run");
    std::iter::once(heading).chain(rows).chain([means]).collect::<Vec<_>>().join("\n")
}

fn baseline_line(baseline: &BaselineResult) -> String {
    let each = match baseline.generations_per_image {
        1 => format!("{} evaluations", baseline.evaluations),
        n => format!("{n} generations per sample"),
    };
    let more = [("success rate", baseline.success_rate), ("diversity ratio", baseline.diversity_ratio)];
    let more: String =
        more.iter().filter_map(|(name, value)| value.map(|value| format!(", {name} {value:.3}"))).collect();
    let gain = baseline
        .standardised_gain
        .map_or_else(|| "unknown".to_owned(), |gain| format!("{gain:+.2} base sigmas"));
    format!(
        "\n{} ({each}): mean reward {}, gain {gain}{more}",
        baseline.baseline,
        number(baseline.reward_mean)
    )
}

fn with_interval(value: Option<f64>, interval: Option<Interval>) -> String {
    let interval = interval.map(|[low, high]| format!(" [{low:.3}, {high:.3}]")).unwrap_or_default();
    format!("{}{interval}", number(value))
}

fn signed(value: Option<f64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:+.2}"))
}

fn signed_interval(interval: Option<Interval>) -> String {
    interval.map(|[low, high]| format!(" [{low:+.2}, {high:+.2}]")).unwrap_or_default()
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.3}"))
}
