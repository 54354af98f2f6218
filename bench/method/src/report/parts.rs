//! What each part of a method is worth.

use std::fmt::Write as _;

use noisefind::core::statistics::Estimate;

use super::format::interval;
use super::summary::{Contender, Figure, Scope, contenders, counts, difference};
use super::tables::BUDGET;
use crate::cell::Cell;

/// What the method `of` has more with each part than without: of those that it has, `relation` "without", or of those
/// that were taken out, `relation` "with".
pub fn parts_table(cells: &[Cell], of: &str, relation: &str, about: &str) -> String {
    let own = Contender::method(of, BUDGET);
    let prefix = format!("{of}-{relation}-");
    let mut text = String::new();
    for variant in contenders(cells).into_iter().filter(|one| one.label().starts_with(&prefix)) {
        let (with, without) = if relation == "with" { (&variant, &own) } else { (&own, &variant) };
        let more = |figure| difference(cells, with, without, figure, Scope::default());
        let (success, gain) = (more(Figure::Success), more(Figure::Gain));
        let diversity = more(Figure::DiversityRatio);
        let verdict = verdict(&[("success", success), ("gain", gain), ("diversity", diversity)]);
        if text.is_empty() {
            text = format!(
                "{about}\n\n\
                 | {relation} | prompts (cells) | success | gain in base sigmas | diversity | the part |\n\
                 | --- | --- | --- | --- | --- | --- |\n"
            );
        }
        let (prompts, own_cells) = counts(cells, &variant, Scope::default());
        let _ = writeln!(
            text,
            "| {} | {prompts} ({own_cells}) | {} | {} | {} | {verdict} |",
            variant.label().trim_start_matches(&prefix),
            interval(success),
            interval(gain),
            interval(diversity),
        );
    }
    text
}

/// What a part does, from what the method has more with it than without.
fn verdict(figures: &[(&str, Option<Estimate>)]) -> String {
    // An interval without width is that of a single prompt, which shows nothing; nor does what the table rounds to zero.
    let names = |clear: fn(Estimate) -> bool| {
        let clear = figures.iter().filter(|(_, more)| {
            more.is_some_and(|more| more.low < more.high && more.value.abs() >= 0.005 && clear(more))
        });
        clear.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    let (more, less) = (names(|more| more.low > 0.0), names(|more| more.high < 0.0));
    match (more.is_empty(), less.is_empty()) {
        (true, true) => "makes no difference that this many cells can show".to_owned(),
        (false, true) => format!("helps: {more}"),
        (true, false) => format!("harms: {less}"),
        (false, false) => format!("gives {less} for {more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_judged_by_what_is_clear_of_zero() {
        let more = |low, high| Some(Estimate { value: (low + high) / 2.0, low, high });
        let of = |success, gain, diversity| {
            verdict(&[("success", success), ("gain", gain), ("diversity", diversity)])
        };
        let unclear = more(-0.1, 0.1);
        assert_eq!(of(more(0.1, 0.1), None, None), of(unclear, None, None), "a single prompt shows nothing");
        assert_eq!(of(more(0.1, 0.2), unclear, unclear), "helps: success");
        assert_eq!(of(more(0.1, 0.2), more(0.1, 0.3), None), "helps: success, gain");
        assert_eq!(of(unclear, more(-0.3, -0.1), more(0.1, 0.2)), "gives gain for diversity");
        assert_eq!(of(unclear, more(-0.3, -0.1), unclear), "harms: gain");
        assert_eq!(of(more(0.001, 0.002), unclear, None), of(unclear, unclear, None));
        assert_eq!(of(unclear, unclear, None), "makes no difference that this many cells can show");
    }
}
