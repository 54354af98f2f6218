//! Figures over many cells: the mean over seeds is the value of a prompt, intervals are bootstrapped over prompts.

use std::collections::{BTreeMap, BTreeSet};

use noisefind::core::statistics::{Estimate, mean, mean_estimate};

use crate::cell::Cell;
use crate::methods::BASE;
use crate::prompts::{Category, Half};
use crate::report::bases::{Bases, is_base};

/// Names the resamples of every interval on the page.
const BOOTSTRAP_SEED: u64 = 1;
/// Points of a curve that are averaged before it is compared with a level.
const SMOOTHED_POINTS: usize = 5;

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contender {
    /// A method with its budget.
    Method(String, usize),
    /// The best of n base images by the scorer, for each image.
    BestOf(usize),
}

/// What is read from a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Share of fresh images that the judge accepts.
    Success,
    /// Rise of the mean reward in standard deviations of the base.
    Gain,
    /// Diversity over that of the base.
    DiversityRatio,
    /// The same among the images that the judge accepts.
    SuccessDiversityRatio,
    /// Vendi score of the images that the judge accepts.
    SuccessVendi,
    /// Success where samples are verified.
    VerifiedSuccess,
    /// Images generated for each one that verification keeps.
    VerifiedGenerations,
    /// Divergence from N(0, I) in nats.
    KlNats,
    /// Images generated and scored for learning.
    Evaluations,
    /// Seconds of learning.
    Seconds,
    /// Share of the rewards' variance that was predicted before they were learnt from.
    ExplainedShare,
}

/// Which prompts count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope {
    /// Those of this half.
    pub half: Option<Half>,
    /// Those of this category.
    pub category: Option<Category>,
}

impl Contender {
    /// The untuned arm.
    pub fn base() -> Self {
        Self::Method(BASE.to_owned(), 0)
    }

    /// A method with the budget of the comparison.
    pub fn method(name: &str, budget: usize) -> Self {
        Self::Method(name.to_owned(), budget)
    }

    /// As in tables.
    pub fn label(&self) -> String {
        match self {
            Self::Method(name, _) => name.clone(),
            Self::BestOf(n) => format!("best of {n}"),
        }
    }

    /// Whether it is another method without one of its parts, or with one that was taken out.
    pub fn is_variant(&self) -> bool {
        matches!(self, Self::Method(name, _) if ["-without-", "-with-", "-components-"].iter().any(|part| name.contains(part)))
    }

    /// Whether `cell` is one of its own.
    pub fn owns(&self, cell: &Cell) -> bool {
        match self {
            Self::Method(name, budget) => cell.key.method == *name && cell.key.budget == *budget,
            Self::BestOf(_) => cell.key.method == BASE,
        }
    }

    fn figure(&self, cell: &Cell, figure: Figure) -> Option<f64> {
        if let Self::BestOf(n) = self {
            let best = cell.best_of.iter().find(|best| best.n == *n)?;
            return match figure {
                Figure::Success => best.success_rate,
                Figure::Gain => best.standardised_gain,
                _ => None,
            };
        }
        match figure {
            Figure::Success => cell.arm.success_rate,
            Figure::Gain if cell.key.method == BASE => Some(0.0),
            Figure::DiversityRatio | Figure::SuccessDiversityRatio if cell.key.method == BASE => Some(1.0),
            Figure::Gain => cell.standardised_gain,
            Figure::DiversityRatio => cell.diversity_ratio,
            Figure::SuccessDiversityRatio => cell.success_diversity_ratio,
            Figure::SuccessVendi => cell.success_vendi,
            Figure::VerifiedSuccess => cell.verified?.success_rate,
            Figure::VerifiedGenerations => Some(cell.verified?.generations_per_image),
            Figure::KlNats => cell.kl_nats,
            Figure::Evaluations => Some(cell.evaluations as f64),
            Figure::Seconds => Some(cell.learning_seconds),
            Figure::ExplainedShare => cell.curve.last()?.predictive_r2,
        }
    }
}

impl Scope {
    fn holds(self, cell: &Cell) -> bool {
        self.half.is_none_or(|half| cell.half == half)
            && self.category.is_none_or(|category| cell.category == category)
    }
}

/// The value of each prompt.
pub fn by_prompt<'a>(
    cells: &'a [Cell],
    contender: &Contender,
    figure: Figure,
    scope: Scope,
) -> BTreeMap<&'a str, f64> {
    means(by_seed(cells, contender, figure, scope).into_iter().map(|((prompt, _), value)| (prompt, value)))
}

/// The value of each prompt and seed.
fn by_seed<'a>(
    cells: &'a [Cell],
    contender: &Contender,
    figure: Figure,
    scope: Scope,
) -> BTreeMap<(&'a str, u64), f64> {
    let own = cells.iter().filter(|cell| contender.owns(cell) && scope.holds(cell));
    own.filter_map(|cell| Some(((cell.key.prompt.as_str(), cell.key.seed), contender.figure(cell, figure)?)))
        .collect()
}

/// The mean over the seeds of each prompt.
fn means<'a>(values: impl Iterator<Item = (&'a str, f64)>) -> BTreeMap<&'a str, f64> {
    let mut of_prompt: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    values.for_each(|(prompt, value)| of_prompt.entry(prompt).or_default().push(value));
    of_prompt.into_iter().map(|(prompt, values)| (prompt, mean(&values))).collect()
}

/// Mean over the prompts with its interval.
pub fn estimate(cells: &[Cell], contender: &Contender, figure: Figure, scope: Scope) -> Option<Estimate> {
    let values: Vec<f64> = by_prompt(cells, contender, figure, scope).into_values().collect();
    mean_estimate(&values, BOOTSTRAP_SEED)
}

/// Mean of `one - other` over the prompts and seeds that both were measured on.
pub fn difference(
    cells: &[Cell],
    one: &Contender,
    other: &Contender,
    figure: Figure,
    scope: Scope,
) -> Option<Estimate> {
    let others = by_seed(cells, other, figure, scope);
    let ones = by_seed(cells, one, figure, scope).into_iter();
    let both = ones.filter_map(|(key, value)| Some((key.0, value - others.get(&key)?)));
    let differences: Vec<f64> = means(both).into_values().collect();
    mean_estimate(&differences, BOOTSTRAP_SEED)
}

/// Prompts and cells that a contender was measured on.
pub fn counts(cells: &[Cell], contender: &Contender, scope: Scope) -> (usize, usize) {
    let own = cells.iter().filter(|cell| contender.owns(cell) && scope.holds(cell));
    let prompts: BTreeSet<&str> = own.clone().map(|cell| cell.key.prompt.as_str()).collect();
    (prompts.len(), own.count())
}

/// Every method on record with its budgets, in the order of the records.
pub fn contenders(cells: &[Cell]) -> Vec<Contender> {
    let mut found = Vec::new();
    for cell in cells.iter().filter(|cell| !is_base(cell)) {
        let contender = Contender::Method(cell.key.method.clone(), cell.key.budget);
        if !found.contains(&contender) {
            found.push(contender);
        }
    }
    found
}

/// Mean of `value` over all cells of a contender at each number of evaluations; cells that stopped early count with
/// their last value.
pub fn mean_curve(
    cells: &[Cell],
    contender: &Contender,
    value: impl Fn(&Cell, usize) -> Option<f64>,
) -> Vec<(usize, f64)> {
    let own: Vec<&Cell> = cells.iter().filter(|cell| contender.owns(cell)).collect();
    let longest = own.iter().max_by_key(|cell| cell.curve.len());
    let Some(longest) = longest else { return Vec::new() };
    let at = |number: usize| {
        let of_cell = |cell: &&Cell| value(cell, number.min(cell.curve.len().checked_sub(1)?));
        let values: Vec<f64> = own.iter().filter_map(of_cell).collect();
        (!values.is_empty()).then(|| (longest.curve[number].evaluations, mean(&values)))
    };
    (0..longest.curve.len()).filter_map(at).collect()
}

/// Gain in base standard deviations against evaluations; `bases` may hold more seeds than `cells`.
pub fn gain_curve(cells: &[Cell], bases: &Bases, contender: &Contender) -> Vec<(usize, f64)> {
    mean_curve(cells, contender, |cell, number| {
        let base = bases.of(cell)?;
        Some((cell.curve[number].reward_mean? - base.mean) / base.spread)
    })
}

/// Evaluations after which the smoothed curve first reaches `level`.
pub fn evaluations_to_reach(curve: &[(usize, f64)], level: f64) -> Option<usize> {
    let smoothed = curve.windows(SMOOTHED_POINTS.min(curve.len().max(1)));
    let reached =
        |window: &&[(usize, f64)]| mean(&window.iter().map(|point| point.1).collect::<Vec<_>>()) >= level;
    smoothed.into_iter().find(reached)?.last().map(|point| point.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_reached_by_the_smoothed_curve() {
        let curve: Vec<(usize, f64)> = (1..=10).map(|at| (16 * at, at as f64)).collect();
        assert_eq!(evaluations_to_reach(&curve, 5.0), Some(16 * 7));
        assert_eq!(evaluations_to_reach(&curve, 9.0), None);
        assert_eq!(evaluations_to_reach(&[], 1.0), None);
        let lucky = [(1, 0.0), (2, 9.0), (3, 0.0), (4, 0.0), (5, 0.0), (6, 0.0)];
        assert_eq!(evaluations_to_reach(&lucky, 5.0), None);
    }
}
