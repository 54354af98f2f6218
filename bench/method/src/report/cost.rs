//! What a success costs, by how often the base succeeds.

use std::fmt::Write as _;

use noisefind::core::statistics::mean;

use super::format::number;
use super::summary::{Contender, Figure, Scope, by_prompt};
use super::tables::{BEST_OF, methods_table, prompt_table};
use crate::cell::Cell;

/// Images over which the cost of learning is spread.
const IMAGES: f64 = 100.0;
/// The size of best-of-n that prompts which the model already draws are held against.
pub const EASY_BEST_OF: usize = 6;

/// What one contender does on one prompt, all seeds together.
pub struct OnPrompt {
    /// Success of the base.
    pub base: f64,
    /// Success of the contender.
    pub own: f64,
    /// The same with verification.
    pub verified: Option<f64>,
    /// Images generated for a verified one.
    pub generations: Option<f64>,
    /// Success of best-of-n.
    pub best_of: Option<f64>,
    /// Evaluations spent.
    pub evaluations: f64,
}

/// Every prompt on which both were measured.
pub fn on_prompts(cells: &[Cell], own: &Contender, best_of: usize) -> Vec<OnPrompt> {
    let all = Scope::default();
    let of = |contender: &Contender, figure| by_prompt(cells, contender, figure, all);
    let (base, best) =
        (of(&Contender::base(), Figure::Success), of(&Contender::BestOf(best_of), Figure::Success));
    let (verified, generations) = (of(own, Figure::VerifiedSuccess), of(own, Figure::VerifiedGenerations));
    let evaluations = of(own, Figure::Evaluations);
    let successes = of(own, Figure::Success).into_iter();
    let joined = successes.filter_map(|(prompt, own)| {
        Some(OnPrompt {
            base: *base.get(prompt)?,
            own,
            verified: verified.get(prompt).copied(),
            generations: generations.get(prompt).copied(),
            best_of: best.get(prompt).copied(),
            evaluations: *evaluations.get(prompt)?,
        })
    });
    joined.collect()
}

impl OnPrompt {
    /// Generations for a success of the base, tried until it comes; none where it never came.
    fn base_cost(&self) -> Option<f64> {
        (self.base > 0.0).then(|| 1.0 / self.base)
    }

    /// The same of the policy, with what learning cost spread over [`IMAGES`] images.
    fn own_cost(&self) -> Option<f64> {
        (self.own > 0.0).then(|| (1.0 + self.evaluations / IMAGES) / self.own)
    }

    /// Successes after which learning has paid against drawing until it works; none where it never does.
    fn pays_after(&self) -> Option<f64> {
        let saved = self.base_cost()? - 1.0 / self.own;
        (self.own > 0.0 && saved > 0.0).then(|| self.evaluations / saved)
    }
}

/// Mean of the values that are there.
pub fn mean_over<'a>(
    group: impl Iterator<Item = &'a OnPrompt>,
    value: &dyn Fn(&OnPrompt) -> Option<f64>,
) -> Option<f64> {
    let values: Vec<f64> = group.filter_map(value).collect();
    (!values.is_empty()).then(|| mean(&values))
}

/// Lists of cells together, by how often the base succeeds.
pub fn difficulty_table(lists: &[&[Cell]], find: &Contender) -> String {
    let all: Vec<OnPrompt> = lists.iter().flat_map(|cells| on_prompts(cells, find, BEST_OF)).collect();
    if all.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "Both lists together. Cost is in images generated for each success; that of find has its evaluations spread over {IMAGES} \
         images. It has paid against drawing until it works after so many successes (the median of the prompts where it ever \
         does, and how many those are).\n\n\
         | base success | prompts | base | find | verified (images generated) | best of {BEST_OF} | find below best of {BEST_OF} | \
         evaluations | cost of base | cost of find | cost of best of {BEST_OF} | paid after |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    let groups =
        [("below 0.1", 0.0..0.1), ("0.1 to 0.3", 0.1..0.3), ("0.3 and above", 0.3..1.1), ("all", 0.0..1.1)];
    for (name, range) in groups {
        let group: Vec<&OnPrompt> = all.iter().filter(|one| range.contains(&one.base)).collect();
        if group.is_empty() {
            continue;
        }
        let mean_of = |value: &dyn Fn(&OnPrompt) -> Option<f64>| mean_over(group.iter().copied(), value);
        let below = group.iter().filter(|one| one.best_of.is_some_and(|best| one.own < best - 1e-9)).count();
        let mut paid: Vec<f64> = group.iter().filter_map(|one| one.pays_after()).collect();
        paid.sort_by(f64::total_cmp);
        let median = paid.get(paid.len() / 2).copied();
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} ({}) | {} | {below} of {} | {} | {} | {} | {} | {} ({} of {}) |",
            group.len(),
            number(mean_of(&|one| Some(one.base)), 2),
            number(mean_of(&|one| Some(one.own)), 2),
            number(mean_of(&|one| one.verified), 2),
            number(mean_of(&|one| one.generations), 2),
            number(mean_of(&|one| one.best_of), 2),
            group.len(),
            number(mean_of(&|one| Some(one.evaluations)), 0),
            number(mean_of(&OnPrompt::base_cost), 1),
            number(mean_of(&OnPrompt::own_cost), 1),
            number(
                mean_of(&|one| one.best_of.filter(|best| *best > 0.0).map(|best| BEST_OF as f64 / best)),
                1
            ),
            number(median, 0),
            paid.len(),
            group.len(),
        );
    }
    text
}

/// Prompts of a base success from 0.6 on, where the policy is to do no harm.
pub fn easy_section(cells: &[Cell], find: &Contender) -> String {
    let all = on_prompts(cells, find, EASY_BEST_OF);
    if all.is_empty() {
        return String::new();
    }
    let kept = cells.iter().filter(|cell| find.owns(cell) && cell.kl_nats == Some(0.0)).count();
    format!(
        "Chosen as the others, with a base success from 0.6 to 1; a policy is to leave them alone, or to leave out only what \
         fails. In {kept} of {} cells the policy stayed N(0, I).\n\n{}\n{}",
        cells.iter().filter(|cell| find.owns(cell)).count(),
        methods_table(cells, Scope::default()),
        prompt_table(cells, "find")
    )
}
