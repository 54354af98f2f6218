//! The page as Markdown.

use std::fmt::Write as _;

use noisefind::core::statistics::{Estimate, mean};

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

/// Images over which the cost of learning is spread.
const IMAGES: f64 = 100.0;
/// The size of best-of-n that prompts which the model already draws are held against.
const EASY_BEST_OF: usize = 6;

/// Everything on record, by list of prompts.
#[derive(Default)]
pub struct Records {
    /// The forty prompts on which the method was developed.
    pub forty: Vec<Cell>,
    /// Prompts that nobody looked at before.
    pub fresh: Vec<Cell>,
    /// Prompts that the model already draws.
    pub easy: Vec<Cell>,
    /// Clips.
    pub video: Vec<Cell>,
    /// The model before its distillation, with peers that tune its weights.
    pub undistilled: Vec<Cell>,
}

/// The whole page; `plots` are files in the folder `results` beside it.
pub fn page(records: &Records, plots: &[&str]) -> String {
    let cells = &records.forty;
    let (find, base) = (Contender::method("find", BUDGET), Contender::base());
    let (prompts, find_cells) = counts(cells, &find, Scope::default());
    let samples = cells.first().map_or(0, |cell| cell.key.samples);
    let mut text = format!(
        "# Results\n\n\
         Made from the records in `bench/results` by\n\n\
         ```sh\n\
         cargo run --release -p bench-method -- report\n\
         ```\n\n\
         and the records by `bench-method choose` (the prompts), `bench-method run` (the cells) and \
         `bench/peers/dpok.py` (DPOK); [method/README.md](method/README.md) has every command.\n\n\
         {prompts} prompts of the default model, {find_cells} cells of `find`. The prompts were chosen by base success \
         alone, and none was dropped; they were split by hash before anything was tuned, and settings were chosen on the \
         development half. Each cell is judged on {samples} fresh images; base and tuned share their noises. Success is the \
         verdict of a judge that is never optimised. A prompt's value is the mean over its seeds, and the unit of its gains is \
         the standard deviation of its base images of all seeds; intervals are 95 %, by bootstrap over prompts. One evaluation \
         is one image generated and scored. Diversity is the mean distance of two images over that of the base; among \
         successes it is that of the images which the judge accepts, on both sides.\n\n"
    );
    section(&mut text, "Targets", &targets(records));
    for half in [None, Some(Half::Development), Some(Half::HeldOut)] {
        let title = half.map_or("All prompts".to_owned(), |half| format!("The {half} half"));
        section(&mut text, &title, &methods_table(cells, Scope { half, category: None }));
    }
    section(&mut text, "A list that was never looked at", &fresh_section(&records.fresh));
    section(&mut text, "Success by category", &category_table(cells, &find, &base));
    section(&mut text, "Success and cost by difficulty", &difficulty_table(&[cells, &records.fresh], &find));
    section(&mut text, "Prompts that the model already draws", &easy_section(&records.easy, &find));
    section(&mut text, "Success against diversity", &front_table(cells));
    let parts = [
        (
            "Find without each of its parts",
            ("find", "without"),
            "What the whole method has more than the method without the part, on the same prompts and seeds; \
             [ARCHITECTURE.md](../ARCHITECTURE.md) says why a part that makes no difference here is on.",
        ),
        (
            "Paper without each of its parts",
            ("paper", "without"),
            "What the whole method has more than the method without the part, on the same prompts and seeds.",
        ),
        (
            "Paper with tuned settings, without each of its parts",
            ("paper-tuned", "without"),
            "At a step size with which it learns within the budget.",
        ),
    ];
    for (title, (of, relation), about) in parts {
        section(&mut text, title, &parts_table(cells, of, relation, about));
    }
    section(&mut text, "What limits it", &limits(cells, &find));
    section(&mut text, "Video", &video_section(&records.video));
    section(&mut text, "Against tuning the weights", &undistilled_section(&records.undistilled));
    let images: String = plots.iter().map(|name| format!("![{name}](results/{name})\n\n")).collect();
    let plots = format!(
        "Each method is drawn over the prompts that it was measured on; one that has a single cell is left out.\n\n{images}"
    );
    section(&mut text, "Plots", &plots);
    section(&mut text, "Every prompt", &prompt_table(cells, "find"));
    text.trim_end().to_owned() + "\n"
}

fn fresh_section(cells: &[Cell]) -> String {
    if cells.is_empty() {
        return String::new();
    }
    format!(
        "Chosen by the same rule in the order of another hash, after every setting was settled; no prompt of the other lists is \
         among them.\n\n{}",
        methods_table(cells, Scope::default())
    )
}

/// What one contender does on one prompt, all seeds together.
struct OnPrompt {
    base: f64,
    own: f64,
    verified: Option<f64>,
    generations: Option<f64>,
    best_of: Option<f64>,
    evaluations: f64,
}

/// Every prompt on which both were measured.
fn on_prompts(cells: &[Cell], own: &Contender, best_of: usize) -> Vec<OnPrompt> {
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

/// Lists of cells together, by how often the base succeeds.
fn difficulty_table(lists: &[&[Cell]], find: &Contender) -> String {
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
        let mean_of = |value: &dyn Fn(&OnPrompt) -> Option<f64>| {
            let values: Vec<f64> = group.iter().filter_map(|one| value(one)).collect();
            (!values.is_empty()).then(|| mean(&values))
        };
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
fn easy_section(cells: &[Cell], find: &Contender) -> String {
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

/// Each setting of `--variety`, on the prompts and seeds that all of them have.
fn front_table(cells: &[Cell]) -> String {
    let front = front(cells);
    if front.len() < 2 {
        return String::new();
    }
    let prompts = front[0].2.len();
    let mut text = format!(
        "On {prompts} prompts of the development half, one seed; 0.5 is the default. The plot is below.\n\n\
                    | --variety | components at most | success | verified | diversity | among successes | Vendi score of successes | evaluations |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for (variety, contender, own) in front {
        let of = |figure, digits| {
            number(estimate(&own, &contender, figure, Scope::default()).map(|it| it.value), digits)
        };
        let _ = writeln!(
            text,
            "| {variety} | {} | {} | {} | {} | {} | {} | {} |",
            (8.0 * variety).exp2().round(),
            interval(estimate(&own, &contender, Figure::Success, Scope::default())),
            of(Figure::VerifiedSuccess, 2),
            of(Figure::DiversityRatio, 2),
            of(Figure::SuccessDiversityRatio, 2),
            of(Figure::SuccessVendi, 1),
            of(Figure::Evaluations, 0),
        );
    }
    text
}

/// The settings of `--variety` on record with their cells, of the prompts and seeds that all have.
pub fn front(cells: &[Cell]) -> Vec<(f64, Contender, Vec<Cell>)> {
    let settings = [
        (0.0, "find-variety-0"),
        (0.25, "find-variety-25"),
        (0.5, "find"),
        (0.75, "find-variety-75"),
        (1.0, "find-variety-100"),
    ];
    let settings = settings.map(|(variety, name)| (variety, Contender::method(name, BUDGET)));
    let measured: Vec<_> =
        settings.iter().filter(|(_, one)| cells.iter().any(|cell| one.owns(cell))).collect();
    let in_all = |cell: &Cell| {
        measured.iter().all(|(_, one)| {
            cells.iter().any(|other| {
                one.owns(other) && (&other.key.prompt, other.key.seed) == (&cell.key.prompt, cell.key.seed)
            })
        })
    };
    let own = |one: &Contender| cells.iter().filter(|cell| one.owns(cell) && in_all(cell)).cloned().collect();
    measured.iter().map(|(variety, one)| (*variety, one.clone(), own(one))).collect()
}

fn video_section(cells: &[Cell]) -> String {
    let Some(budget) = cells.iter().map(|cell| cell.key.budget).max() else { return String::new() };
    let find = Contender::method("find", budget);
    let (prompts, seeds) = counts(cells, &find, Scope::default());
    let mut text = format!(
        "`emoji-64-video`, {prompts} prompts in {seeds} cells, chosen by a base success of 5 to 60 % alone, half of them held \
         out by hash. Diversity is over clips; dynamic degree is that of the tuned clips over that of the base's.\n\n"
    );
    let learnt = contenders(cells).into_iter().filter(|contender| !contender.is_variant());
    let _ = write!(
        text,
        "| method | prompts (cells) | success | development half | held-out half | gain in base sigmas | diversity | dynamic degree | evaluations | seconds |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    let rows =
        [Contender::base(), Contender::BestOf(4), Contender::BestOf(BEST_OF)].into_iter().chain(learnt);
    for row in rows {
        let (prompts, own) = counts(cells, &row, Scope::default());
        if prompts == 0 {
            continue;
        }
        let of = |figure, half| interval(estimate(cells, &row, figure, Scope { half, category: None }));
        let plain = |figure, digits| {
            number(estimate(cells, &row, figure, Scope::default()).map(|it| it.value), digits)
        };
        let _ = writeln!(
            text,
            "| {} | {prompts} ({own}) | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.label(),
            of(Figure::Success, None),
            of(Figure::Success, Some(Half::Development)),
            of(Figure::Success, Some(Half::HeldOut)),
            of(Figure::Gain, None),
            plain(Figure::DiversityRatio, 2),
            number(dynamic_degree_ratio(cells, &row), 2),
            plain(Figure::Evaluations, 0),
            plain(Figure::Seconds, 0),
        );
    }
    text += "\n| group | base | find | best of 8 | find less base |\n| --- | --- | --- | --- | --- |\n";
    for category in Category::CLIPS {
        let scope = Scope { category: Some(category), half: None };
        let success = |contender: &Contender| interval(estimate(cells, contender, Figure::Success, scope));
        let _ = writeln!(
            text,
            "| {category} | {} | {} | {} | {} |",
            success(&Contender::base()),
            success(&find),
            success(&Contender::BestOf(BEST_OF)),
            interval(difference(cells, &find, &Contender::base(), Figure::Success, scope)),
        );
    }
    text
}

/// Mean dynamic degree of a contender's clips over that of the base clips of the same prompts and seeds.
fn dynamic_degree_ratio(cells: &[Cell], contender: &Contender) -> Option<f64> {
    let degree = |cell: &Cell| cell.held_out.get("dynamic-degree").copied().flatten();
    let pairs: Vec<(f64, f64)> = cells
        .iter()
        .filter(|cell| contender.owns(cell) && matches!(contender, Contender::Method(..)))
        .filter_map(|cell| {
            let is_its_base = |other: &&Cell| {
                Contender::base().owns(other)
                    && (&other.key.prompt, other.key.seed) == (&cell.key.prompt, cell.key.seed)
            };
            Some((degree(cell)?, degree(cells.iter().find(is_its_base)?)?))
        })
        .collect();
    let base: f64 = pairs.iter().map(|pair| pair.1).sum();
    (base > 0.0).then(|| pairs.iter().map(|pair| pair.0).sum::<f64>() / base)
}

fn undistilled_section(cells: &[Cell]) -> String {
    if cells.is_empty() {
        return String::new();
    }
    let find = Contender::method("find", BUDGET);
    format!(
        "Measured on `emoji-64`, the model before its distillation (20 steps with guidance), with an earlier version of `find` \
         that spent all of its {BUDGET} evaluations on four components; DPOK tunes the weights.\n\n{}\n{}",
        methods_table(cells, Scope::default()),
        reach::table(cells, &find)
    )
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
fn targets(records: &Records) -> String {
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

fn methods_table(cells: &[Cell], scope: Scope) -> String {
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
