//! The front of success against diversity.

use std::fmt::Write as _;

use noisefind::core::method::FindConfig;

use super::format::{interval, number};
use super::summary::{Contender, Figure, Scope, estimate};
use super::tables::BUDGET;
use crate::cell::Cell;
use crate::methods::COMPONENTS;

/// Each setting of `--variety`, on the prompts and seeds that all of them have.
pub fn front_table(cells: &[Cell]) -> String {
    let front = front(cells);
    if front.len() < 2 {
        return String::new();
    }
    let prompts = front[0].2.len();
    let mut text = format!(
        "On {prompts} prompts of the development half, one seed; 0.5 is the default. The plot is below.\n\n\
                    | --variety | components at most | success | verified | diversity | among successes | Vendi score of successes | evaluations |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for (variety, contender, own) in front {
        let of = |figure, digits| {
            number(estimate(&own, &contender, figure, Scope::default()).map(|it| it.value), digits)
        };
        let _ = writeln!(
            text,
            "| {variety:.2} | {} | {} | {} | {} | {} | {} | {} |",
            (6.0 * variety).exp2().round(),
            interval(estimate(&own, &contender, Figure::Success, Scope::default())),
            of(Figure::VerifiedSuccess, 2),
            of(Figure::DiversityRatio, 2),
            of(Figure::SuccessDiversityRatio, 2),
            of(Figure::SuccessVendi, 1),
            of(Figure::Evaluations, 0),
        );
    }
    text
}

/// The settings of `--variety` on record with their cells, of the prompts and seeds that all have.
pub fn front(cells: &[Cell]) -> Vec<(f64, Contender, Vec<Cell>)> {
    let default = FindConfig::default().components;
    let mut settings: Vec<(usize, String)> =
        COMPONENTS.iter().map(|count| (*count, format!("find-components-{count}"))).collect();
    settings.push((default, "find".to_owned()));
    settings.sort_unstable();
    let settings = settings.into_iter().map(|(components, name)| {
        // As `FindConfig::with_variety` has it.
        ((components as f64).log2() / 6.0, Contender::method(&name, BUDGET))
    });
    let settings: Vec<(f64, Contender)> = settings.collect();
    // A setting with few cells would take most prompts away from the others.
    let count = |one: &Contender| cells.iter().filter(|cell| one.owns(cell)).count();
    let variants = settings.iter().filter(|(_, one)| one.is_variant());
    let most = variants.map(|(_, one)| count(one)).max().unwrap_or(0);
    let measured: Vec<_> =
        settings.iter().filter(|(_, one)| count(one) > 0 && 2 * count(one) >= most).collect();
    let in_all = |cell: &Cell| {
        measured.iter().all(|(_, one)| {
            cells.iter().any(|other| {
                one.owns(other) && (&other.key.prompt, other.key.seed) == (&cell.key.prompt, cell.key.seed)
            })
        })
    };
    let own = |one: &Contender| cells.iter().filter(|cell| one.owns(cell) && in_all(cell)).cloned().collect();
    measured.iter().map(|(variety, one)| (*variety, one.clone(), own(one))).collect()
}
