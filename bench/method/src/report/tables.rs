//! Tables of methods, categories and prompts.

use std::fmt::Write as _;

use super::format::{interval, number};
use super::summary::{Contender, Figure, Scope, by_prompt, contenders, counts, difference, estimate};
use crate::cell::Cell;
use crate::prompts::Category;

/// The budget of the comparison.
pub const BUDGET: usize = 160;
/// The size of best-of-n that the targets name.
pub const BEST_OF: usize = 8;
/// The largest, which shows what the scorer can see.
pub const MOST_BEST_OF: usize = 16;

/// Every method, a line each.
pub fn methods_table(cells: &[Cell], scope: Scope) -> String {
    let learnt = contenders(cells).into_iter().filter(|contender| !contender.is_variant());
    let rows = [
        Contender::base(),
        Contender::BestOf(4),
        Contender::BestOf(BEST_OF),
        Contender::BestOf(MOST_BEST_OF),
    ];
    let find = Contender::method("find", BUDGET);
    let mut text = "| method | prompts (cells) | success | find's success less that, same prompts and seeds | verified (images generated) \
                    | gain in base sigmas | diversity | among successes | Vendi score of successes | KL nats | evaluations | seconds |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for row in rows.into_iter().chain(learnt) {
        let (prompts, own_cells) = counts(cells, &row, scope);
        if prompts == 0 {
            continue;
        }
        let less = difference(cells, &find, &row, Figure::Success, scope).filter(|_| row != find);
        let of = |figure| estimate(cells, &row, figure, scope);
        let plain = |figure, digits| number(of(figure).map(|estimate| estimate.value), digits);
        let evaluations = match &row {
            Contender::BestOf(n) => format!("{n} an image"),
            Contender::Method(..) => plain(Figure::Evaluations, 0),
        };
        let seconds = match &row {
            Contender::BestOf(_) => "-".to_owned(),
            Contender::Method(..) => plain(Figure::Seconds, 0),
        };
        let verified = match of(Figure::VerifiedSuccess) {
            Some(found) => format!("{:.2} ({})", found.value, plain(Figure::VerifiedGenerations, 2)),
            None => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} | {prompts} ({own_cells}) | {} | {} | {verified} | {} | {} | {} | {} | {} | {evaluations} | {seconds} |",
            row.label(),
            interval(of(Figure::Success)),
            interval(less),
            interval(of(Figure::Gain)),
            plain(Figure::DiversityRatio, 2),
            plain(Figure::SuccessDiversityRatio, 2),
            plain(Figure::SuccessVendi, 1),
            plain(Figure::KlNats, 1),
        );
    }
    text
}

/// Success, variety and evaluations by category.
pub fn category_table(cells: &[Cell], find: &Contender, base: &Contender) -> String {
    let paper_tuned = Contender::method("paper-tuned", BUDGET);
    let (best, most) = (Contender::BestOf(BEST_OF), Contender::BestOf(MOST_BEST_OF));
    let mut text = format!(
        "| category | prompts | base | paper-tuned | find | verified (images generated) | best of {BEST_OF} | best of {MOST_BEST_OF} | \
         find less base | best of {BEST_OF} less base | diversity | among successes | evaluations |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for category in Category::ALL {
        let scope = Scope { category: Some(category), half: None };
        let prompts = counts(cells, base, scope).0;
        if prompts == 0 {
            continue;
        }
        let success = |contender| interval(estimate(cells, contender, Figure::Success, scope));
        let less_base = |contender| interval(difference(cells, contender, base, Figure::Success, scope));
        let plain =
            |figure, digits| number(estimate(cells, find, figure, scope).map(|found| found.value), digits);
        let _ = writeln!(
            text,
            "| {category} | {prompts} | {} | {} | {} | {} ({}) | {} | {} | {} | {} | {} | {} | {} |",
            success(base),
            success(&paper_tuned),
            success(find),
            interval(estimate(cells, find, Figure::VerifiedSuccess, scope)),
            plain(Figure::VerifiedGenerations, 2),
            success(&best),
            success(&most),
            less_base(find),
            less_base(&best),
            plain(Figure::DiversityRatio, 2),
            plain(Figure::SuccessDiversityRatio, 2),
            plain(Figure::Evaluations, 0),
        );
    }
    text
}

/// Base against one method, a line a prompt.
pub fn prompt_table(cells: &[Cell], method: &str) -> String {
    let budgets = cells.iter().filter(|cell| cell.key.method == method).map(|cell| cell.key.budget);
    let Some(budget) = budgets.min() else { return format!("There is no cell of {method}.\n") };
    let own = Contender::method(method, budget);
    let columns = [
        (Contender::base(), Figure::Success),
        (own.clone(), Figure::Success),
        (Contender::BestOf(BEST_OF), Figure::Success),
        (own.clone(), Figure::Gain),
        (own.clone(), Figure::DiversityRatio),
    ];
    let scope = Scope::default();
    let values = columns.clone().map(|(contender, figure)| by_prompt(cells, &contender, figure, scope));
    let mut text = format!(
        "| category | prompt | success base | {method} | best of {BEST_OF} | gain in base sigmas [95 %] | diversity |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    let mut clear = 0;
    for category in Category::ALL {
        for prompt in values[1].keys() {
            let cell_of = |cell: &&Cell| cell.key.prompt == **prompt && cell.key.method == method;
            let Some(cell) = cells.iter().find(cell_of).filter(|cell| cell.category == category) else {
                continue;
            };
            let [base, own, best, gain, diversity] =
                [0, 1, 2, 3, 4].map(|at| number(values[at].get(prompt).copied(), 2));
            // With several seeds the interval of one of them would mislead.
            let seeds = cells.iter().filter(cell_of).count();
            let interval = cell.standardised_gain_ci95.filter(|_| seeds == 1);
            clear += usize::from(cell.standardised_gain_ci95.is_some_and(|[low, _]| low > 0.0));
            let interval = interval.map(|[low, high]| format!(" [{low:.2}, {high:.2}]")).unwrap_or_default();
            let _ = writeln!(
                text,
                "| {category} | {prompt} | {base} | {own} | {best} | {gain}{interval} | {diversity} |"
            );
        }
    }
    let means = columns.map(|(contender, figure)| {
        number(estimate(cells, &contender, figure, scope).map(|estimate| estimate.value), 2)
    });
    let [base, own_mean, best, gain, diversity] = means;
    let total = values[1].len();
    let _ = writeln!(text, "| all | mean | {base} | {own_mean} | {best} | {gain} | {diversity} |");
    let _ = writeln!(
        text,
        "\nThe 95 % interval of the gain of the first seed lies above zero on {clear} of {total} prompts."
    );
    text
}
