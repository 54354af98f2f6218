//! What rewards are measured against: the untuned images of each prompt.
//!
//! A cell records its gain in standard deviations of its own 32 base images. Where the base rarely succeeds they may hold
//! no success at all, and their small spread would make any gain look huge; the base images of all seeds together
//! give every cell of a prompt one unit.

use std::collections::BTreeMap;

use noisefind::core::statistics::{mean, standard_deviation};

use crate::cell::Cell;
use crate::methods::BASE;

/// The rewards of every base cell by prompt, name of the base and seed.
pub struct Bases(BTreeMap<(String, String), BTreeMap<u64, Vec<f64>>>);

/// The base of one cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Base {
    /// Mean reward with the cell's own seed.
    pub mean: f64,
    /// Standard deviation with the cell's own seed.
    pub own_spread: f64,
    /// Standard deviation over all seeds, positive.
    pub spread: f64,
}

impl Bases {
    /// The bases among `cells`.
    pub fn new(cells: &[Cell]) -> Self {
        let mut bases: BTreeMap<_, BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
        for cell in cells.iter().filter(|cell| is_base(cell)) {
            let key = (cell.key.prompt.clone(), cell.key.method.clone());
            bases
                .entry(key)
                .or_default()
                .insert(cell.key.seed, cell.rewards.iter().flatten().copied().collect());
        }
        Self(bases)
    }

    /// The base that `cell` is compared with: its method's own, or ours; `None` where it has no spread.
    pub fn of(&self, cell: &Cell) -> Option<Base> {
        let named = |name: String| self.0.get(&(cell.key.prompt.clone(), name));
        let seeds = named(format!("{}-base", cell.key.method)).or_else(|| named(BASE.to_owned()))?;
        let own = seeds.get(&cell.key.seed)?;
        let spread = standard_deviation(&seeds.values().flatten().copied().collect::<Vec<_>>());
        let base = Base { mean: mean(own), own_spread: standard_deviation(own), spread };
        (spread > 0.0).then_some(base)
    }
}

/// An untuned arm: ours, or that of a peer which samples in its own way, `NAME-base`.
pub fn is_base(cell: &Cell) -> bool {
    cell.key.method == BASE || cell.key.method.ends_with("-base")
}

/// `cells` with all gains of a prompt in the spread of its base images over all seeds.
pub fn in_one_unit(mut cells: Vec<Cell>) -> Vec<Cell> {
    let bases = Bases::new(&cells);
    let of_successes: BTreeMap<(String, u64), f64> = cells
        .iter()
        .filter(|cell| cell.key.method == BASE)
        .filter_map(|cell| Some(((cell.key.prompt.clone(), cell.key.seed), cell.success_diversity?)))
        .collect();
    for cell in &mut cells {
        let base = of_successes.get(&(cell.key.prompt.clone(), cell.key.seed));
        cell.success_diversity_ratio =
            cell.success_diversity.zip(base).filter(|(_, base)| **base > 0.0).map(|(own, base)| own / base);
        let Some(base) = bases.of(cell) else { continue };
        let factor = base.own_spread / base.spread;
        cell.standardised_gain = cell.standardised_gain.map(|gain| factor * gain);
        cell.standardised_gain_ci95 =
            cell.standardised_gain_ci95.map(|interval| interval.map(|end| factor * end));
        for best in &mut cell.best_of {
            best.standardised_gain = best.standardised_gain.map(|gain| factor * gain);
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_without_a_success_does_not_make_a_gain_huge() {
        let cells = vec![
            Cell::example(BASE, 1, [9.0, 11.0], None),
            Cell::example(BASE, 2, [20.0, 40.0], None),
            Cell::example("find", 1, [0.0; 2], Some(10.0)),
        ];
        let base = Bases::new(&cells).of(&cells[2]).unwrap();
        assert_eq!((base.mean, base.own_spread), (10.0, 2f64.sqrt()));
        let pooled = standard_deviation(&[9.0, 11.0, 20.0, 40.0]);
        assert_eq!(base.spread, pooled);
        assert_eq!(in_one_unit(cells)[2].standardised_gain, Some(2f64.sqrt() / pooled * 10.0));
        assert_eq!(Bases::new(&[]).of(&Cell::example("find", 1, [0.0; 2], None)), None);
    }
}
