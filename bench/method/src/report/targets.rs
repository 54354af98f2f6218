//! Each target with what was measured.

use std::fmt::Write as _;

use noisefind::core::statistics::mean;

use super::Records;
use super::cost::{EASY_BEST_OF, OnPrompt, on_prompts};
use super::format::{interval, number};
use super::reach::Reach;
use super::scorer::by_ranking;
use super::summary::{Contender, Figure, Scope, difference, estimate};
use super::tables::BUDGET;
use super::video::dynamic_degree_ratio;
use crate::prompts::Category;

/// Images of DPOK, at 30 times the budget.
const DPOK_BUDGET: usize = 4800;
/// Evaluations of the paper's longest runs.
const LONG_BUDGET: usize = 1600;

/// Each target with what was measured.
pub fn targets(records: &Records) -> String {
    let (find, base, all) = (Contender::method("find", BUDGET), Contender::base(), Scope::default());
    let verdict = |met: Option<bool>| met.map_or("not shown", |met| if met { "met" } else { "missed" });
    let mut text = "| target | measured | |\n| --- | --- | --- |\n".to_owned();
    let mut row = |target: &str, measured: String, met: Option<bool>| {
        let _ = writeln!(text, "| {target} | {measured} | {} |", verdict(met));
    };
    for (list, cells) in [("the forty prompts", &records.forty), ("the list never looked at", &records.fresh)]
    {
        let value = |figure, scope| estimate(cells, &find, figure, scope);
        let mut above = |target: &str, figure, least: f64| {
            let found = value(figure, all);
            row(&format!("{target} on {list}"), interval(found), found.map(|found| found.value >= least));
        };
        above("success of find at least 0.92", Figure::Success, 0.92);
        above("verified success at least 0.97", Figure::VerifiedSuccess, 0.97);
        above("diversity at least 0.85", Figure::DiversityRatio, 0.85);
        above("diversity among successes at least 0.95", Figure::SuccessDiversityRatio, 0.95);
        let generations = value(Figure::VerifiedGenerations, all);
        row(
            &format!("at most 1.15 images generated for a verified one on {list}"),
            interval(generations),
            generations.map(|found| found.value <= 1.15),
        );
        let evaluations = value(Figure::Evaluations, all);
        row(
            &format!("at most 60 evaluations on average on {list}"),
            interval(evaluations),
            evaluations.map(|found| found.value <= 60.0),
        );
        let [told, _] = by_ranking(cells, &find);
        let (told, verified): (Vec<f64>, Vec<f64>) =
            told.iter().filter_map(|one| Some((one.own, one.verified?))).unzip();
        let of_told = |target: &str, values: &[f64]| {
            let found = (!values.is_empty()).then(|| mean(values));
            (format!("{target} on {list} where the scorer tells"), number(found, 3), found)
        };
        for (target, values, least) in [
            ("success of find at least 0.92", &told, 0.92),
            ("verified success at least 0.97", &verified, 0.97),
        ] {
            let (target, measured, found) = of_told(target, values);
            row(&target, measured, found.map(|found| found >= least));
        }
        let counts = value(Figure::Success, Scope { category: Some(Category::Count), half: None });
        row(
            &format!("success of counts at least 0.85 on {list}"),
            interval(counts),
            counts.map(|found| found.value >= 0.85),
        );
    }
    let clear = Category::ALL
        .iter()
        .filter_map(|category| {
            let scope = Scope { category: Some(*category), half: None };
            difference(&records.forty, &find, &base, Figure::Success, scope)
        })
        .filter(|difference| difference.low > 0.0)
        .count();
    row(
        "every category better than base, its interval clear of zero",
        format!("{clear} of {}", Category::ALL.len()),
        Some(clear == Category::ALL.len()),
    );
    let easy = on_prompts(&records.easy, &find, EASY_BEST_OF);
    if !easy.is_empty() {
        let below = easy.iter().filter(|one| one.own < one.base - 1e-9).count();
        row(
            "success never below the base where it succeeds already",
            format!("below on {below} of {}", easy.len()),
            Some(below == 0),
        );
        let mean_of = |value: &dyn Fn(&OnPrompt) -> f64| mean(&easy.iter().map(value).collect::<Vec<_>>());
        let share = mean_of(&|one| one.own) / mean_of(&|one| one.best_of.unwrap_or(1.0));
        row(
            &format!("there at least 0.98 of best of {EASY_BEST_OF}"),
            format!("{share:.3}"),
            Some(share >= 0.98),
        );
        let diversity = estimate(&records.easy, &find, Figure::DiversityRatio, all);
        row("there diversity at least 0.9", interval(diversity), diversity.map(|found| found.value >= 0.9));
    }
    if let Some(budget) = records.video.iter().map(|cell| cell.key.budget).max() {
        let find = Contender::method("find", budget);
        let success = estimate(&records.video, &find, Figure::Success, all);
        row("video: success at least 0.85", interval(success), success.map(|found| found.value >= 0.85));
        let scope = Scope { category: Some(Category::Motion), half: None };
        let motion = estimate(&records.video, &find, Figure::Success, scope);
        row("video: motions at least 0.8", interval(motion), motion.map(|found| found.value >= 0.8));
        let degree = dynamic_degree_ratio(&records.video, &find);
        row(
            "video: dynamic degree at least 0.9 of the base",
            number(degree, 2),
            degree.map(|found| found >= 0.9),
        );
    }
    let undistilled = &records.undistilled;
    let reach = |name, budget| Reach::new(undistilled, &find, &Contender::method(name, budget));
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
    for (target, shown) in against {
        let (measured, met) = shown.unwrap_or(("-".to_owned(), None));
        row(&format!("before distillation: {target}"), measured, met);
    }
    text
}
