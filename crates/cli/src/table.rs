//! The comparison as a short table for people.

use noisefind::comparison::{Arm, Comparison, Interval};

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
    let gain = compared.gain_sigmas.map_or_else(|| "unknown".to_owned(), |gain| format!("{gain:+.2}"));
    let interval =
        compared.gain_sigmas_ci95.map(|[low, high]| format!(" [{low:+.2}, {high:+.2}]")).unwrap_or_default();
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

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.3}"))
}
