//! Results of a public model on the prompts of GenEval.

use std::fmt::Write as _;

use super::format::interval;
use super::summary::{Contender, Figure, Scope, contenders, counts, estimate};
use super::tables::BEST_OF;
use crate::cell::Cell;
use crate::prompts::Category;

/// A table a figure: success, where there is a judge, and the gain of the reward; a column a category.
pub fn geneval_section(cells: &[Cell]) -> String {
    if cells.is_empty() {
        return String::new();
    }
    let mut text = "The built-in list of `--prompts geneval`: 553 prompts in six categories (arXiv 2310.11513, MIT). Success is \
                    the verdict of `--judge`, in GenEval itself a detector.\n"
        .to_owned();
    for (name, figure) in [("Success", Figure::Success), ("Gain in base sigmas", Figure::Gain)] {
        let _ = writeln!(
            text,
            "\n{name}:\n\n| method | prompts (cells) | all | {} |\n| --- | --- | --- |{}",
            Category::GENEVAL.map(|category| category.to_string()).join(" | "),
            " --- |".repeat(Category::GENEVAL.len())
        );
        let own = contenders(cells).into_iter().filter(|contender| !contender.is_variant());
        for row in [Contender::base(), Contender::BestOf(BEST_OF)].into_iter().chain(own) {
            let (prompts, own) = counts(cells, &row, Scope::default());
            if prompts == 0 {
                continue;
            }
            let of = |category| interval(estimate(cells, &row, figure, Scope { category, half: None }));
            let of_categories = Category::GENEVAL.map(|category| of(Some(category))).join(" | ");
            let _ =
                writeln!(text, "| {} | {prompts} ({own}) | {} | {of_categories} |", row.label(), of(None));
        }
    }
    text
}
