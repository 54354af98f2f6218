//! Whether it pays to give up poor noises in the middle of their runs.

use std::fmt::Write as _;

use noisefind::core::statistics::{mean, mean_estimate, standard_deviation};

use super::format::interval;
use crate::stages::Stages;

/// Names the resamples of the intervals.
const BOOTSTRAP_SEED: u64 = 1;

/// What the estimates after some calls say of one prompt's images.
struct Stage {
    /// Spearman's correlation of the estimates' rewards with those of the images.
    with_reward: Option<f64>,
    /// The same with the verdict of the judge.
    with_verdict: Option<f64>,
    /// Share of the images that the judge accepts, of all and of the half that the estimate scores higher.
    success: [f64; 2],
    /// What a finished image costs where the lower half is given up, over what it costs where all are finished.
    cost: f64,
}

/// The section; nothing where nothing is on record.
pub fn stages_section(records: &[Stages]) -> String {
    let mut cases: Vec<(&str, usize, usize)> = Vec::new();
    for record in records {
        for (calls, _) in &record.estimates {
            let case = (record.model.as_str(), record.run_calls, *calls);
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
    }
    if cases.is_empty() {
        return String::new();
    }
    let mut text = "After some calls of the denoiser the clean sample that it predicts is decoded and scored, the half of the noises \
         that scores lower is given up, and the other half is finished. Correlations are within a prompt, over its base \
         images, and then averaged; those over pooled prompts would be far higher and mean nothing. The last column is what a \
         finished success costs over what it costs without, in seconds of the denoiser, the decoder and the scorer together: \
         below 1 it pays. Development half.\n\n\
         | model | calls | prompts | rank correlation with the reward | with the verdict | success of all | of the higher half | \
         decoding and scoring, in calls | cost of a success |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (model, run_calls, calls) in cases {
        let own: Vec<&Stages> =
            records.iter().filter(|one| (one.model.as_str(), one.run_calls) == (model, run_calls)).collect();
        let stages: Vec<Stage> = own.iter().filter_map(|one| stage(one, calls)).collect();
        let of = |value: &dyn Fn(&Stage) -> Option<f64>| {
            let values: Vec<f64> = stages.iter().filter_map(value).collect();
            interval(mean_estimate(&values, BOOTSTRAP_SEED))
        };
        let mean_of = |value: &dyn Fn(&Stage) -> f64| mean(&stages.iter().map(value).collect::<Vec<_>>());
        // Of the means, because a prompt may have no success among few images.
        let cost = mean_of(&|one| one.cost) * mean_of(&|one| one.success[0]) / mean_of(&|one| one.success[1]);
        let score = mean(&own.iter().map(|one| one.score_seconds / one.call_seconds).collect::<Vec<_>>());
        let _ = writeln!(
            text,
            "| {model} | {calls} of {run_calls} | {} | {} | {} | {} | {} | {score:.2} | {cost:.2} |",
            stages.len(),
            of(&|one| one.with_reward),
            of(&|one| one.with_verdict),
            of(&|one| Some(one.success[0])),
            of(&|one| Some(one.success[1])),
        );
    }
    text
}

/// How far a noise that succeeds under one prompt succeeds under another; nothing where nothing is on record.
pub fn across_prompts_section(records: &[Stages]) -> String {
    let mut models: Vec<(&str, usize)> =
        records.iter().map(|one| (one.model.as_str(), one.run_calls)).collect();
    models.dedup();
    let mut text = String::new();
    for (model, run_calls) in models {
        let own: Vec<&Stages> =
            records.iter().filter(|one| (one.model.as_str(), one.run_calls) == (model, run_calls)).collect();
        for (name, is_same) in [("same category", true), ("different categories", false)] {
            let pairs = own.iter().enumerate().flat_map(|(at, a)| own[at + 1..].iter().map(move |b| (a, b)));
            let pairs: Vec<_> = pairs.filter(|(a, b)| (a.category == b.category) == is_same).collect();
            let of = |values: fn(&Stages) -> &[Option<f64>]| {
                let both = |a: &Stages, b: &Stages| {
                    let known = values(a).iter().zip(values(b)).filter_map(|(a, b)| Some(((*a)?, (*b)?)));
                    let (a, b): (Vec<f64>, Vec<f64>) = known.unzip();
                    rank_correlation(&a, &b)
                };
                let found: Vec<f64> = pairs.iter().filter_map(|(a, b)| both(a, b)).collect();
                interval(mean_estimate(&found, BOOTSTRAP_SEED))
            };
            if pairs.is_empty() {
                continue;
            }
            if text.is_empty() {
                text = "All prompts of the table above have the same noises. Rank correlation of what one noise gives under two \
                        prompts, averaged over pairs of prompts: what is near 0 leaves nothing that earlier runs of other \
                        prompts could teach about noises.\n\n\
                        | model | pairs of | pairs | rewards | verdicts |\n| --- | --- | --- | --- | --- |\n"
                    .to_owned();
            }
            let _ = writeln!(
                text,
                "| {model} | {name} | {} | {} | {} |",
                pairs.len(),
                of(|one| &one.rewards),
                of(|one| &one.judgements),
            );
        }
    }
    text
}

fn stage(record: &Stages, calls: usize) -> Option<Stage> {
    let (_, estimates) = record.estimates.iter().find(|(own, _)| *own == calls)?;
    let images = estimates.iter().zip(&record.rewards).zip(&record.judgements);
    let images: Vec<[f64; 3]> = images
        .filter_map(|((estimate, reward), verdict)| Some([(*estimate)?, (*reward)?, (*verdict)?]))
        .collect();
    let column = |at: usize| images.iter().map(|image| image[at]).collect::<Vec<f64>>();
    let [estimates, rewards, verdicts] = [column(0), column(1), column(2)];
    let mut by_estimate: Vec<usize> = (0..images.len()).collect();
    by_estimate.sort_by(|a, b| estimates[*b].total_cmp(&estimates[*a]));
    by_estimate.truncate(images.len() / 2);
    let higher: Vec<f64> = by_estimate.into_iter().map(|at| verdicts[at]).collect();
    let success = [mean(&verdicts), mean(&higher)];
    // In calls of the denoiser: a finished image, and one of whose half another was given up.
    let score = record.score_seconds / record.call_seconds;
    let whole = record.run_calls as f64 + score;
    let staged = 2.0 * (calls as f64 + score) + (record.run_calls - calls) as f64 + score;
    Some(Stage {
        with_reward: rank_correlation(&estimates, &rewards),
        with_verdict: rank_correlation(&estimates, &verdicts),
        success,
        cost: staged / whole,
    })
}

/// Spearman's rank correlation, equal values in the mean of their ranks; none where one side does not vary.
fn rank_correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (ranks(a), ranks(b));
    let spread = standard_deviation(&a) * standard_deviation(&b);
    let (mean_a, mean_b) = (mean(&a), mean(&b));
    let products: f64 = a.iter().zip(&b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
    (spread > 0.0).then(|| products / (a.len() - 1) as f64 / spread)
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count() as f64;
        let equal = values.iter().filter(|other| *other == value).count() as f64;
        below + (equal - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::Category;

    fn stages(estimates: [f64; 4]) -> Stages {
        Stages {
            prompt: "two cats".to_owned(),
            category: Category::Count,
            model: "a model".to_owned(),
            model_sha256: String::new(),
            run_calls: 4,
            estimates: vec![(2, estimates.map(Some).to_vec())],
            rewards: [0.1, 0.2, 0.3, 0.4].map(Some).to_vec(),
            judgements: [0.0, 0.0, 1.0, 1.0].map(Some).to_vec(),
            call_seconds: 1.0,
            score_seconds: 1.0,
        }
    }

    #[test]
    fn ranks_of_equal_values_are_their_mean() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 7.0]), [1.5, 0.0, 1.5, 3.0]);
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[5.0, 6.0, 9.0]), Some(1.0));
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[2.0, 2.0, 2.0]), None);
    }

    #[test]
    fn prompts_are_paired_within_and_across_categories() {
        let count = stages([1.0; 4]);
        let colour = Stages {
            category: Category::Colour,
            rewards: [4.0, 3.0, 2.0, 1.0].map(Some).to_vec(),
            ..count.clone()
        };
        let text = across_prompts_section(&[count.clone(), count, colour]);
        assert!(text.contains("| same category | 1 | 1.00 [1.00, 1.00] | 1.00 [1.00, 1.00] |"), "{text}");
        assert!(
            text.contains("| different categories | 2 | -1.00 [-1.00, -1.00] | 1.00 [1.00, 1.00] |"),
            "{text}"
        );
        assert_eq!(across_prompts_section(&[]), "");
    }

    #[test]
    fn a_perfect_estimate_doubles_the_success_and_a_reversed_one_finishes_none() {
        // Finishing all costs 5 calls; half given up after 2 of them, 2 (2 + 1) + 2 + 1 = 9.
        let perfect = stage(&stages([1.0, 2.0, 3.0, 4.0]), 2).unwrap();
        assert!((perfect.with_reward.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(perfect.success, [0.5, 1.0]);
        assert!((perfect.cost - 1.8).abs() < 1e-12);
        let reversed = stage(&stages([4.0, 3.0, 2.0, 1.0]), 2).unwrap();
        assert_eq!(reversed.success, [0.5, 0.0]);
        assert!(stage(&stages([1.0; 4]), 3).is_none(), "no such call is on record");
    }
}
