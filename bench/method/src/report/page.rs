//! The page as Markdown.

use std::fmt::Write as _;

use noisefind::core::statistics::Estimate;

use super::format::{interval, number};
use super::reach::{self, Reach};
use super::summary::{Contender, Figure, Scope, by_prompt, contenders, counts, difference, estimate};
use crate::cell::Cell;
use crate::prompts::{Category, Half};

/// The budget of the comparison.
const BUDGET: usize = 160;
/// The size of best-of-n that the targets name.
const BEST_OF: usize = 8;
/// Images of DPOK, at 30 times the budget.
const DPOK_BUDGET: usize = 4800;
/// Evaluations of the paper's longest runs.
const LONG_BUDGET: usize = 1600;
/// The largest, which shows what the scorer can see.
const MOST_BEST_OF: usize = 16;

/// The whole page; `plots` are files in the folder `results` beside it.
pub fn page(cells: &[Cell], plots: &[&str]) -> String {
    let (find, base) = (Contender::method("find", BUDGET), Contender::base());
    let (prompts, find_cells) = counts(cells, &find, Scope::default());
    let samples = cells.first().map_or(0, |cell| cell.key.samples);
    let mut text = format!(
        "# Results\n\n\
         Made from recorded measurements by\n\n\
         ```sh\n\
         cargo run --release -p bench-method -- report bench/results/*.jsonl\n\
         ```\n\n\
         and the measurements by `bench-method choose` (the prompts), `bench-method run` (the cells) and \
         `bench/peers/dpok.py` (DPOK); [method/README.md](method/README.md) has every command.\n\n\
         {prompts} prompts of the default model, {find_cells} cells of `find`. The prompts were chosen by base success \
         alone, and none was dropped; they were split by hash before anything was tuned, and settings were chosen on the \
         development half. Three decisions came after a look at held-out cells: a natural gradient did not take the place of \
         `find`; when a place is given up was chosen again, on the development half, after a first choice did worse on held-out ones; \
         and mirrored pairs were taken out when neither half showed a difference. Each cell is judged on {samples} fresh \
         images; base and tuned share their noises. Success is the verdict of a judge that is never optimised. A prompt's value is the mean over its seeds, and the unit of its gains is the standard deviation \
         of its base images of all seeds; intervals are 95 %, by bootstrap over prompts. One evaluation is one image \
         generated and scored.\n\n"
    );
    section(&mut text, "Targets", &targets(cells));
    for half in [None, Some(Half::Development), Some(Half::HeldOut)] {
        let title = half.map_or("All prompts".to_owned(), |half| format!("The {half} half"));
        section(&mut text, &title, &methods_table(cells, Scope { half, category: None }));
    }
    section(&mut text, "Success by category", &category_table(cells, &find, &base));
    section(&mut text, "What others need to reach find", &reach::table(cells, &find));
    let parts = [
        (
            "Find without each of its parts",
            ("find", "without"),
            "What the whole method has more than the method without the part, on the same prompts and seeds; \
             [ARCHITECTURE.md](../ARCHITECTURE.md) says why a part that makes no difference here is on.",
        ),
        (
            "What was a part of find and is none any more",
            ("find", "with"),
            "What the method had more with the part than it has without, on the same prompts and seeds, measured with the \
             program that still had it.",
        ),
        (
            "Paper without each of its parts",
            ("paper", "without"),
            "What the whole method has more than the method without the part, on the same prompts and seeds.",
        ),
    ];
    for (title, (of, relation), about) in parts {
        section(&mut text, title, &parts_table(cells, of, relation, about));
    }
    section(&mut text, "What limits it", &limits(cells, &find));
    let images: String = plots.iter().map(|name| format!("![{name}](results/{name})\n\n")).collect();
    let plots = format!(
        "Each method is drawn over the prompts that it was measured on; one that has a single cell is left out.\n\n{images}"
    );
    section(&mut text, "Plots", &plots);
    section(&mut text, "Every prompt", &prompt_table(cells, "find"));
    text.trim_end().to_owned() + "\n"
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

fn section(text: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(text, "## {title}\n\n{}\n\n", body.trim_end());
    }
}

/// Each target with what was measured.
fn targets(cells: &[Cell]) -> String {
    let (find, base, all) = (Contender::method("find", BUDGET), Contender::base(), Scope::default());
    let value = |contender: &Contender, figure| estimate(cells, contender, figure, all);
    let verdict = |met: Option<bool>| met.map_or("not shown", |met| if met { "met" } else { "missed" });
    let success = value(&find, Figure::Success);
    let diversity = value(&find, Figure::DiversityRatio);
    let over_best = difference(cells, &find, &Contender::BestOf(BEST_OF), Figure::Gain, all);
    let categories: Vec<Option<Estimate>> = Category::ALL
        .map(|category| {
            let scope = Scope { category: Some(category), half: None };
            difference(cells, &find, &base, Figure::Success, scope)
        })
        .to_vec();
    let clear = categories.iter().flatten().filter(|difference| difference.low > 0.0).count();
    let measured = categories.iter().flatten().count();
    let rows = [
        (
            format!(
                "success of find at least 0.85 where base averages 0.3 (here {})",
                interval(value(&base, Figure::Success))
            ),
            interval(success),
            verdict(success.map(|success| success.value >= 0.85)),
        ),
        (
            "every category better than base, its interval clear of zero".to_owned(),
            format!("{clear} of {measured}"),
            verdict((measured > 0).then_some(clear == Category::ALL.len())),
        ),
        (
            "diversity ratio at least 0.6".to_owned(),
            interval(diversity),
            verdict(diversity.map(|ratio| ratio.value >= 0.6)),
        ),
        (
            format!("mean reward above the expected best of {BEST_OF}, difference in base sigmas"),
            interval(over_best),
            verdict(over_best.map(|difference| difference.value > 0.0)),
        ),
    ];
    let reach = |name, budget| Reach::new(cells, &find, &Contender::method(name, budget));
    let (paper, dpok) = (reach("paper", LONG_BUDGET), reach("dpok-cuda", DPOK_BUDGET));
    // Seconds can be compared only where both had the same core.
    let dpok_on_one_core = reach("dpok", DPOK_BUDGET);
    let against = [
        ("evaluations that paper needs to reach find, at least 5 times", paper.map(|it| it.evaluations(5.0))),
        ("images that DPOK needs to reach find, at least 30 times", dpok.map(|it| it.evaluations(30.0))),
        (
            "seconds that DPOK needs to reach find on the same core, at least 10 times",
            dpok_on_one_core.map(|it| it.seconds(10.0)),
        ),
    ];
    let against = against.map(|(target, shown)| {
        let (measured, met) = shown.unwrap_or(("-".to_owned(), None));
        (target.to_owned(), measured, verdict(met))
    });
    let mut text = "| target | measured | |\n| --- | --- | --- |\n".to_owned();
    for (target, measured, verdict) in rows.into_iter().chain(against) {
        let _ = writeln!(text, "| {target} | {measured} | {verdict} |");
    }
    text
}

fn methods_table(cells: &[Cell], scope: Scope) -> String {
    let learnt = contenders(cells).into_iter().filter(|contender| !contender.is_variant());
    let rows = [
        Contender::base(),
        Contender::BestOf(4),
        Contender::BestOf(BEST_OF),
        Contender::BestOf(MOST_BEST_OF),
    ];
    let find = Contender::method("find", BUDGET);
    let mut text = "| method | prompts (cells) | success | find's success less that, same prompts and seeds | gain in base sigmas | diversity \
                    | KL nats | norm of z over sqrt(d) | evaluations | seconds |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
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
        let _ = writeln!(
            text,
            "| {} | {prompts} ({own_cells}) | {} | {} | {} | {} | {} | {} | {evaluations} | {seconds} |",
            row.label(),
            interval(of(Figure::Success)),
            interval(less),
            interval(of(Figure::Gain)),
            plain(Figure::DiversityRatio, 2),
            plain(Figure::KlNats, 1),
            plain(Figure::NoiseNormRatio, 3),
        );
    }
    text
}

fn category_table(cells: &[Cell], find: &Contender, base: &Contender) -> String {
    let paper = Contender::method("paper", BUDGET);
    let (best, most) = (Contender::BestOf(BEST_OF), Contender::BestOf(MOST_BEST_OF));
    let mut text = format!(
        "| category | base | paper | find | best of {BEST_OF} | best of {MOST_BEST_OF} | find less base | best of {BEST_OF} less base |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for category in Category::ALL {
        let scope = Scope { category: Some(category), half: None };
        let success = |contender| interval(estimate(cells, contender, Figure::Success, scope));
        let less_base = |contender| interval(difference(cells, contender, base, Figure::Success, scope));
        let _ = writeln!(
            text,
            "| {category} | {} | {} | {} | {} | {} | {} | {} |",
            success(base),
            success(&paper),
            success(find),
            success(&best),
            success(&most),
            less_base(find),
            less_base(&best),
        );
    }
    text
}

/// What the method `of` has more with each part than without: of those that it has, `relation` "without", or of those
/// that were taken out, `relation` "with".
fn parts_table(cells: &[Cell], of: &str, relation: &str, about: &str) -> String {
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

/// What the reward can tell of the noise, and the judge of the reward.
fn limits(cells: &[Cell], find: &Contender) -> String {
    let all = Scope::default();
    let share = number(estimate(cells, find, Figure::ExplainedShare, all).map(|share| share.value), 4);
    let best_of = [2, 4, BEST_OF, MOST_BEST_OF].map(|n| {
        number(estimate(cells, &Contender::BestOf(n), Figure::Success, all).map(|found| found.value), 2)
    });
    format!(
        "- Share of the variance of the rewards that what was learnt so far predicted, before it learnt from them (rho^2): {share}.\n\
         - Divergence spent: {} nats.\n\
         - What the scorer can see: picking the best of 2, 4, 8 and 16 base images by it succeeds in {} of the cases; where more \
         images do not help, the scorer and not the noise is the limit. The table by category shows where that is so.\n",
        number(estimate(cells, find, Figure::KlNats, all).map(|found| found.value), 1),
        best_of.join(", "),
    )
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
