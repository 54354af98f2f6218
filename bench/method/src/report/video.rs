//! Results on clips.

use std::fmt::Write as _;

use super::format::{interval, number};
use super::summary::{Contender, Figure, Scope, contenders, counts, difference, estimate};
use super::tables::BEST_OF;
use crate::cell::Cell;
use crate::prompts::{Category, Half};

pub fn video_section(cells: &[Cell]) -> String {
    let Some(budget) = cells.iter().map(|cell| cell.key.budget).max() else { return String::new() };
    let find = Contender::method("find", budget);
    let (prompts, seeds) = counts(cells, &find, Scope::default());
    let mut text = format!(
        "`emoji-64-video`, {prompts} prompts in {seeds} cells, chosen by a base success of 5 to 60 % alone, half of them held \
         out by hash. Diversity is over clips; dynamic degree is that of the tuned clips over that of the base's.\n\n"
    );
    let learnt = contenders(cells).into_iter().filter(|contender| !contender.is_variant());
    let _ = write!(
        text,
        "| method | prompts (cells) | success | development half | held-out half | gain in base sigmas | diversity | dynamic degree | evaluations | seconds |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    let rows =
        [Contender::base(), Contender::BestOf(4), Contender::BestOf(BEST_OF)].into_iter().chain(learnt);
    for row in rows {
        let (prompts, own) = counts(cells, &row, Scope::default());
        if prompts == 0 {
            continue;
        }
        let of = |figure, half| interval(estimate(cells, &row, figure, Scope { half, category: None }));
        let plain = |figure, digits| {
            number(estimate(cells, &row, figure, Scope::default()).map(|it| it.value), digits)
        };
        let _ = writeln!(
            text,
            "| {} | {prompts} ({own}) | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.label(),
            of(Figure::Success, None),
            of(Figure::Success, Some(Half::Development)),
            of(Figure::Success, Some(Half::HeldOut)),
            of(Figure::Gain, None),
            plain(Figure::DiversityRatio, 2),
            number(dynamic_degree_ratio(cells, &row), 2),
            plain(Figure::Evaluations, 0),
            plain(Figure::Seconds, 0),
        );
    }
    text += "\n| group | base | find | best of 8 | find less base |\n| --- | --- | --- | --- | --- |\n";
    for category in Category::CLIPS {
        let scope = Scope { category: Some(category), half: None };
        let success = |contender: &Contender| interval(estimate(cells, contender, Figure::Success, scope));
        let _ = writeln!(
            text,
            "| {category} | {} | {} | {} | {} |",
            success(&Contender::base()),
            success(&find),
            success(&Contender::BestOf(BEST_OF)),
            interval(difference(cells, &find, &Contender::base(), Figure::Success, scope)),
        );
    }
    text
}

/// Mean dynamic degree of a contender's clips over that of the base clips of the same prompts and seeds.
pub fn dynamic_degree_ratio(cells: &[Cell], contender: &Contender) -> Option<f64> {
    let degree = |cell: &Cell| cell.held_out.get("dynamic-degree").copied().flatten();
    let pairs: Vec<(f64, f64)> = cells
        .iter()
        .filter(|cell| contender.owns(cell) && matches!(contender, Contender::Method(..)))
        .filter_map(|cell| {
            let is_its_base = |other: &&Cell| {
                Contender::base().owns(other)
                    && (&other.key.prompt, other.key.seed) == (&cell.key.prompt, cell.key.seed)
            };
            Some((degree(cell)?, degree(cells.iter().find(is_its_base)?)?))
        })
        .collect();
    let base: f64 = pairs.iter().map(|pair| pair.1).sum();
    (base > 0.0).then(|| pairs.iter().map(|pair| pair.0).sum::<f64>() / base)
}
