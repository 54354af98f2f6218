//! The page as Markdown.

use std::fmt::Write as _;

use super::Records;
use super::cost::{difficulty_table, easy_section};
use super::format::number;
use super::front::front_table;
use super::geneval::geneval_section;
use super::noise_value::noise_value_section;
use super::parts::parts_table;
use super::reach;
use super::scorer::scorer_section;
use super::stages::{across_prompts_section, stages_section};
use super::summary::{Contender, Figure, Scope, counts, estimate};
use super::tables::{BEST_OF, BUDGET, MOST_BEST_OF, category_table, methods_table, prompt_table};
use super::targets::targets;
use super::video::video_section;
use crate::cell::Cell;
use crate::prompts::Half;

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
    section(&mut text, "Prompts that the scorer was trained on", &met_section(records));
    let by_category = format!(
        "The forty prompts:\n\n{}\nThe list that was never looked at:\n\n{}",
        category_table(cells, &find, &base),
        category_table(&records.fresh, &find, &base)
    );
    section(&mut text, "Success by category", &by_category);
    let lists: [(&str, &[Cell]); 2] = [("the forty prompts", cells), ("never looked at", &records.fresh)];
    section(&mut text, "What the scorer tells", &scorer_section(&lists, &find));
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
    section(&mut text, "Giving up in the middle of a run", &stages_section(&records.stages));
    let across = across_prompts_section(&records.stages) + &noise_value_section(records.noise_value.as_ref());
    section(&mut text, "What a noise tells across prompts", &across);
    section(&mut text, "Video", &video_section(&records.video));
    section(&mut text, "GenEval", &geneval_section(&records.geneval));
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
         among them, and none on whose images the scorer was trained.\n\n{}",
        methods_table(cells, Scope::default())
    )
}

/// Prompts of the later lists that are among those of the scorer's training.
fn met_section(records: &Records) -> String {
    let mut text = String::new();
    for (list, cells) in
        [("the list that was never looked at", &records.fresh_met), ("the list below", &records.easy_met)]
    {
        if !cells.is_empty() {
            let _ = write!(text, "\nChosen for {list}:\n\n{}", methods_table(cells, Scope::default()));
        }
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "The scorer was trained on generated images of 1,200 prompts (`pretrain/preference-prompts.txt`) before the later lists \
         were chosen, and some prompts are on both. Nothing else on this page counts them.\n{text}"
    )
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

fn section(text: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(text, "## {title}\n\n{}\n\n", body.trim_end());
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
