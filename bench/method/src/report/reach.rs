//! What other methods need to reach the gain of `find`.

use std::fmt::Write as _;

use noisefind::core::statistics::Estimate;

use super::bases::Bases;
use super::format::{interval, number};
use super::summary::{
    Contender, Figure, Scope, contenders, counts, estimate, evaluations_to_reach, gain_curve,
};
use crate::cell::Cell;

/// One method against `find`, on the prompts and seeds that both were measured on.
pub struct Reach {
    /// The method.
    baseline: Contender,
    /// Its cells.
    cells: usize,
    /// What `find` gains, in base standard deviations.
    level: f64,
    /// Evaluations after which the method gains as much, or all that it had.
    evaluations: usize,
    /// Whether they were enough.
    reached: bool,
    /// `evaluations` over those of `find`.
    times: f64,
    /// Their seconds over those of `find`.
    times_seconds: Option<f64>,
    /// What the method gained at the end.
    end: Option<Estimate>,
}

impl Reach {
    /// `None` where the two share no cell.
    pub fn new(cells: &[Cell], find: &Contender, baseline: &Contender) -> Option<Self> {
        let key = |cell: &Cell| (cell.key.prompt.clone(), cell.key.seed);
        let keys_of =
            |one: &Contender| -> Vec<_> { cells.iter().filter(|it| one.owns(it)).map(key).collect() };
        let (ours, theirs) = (keys_of(find), keys_of(baseline));
        let both = |cell: &&Cell| ours.contains(&key(cell)) && theirs.contains(&key(cell));
        let shared: Vec<Cell> = cells.iter().filter(both).cloned().collect();
        let of = |one, figure| estimate(&shared, one, figure, Scope::default());
        let level = of(find, Figure::Gain)?.value;
        let curve = gain_curve(&shared, &Bases::new(cells), baseline);
        let needed = evaluations_to_reach(&curve, level);
        let evaluations = needed.or(curve.last().map(|(last, _)| *last))?;
        let times = evaluations as f64 / of(find, Figure::Evaluations)?.value.max(1.0);
        let pace = |one| Some(of(one, Figure::Seconds)?.value / of(one, Figure::Evaluations)?.value.max(1.0));
        Some(Self {
            baseline: baseline.clone(),
            cells: counts(&shared, baseline, Scope::default()).1,
            level,
            evaluations,
            reached: needed.is_some(),
            times,
            times_seconds: pace(baseline).zip(pace(find)).map(|(baseline, find)| times * baseline / find),
            end: of(baseline, Figure::Gain),
        })
    }

    /// A multiple, as a bound where the method did not get there.
    fn bound(&self, times: Option<f64>) -> String {
        let over = if self.reached { "" } else { "over " };
        format!("{over}{}", number(times, 1))
    }

    /// What was measured of the target of at least `target` times the evaluations of `find`, and whether it is met.
    pub fn evaluations(&self, target: f64) -> (String, Option<bool>) {
        self.target(Some(self.times), target)
    }

    /// The same of the seconds.
    pub fn seconds(&self, target: f64) -> (String, Option<bool>) {
        self.target(self.times_seconds, target)
    }

    fn target(&self, times: Option<f64>, target: f64) -> (String, Option<bool>) {
        let measured = format!("{}, cells: {}", self.bound(times), self.cells);
        let met = times.is_some_and(|times| times >= target);
        // A method that gave up below the target says nothing of what it needs.
        (measured, (met || self.reached).then_some(met))
    }
}

/// Evaluations and seconds that each other method needs for the mean reward that `find` has on fresh images.
pub fn table(cells: &[Cell], find: &Contender) -> String {
    let baselines =
        contenders(cells).into_iter().filter(|baseline| baseline != find && !baseline.is_variant());
    let rows: Vec<Reach> = baselines.filter_map(|baseline| Reach::new(cells, find, &baseline)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "The gain of `find` is that of its policy on fresh images; the curve of each other method is the mean \
                    reward of the samples that it learns from, which were sampled before they were learnt from, over the same \
                    prompts and seeds. All seconds are of one core, but those of `dpok-cuda` and `dpok-cuda-fast`: theirs are of \
                    an NVIDIA H100 that 16 cells shared, against one core for `find`.\n\n\
                    | method | cells | gain of find | evaluations to reach it | times those of find | times the seconds of find | gain at the end |\n\
                    | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for row in rows {
        let Contender::Method(name, budget) = &row.baseline else { continue };
        let _ = writeln!(
            text,
            "| {name}, budget {budget} | {} | {:.2} | {}{} | {} | {} | {} |",
            row.cells,
            row.level,
            if row.reached { "" } else { "more than " },
            row.evaluations,
            row.bound(Some(row.times)),
            row.bound(row.times_seconds),
            interval(row.end),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Point;
    use crate::methods::BASE;

    /// A base of mean 10 and spread 2, `find` with a gain of 2, and a baseline at 10 times the seconds of each evaluation
    /// whose batches of 16 score as given.
    fn cells(baseline: &[f64]) -> Vec<Cell> {
        let base = Cell::example(BASE, 1, [10.0 - 2f64.sqrt(), 10.0 + 2f64.sqrt()], None);
        let mut find = Cell::example("find", 1, [0.0; 2], Some(2.0));
        (find.key.budget, find.evaluations, find.learning_seconds) = (160, 160, 16.0);
        let mut other = Cell::example("baseline", 1, [0.0; 2], Some(1.0));
        let evaluations = 16 * baseline.len();
        (other.key.budget, other.evaluations, other.learning_seconds) =
            (640, evaluations, evaluations as f64);
        let point = |(at, reward): (usize, &f64)| Point {
            evaluations: 16 * (at + 1),
            reward_mean: Some(*reward),
            kl_nats: None,
            step_norm: None,
            predictive_r2: None,
        };
        other.curve = baseline.iter().enumerate().map(point).collect();
        vec![base, find, other]
    }

    fn reach(baseline: &[f64]) -> Reach {
        Reach::new(&cells(baseline), &Contender::method("find", 160), &Contender::method("baseline", 640))
            .unwrap()
    }

    #[test]
    fn what_reaches_find_is_told_exactly_and_what_does_not_as_a_bound() {
        // Gains of 3 from the 21st batch on; the mean of five batches is first 2 where the 24th ends it.
        let arrived = reach(&[[10.0; 20], [16.0; 20]].concat());
        assert_eq!((arrived.reached, arrived.evaluations, arrived.level), (true, 24 * 16, 2.0));
        assert_eq!(arrived.evaluations(2.4), ("2.4, cells: 1".to_owned(), Some(true)));
        assert_eq!(arrived.evaluations(3.0).1, Some(false));
        assert_eq!(arrived.seconds(20.0), ("24.0, cells: 1".to_owned(), Some(true)));
        let never = reach(&[10.0; 40]);
        assert_eq!(never.evaluations(4.0), ("over 4.0, cells: 1".to_owned(), Some(true)));
        assert_eq!(never.evaluations(5.0).1, None, "it may need more than it had");
    }

    #[test]
    fn methods_that_share_no_cell_are_not_compared() {
        let mut cells = cells(&[10.0]);
        cells[2].key.seed = 2;
        assert!(
            Reach::new(&cells, &Contender::method("find", 160), &Contender::method("baseline", 640))
                .is_none()
        );
    }
}
