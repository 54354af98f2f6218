//! The comparison as a short table for people.

use noisefind::comparison::{Arm, Comparison, Interval, ScorerArm};

/// Base beside tuned, then what it cost and what the same cost would buy otherwise.
pub fn comparison(compared: &Comparison) -> String {
    let (base, tuned) = (&compared.base, &compared.tuned);
    let row =
        |name: &str, cell: &dyn Fn(&Arm) -> String| format!("{name:<14}{:<26}{}\n", cell(base), cell(tuned));
    let mut table = format!("{:<14}{:<26}tuned\n", "", "base");
    table += &row("mean reward", &|arm| with_interval(arm.reward_mean, arm.reward_ci95));
    table += &row("5 % to 95 %", &|arm| format!("{} to {}", number(arm.reward_p5), number(arm.reward_p95)));
    if base.success_rate.is_some() || tuned.success_rate.is_some() {
        table += &row("success rate", &|arm| with_interval(arm.success_rate, arm.success_ci95));
    }
    table += &row("diversity", &|arm| number(arm.diversity));
    for (kind, scorers) in [("part of the reward", &compared.parts), ("held out", &compared.watched)] {
        for one in scorers {
            let cell = |arm: &ScorerArm| with_interval(arm.reward_mean, arm.reward_ci95);
            table += &format!("{:<14}{:<26}{}\n", one.scorer, cell(&one.base), cell(&one.tuned));
            let (gain, interval) = (signed(one.gain_sigmas), signed_interval(one.gain_sigmas_ci95));
            table += &format!("{:<14}{kind}, gain {gain}{interval} base sigmas\n", "");
        }
    }
    let best = &compared.best_of_n;
    let success = best.success_rate.map(|rate| format!(", success rate {rate:.3}")).unwrap_or_default();
    let rival = match best.reward_mean {
        Some(reward) => {
            format!("best of {} base pictures at the same cost: mean reward {reward:.3}{success}", best.n)
        }
        None => {
            format!("best of {} base pictures at the same cost: unknown, needs as many --samples", best.n)
        }
    };
    let (gain, interval) = (signed(compared.gain_sigmas), signed_interval(compared.gain_sigmas_ci95));
    format!(
        "{table}\ngain {gain}{interval} base sigmas on {} fresh seeds, diversity ratio {}, KL {:.1} nats\n\
         {} evaluations in {:.1} s\n{rival}",
        compared.samples,
        number(compared.diversity_ratio),
        compared.kl_nats,
        compared.evaluations,
        compared.elapsed_seconds,
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
