//! What the scorer can tell, which limits every method that learns from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::bases::is_base;
use super::cost::{OnPrompt, mean_over, on_prompts};
use super::format::number;
use super::summary::Contender;
use super::tables::BEST_OF;
use crate::cell::Cell;

/// Probability from which a scorer is said to tell right from wrong.
pub const TELLS: f64 = 0.95;

/// For each prompt the probability that the scorer ranks an image which the judge accepts above one that it does not, over
/// the base images of all seeds: the area under the ROC curve (Hanley and McNeil, 1982). Prompts with images of one kind only
/// have none.
pub fn ranking_by_prompt(cells: &[Cell]) -> BTreeMap<String, f64> {
    let mut images: BTreeMap<&str, [Vec<f64>; 2]> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| is_base(cell)) {
        let of_prompt = images.entry(&cell.key.prompt).or_default();
        for (reward, verdict) in cell.rewards.iter().zip(&cell.judgements) {
            if let (Some(reward), Some(verdict)) = (reward, verdict) {
                of_prompt[usize::from(*verdict > 0.5)].push(*reward);
            }
        }
    }
    let ranking = images
        .into_iter()
        .filter_map(|(prompt, [wrong, right])| Some((prompt.to_owned(), probability_above(&right, &wrong)?)));
    ranking.collect()
}

/// Probability that one of `upper` is above one of `lower`; equal ones count half.
fn probability_above(upper: &[f64], lower: &[f64]) -> Option<f64> {
    let pairs = upper.len() * lower.len();
    let order = |a: f64, b: f64| if a > b { 1.0 } else { 0.5 * f64::from(u8::from(a == b)) };
    let above: f64 = upper.iter().flat_map(|&a| lower.iter().map(move |&b| order(a, b))).sum();
    (pairs > 0).then(|| above / pairs as f64)
}

/// The prompts on which the scorer tells right from wrong, and the others.
pub fn by_ranking(cells: &[Cell], find: &Contender) -> [Vec<OnPrompt>; 2] {
    let ranking = ranking_by_prompt(cells);
    [true, false].map(|tells| {
        let belongs =
            |cell: &&Cell| ranking.get(&cell.key.prompt).is_some_and(|one| (*one >= TELLS) == tells);
        let group: Vec<Cell> = cells.iter().filter(belongs).cloned().collect();
        on_prompts(&group, find, BEST_OF)
    })
}

/// The section.
pub fn scorer_section(lists: &[(&str, &[Cell])], find: &Contender) -> String {
    let mut text = format!(
        "The scorer tells right from wrong on a prompt where it ranks an image that the judge accepts above one that it does \
         not with a probability of at least {TELLS}, over the base images. Elsewhere it limits every method that learns from \
         it, and best of {BEST_OF} with them.\n\n\
         | list | the scorer | prompts | base | find | verified (images generated) | best of {BEST_OF} | evaluations |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for (list, cells) in lists {
        for (name, group) in ["tells", "does not"].iter().zip(by_ranking(cells, find)) {
            if group.is_empty() {
                continue;
            }
            let mean_of = |value: &dyn Fn(&OnPrompt) -> Option<f64>| mean_over(group.iter(), value);
            let _ = writeln!(
                text,
                "| {list} | {name} | {} | {} | {} | {} ({}) | {} | {} |",
                group.len(),
                number(mean_of(&|one| Some(one.base)), 2),
                number(mean_of(&|one| Some(one.own)), 2),
                number(mean_of(&|one| one.verified), 2),
                number(mean_of(&|one| one.generations), 2),
                number(mean_of(&|one| one.best_of), 2),
                number(mean_of(&|one| Some(one.evaluations)), 0),
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_by_hand() {
        assert_eq!(probability_above(&[0.3, 0.5], &[0.1, 0.3]), Some(3.5 / 4.0));
        assert_eq!(probability_above(&[], &[0.1]), None);
    }
}
