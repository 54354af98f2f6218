//! Properties of a run: resuming, missing rewards, the budget, and independence of the batch partition.

mod common;

use std::ops::ControlFlow;

use common::doubles::{
    FunctionScorer, IdentityGenerator, flat_reward, linear_reward, noise_values, sometimes_missing,
};
use common::{Settings, methods};
use noisefind_core::Error;
use noisefind_core::config::{FindConfig, FindPart, MethodConfig, PaperConfig, ResultPolicy, RunConfig};
use noisefind_core::evaluation::Evaluation;
use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, NoiseShape};
use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_core::rng::NoiseSource;
use noisefind_core::rollout::Rollout;
use noisefind_core::run::{Run, RunState, Step, StopReason, step};
use proptest::prelude::*;

const SHAPE: NoiseShape = NoiseShape::image(2, 4, 4);
/// Noise of a clip of three frames, with as many values.
const CLIP: NoiseShape = NoiseShape { channels: 2, frames: Some(3), height: 2, width: 3 };

fn reward() -> impl FnMut(&str, &Media) -> f64 + Send {
    sometimes_missing(0.2, linear_reward((0..SHAPE.numel()).map(|at| (at as f32 * 0.3).cos()).collect()))
}

fn try_step(
    run: &mut Run,
    generator: &mut IdentityGenerator,
    scorer: &mut dyn Scorer,
) -> Result<Step, Error> {
    let mut rollout = Rollout::new("a toy", generator);
    rollout.rewards.push(scorer);
    step(run, &mut rollout)
}

fn one_step(run: &mut Run, reward: impl FnMut(&str, &Media) -> f64 + Send) -> Step {
    let mut scorer = FunctionScorer::new("toy", reward);
    try_step(run, &mut IdentityGenerator::new(run.shape()), &mut scorer)
        .expect("the test doubles do not fail")
}

fn steps(run: &mut Run, count: usize) {
    (0..count).for_each(|_| drop(one_step(run, reward())));
}

fn default_run() -> Run {
    Settings::find(FindConfig::default(), RunConfig::default()).start(SHAPE)
}

#[test]
fn ten_steps_are_five_a_save_a_load_and_five() {
    for (settings, shape) in methods().into_iter().flat_map(|one| [(one.clone(), SHAPE), (one, CLIP)]) {
        let mut whole = settings.start(shape);
        steps(&mut whole, 10);
        let mut first = settings.start(shape);
        steps(&mut first, 5);
        let text = serde_json::to_string(&first.state()).unwrap();
        let loaded: RunState = serde_json::from_str(&text).unwrap();
        let mut second = settings.resume(shape, &loaded).unwrap();
        assert_eq!(second.state(), first.state());
        steps(&mut second, 5);
        assert_eq!(second.state(), whole.state());
        assert_eq!(second.best_policy(), whole.best_policy());
        assert_eq!(second.best_samples(), whole.best_samples());
    }
}

#[test]
fn what_find_saves_beside_its_policies_does_not_grow_with_the_noise() {
    let numbers = |shape: NoiseShape| {
        let mut run = methods()[0].start(shape);
        (0..4).for_each(|_| drop(one_step(&mut run, |_, media| f64::from(noise_values(media)[0]))));
        let state = run.state();
        let of_method = state.tensors.iter().filter(|tensor| tensor.name.starts_with("method."));
        // Four updates of at most four components, each a combination of at most 64 noises.
        let count = of_method.map(|tensor| tensor.values.len()).sum::<usize>();
        assert!(count > 0 && count <= 4 * (16 + 32 + 48 + 64), "{count} values");
        state.header.method.samples.len()
    };
    assert_eq!(numbers(SHAPE), numbers(NoiseShape::image(4, 32, 32)));
}

#[test]
fn a_state_is_refused_under_another_noise_generator_or_setting() {
    let settings = methods().remove(0);
    let mut run = settings.start(SHAPE);
    steps(&mut run, 3);
    let torch = RunConfig { noise_rng: NoiseSource::Torch, ..settings.run.clone() };
    let other_radius = FindConfig { radius: 0.5, ..FindConfig::default() };
    for other in [
        Settings { run: torch, ..settings.clone() },
        Settings { method: MethodConfig::Find(other_radius), ..settings.clone() },
    ] {
        let message = other.resume(SHAPE, &run.state()).err().unwrap().to_string();
        assert!(message.contains("the policy is not the one that its samples give"), "{message}");
    }
    let message = settings.resume(NoiseShape::image(1, 4, 4), &run.state()).err().unwrap().to_string();
    assert!(message.contains("[1, 4, 4]"), "{message}");
}

#[test]
fn a_state_that_lacks_a_tensor_is_refused_by_name() {
    for settings in methods() {
        let mut run = settings.start(SHAPE);
        steps(&mut run, 2);
        let state = run.state();
        for at in 0..state.tensors.len() {
            let mut broken = state.clone();
            let name = broken.tensors.remove(at).name;
            let name = name.strip_prefix("method.").unwrap_or(&name);
            let message = settings.resume(SHAPE, &broken).err().unwrap().to_string();
            assert!(message.contains(name), "{message} does not name {name}");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_generation_batch() {
    for settings in methods() {
        let [first, others @ ..] = [16, 5, 1].map(|generation_batch| {
            let mut run = settings.start(SHAPE);
            for _ in 0..3 {
                let mut generator = IdentityGenerator::new(SHAPE);
                let mut scorer = FunctionScorer::new("toy", reward());
                let mut rollout = Rollout::new("a toy", &mut generator);
                rollout.generation_batch = generation_batch;
                rollout.rewards.push(&mut scorer);
                let mut evaluations = Vec::new();
                let told = rollout.run(run.ask(), |sample| {
                    let reward = sample.scores.rewards[0].clone();
                    evaluations.push(Evaluation { noise: sample.noise, reward });
                    Ok::<_, Error>(ControlFlow::Continue(()))
                });
                told.expect("the test doubles do not fail");
                run.tell(evaluations).unwrap();
                assert_eq!(generator.calls(), 16usize.div_ceil(generation_batch));
            }
            run.state()
        });
        others.iter().for_each(|state| assert_eq!(*state, first));
    }
}

#[test]
fn a_flat_or_missing_reward_moves_nothing() {
    for settings in methods() {
        let settings = match settings.method {
            // The value network needs a step to expect what it saw, so advantages of a flat reward are 0 only without
            // calibration.
            MethodConfig::Paper(paper) => {
                let method = MethodConfig::Paper(PaperConfig { calibration: false, ..paper });
                Settings { method, ..settings }
            }
            MethodConfig::Find(_) => settings,
            // The first of equal noises is as good a pivot as any.
            MethodConfig::RandomSearch(_) => continue,
        };
        for reward in [0.0, f64::NAN] {
            let mut run = settings.start(SHAPE);
            let before = run.policy().clone();
            let step = one_step(&mut run, flat_reward(reward));
            assert_eq!(*run.policy(), before);
            assert!(!step.record.updated && !step.record.warnings.is_empty());
            assert_eq!(step.record.missing, if reward.is_nan() { 16 } else { 0 });
            assert_eq!(step.record.evaluations, 16);
        }
    }
}

#[test]
fn the_result_was_sampled_from() {
    for settings in methods() {
        for result in [ResultPolicy::Best, ResultPolicy::Newest] {
            let run = RunConfig { result, ..settings.run.clone() };
            let mut run = Settings { run, ..settings.clone() }.start(SHAPE);
            let mut sampled_from = Vec::new();
            for _ in 0..5 {
                sampled_from.push(run.policy().clone());
                one_step(&mut run, reward());
                assert!(sampled_from.contains(run.best_policy()));
            }
            if result == ResultPolicy::Newest {
                assert_eq!(Some(run.best_policy()), sampled_from.last());
            }
            let best = run.progress().best_iteration as usize;
            assert!(result == ResultPolicy::Newest || *run.best_policy() == sampled_from[best]);
        }
    }
}

#[test]
fn missing_rewards_in_a_row_end_the_run() {
    let config = RunConfig { max_missing_in_a_row: 32, ..RunConfig::default() };
    let mut run = Settings::find(FindConfig::default(), config).start(SHAPE);
    one_step(&mut run, flat_reward(f64::NAN));
    assert_eq!(run.stop_reason(), None);
    one_step(&mut run, flat_reward(f64::NAN));
    assert_eq!(run.stop_reason(), Some(StopReason::RewardsMissing));
}

#[test]
fn the_budget_is_used_exactly() {
    let config = RunConfig { evaluations: 37, batch_size: 16, ..RunConfig::default() };
    let mut run = Settings::find(FindConfig::default(), config).start(SHAPE);
    let mut sizes = Vec::new();
    while run.stop_reason().is_none() {
        sizes.push(one_step(&mut run, reward()).evaluations.len());
    }
    assert_eq!(sizes, [16, 16, 5]);
    assert_eq!(run.stop_reason(), Some(StopReason::EvaluationsUsed));
}

#[test]
fn every_sample_keeps_its_own_reward_and_no_two_have_the_same_noise() {
    let weights: Vec<f32> = (0..SHAPE.numel()).map(|at| at as f32 * 0.1).collect();
    for settings in methods() {
        let mut run = settings.start(SHAPE);
        let mut noises: Vec<Vec<f32>> = Vec::new();
        for _ in 0..4 {
            let step = one_step(&mut run, linear_reward(weights.clone()));
            for (evaluation, media) in step.evaluations.iter().zip(&step.media) {
                let expected = linear_reward(weights.clone())("", media);
                assert_eq!(evaluation.reward, Reward::Given(expected));
                let read = noise_values(media);
                let close = evaluation.noise.values().iter().zip(&read).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(close, "the media is not the evaluation's own");
                assert!(!noises.contains(&evaluation.noise.values().to_vec()));
                noises.push(evaluation.noise.values().to_vec());
            }
        }
        let best = run.best_samples();
        assert!(best.windows(2).all(|pair| pair[0].reward >= pair[1].reward));
        assert_eq!(best.len(), 4);
    }
}

#[test]
fn a_port_that_miscounts_leaves_the_run_as_it_was() {
    struct Short;
    impl Scorer for Short {
        fn name(&self) -> &str {
            "short"
        }
        fn score(&mut self, _: &str, _: &[Media]) -> Result<Vec<Reward>, PortError> {
            Ok(Vec::new())
        }
    }
    let mut run = default_run();
    let before = run.state();
    let error = try_step(&mut run, &mut IdentityGenerator::new(SHAPE), &mut Short).unwrap_err();
    assert_eq!(error.to_string(), "scorer short returned 0 rewards for 1 noises");
    assert_eq!(run.state(), before);
    let other = NoiseShape::image(1, 4, 4);
    let error = try_step(&mut run, &mut IdentityGenerator::new(other), &mut Short).unwrap_err();
    assert!(error.to_string().contains("[1, 4, 4]"), "{error}");
    assert_eq!(run.state(), before);
}

#[test]
fn a_noise_from_elsewhere_is_refused() {
    for settings in methods() {
        if matches!(settings.method, MethodConfig::RandomSearch(_)) {
            // It stores its pivot and needs no other noise again.
            continue;
        }
        let mut run = settings.start(SHAPE);
        let told = |noise: Noise| Evaluation { reward: Reward::Given(noise.values()[0].into()), noise };
        let mut evaluations: Vec<Evaluation> = run.ask().into_iter().map(told).collect();
        let key = evaluations[3].key();
        evaluations[3] = told(Noise::new(key, SHAPE, vec![0.5; SHAPE.numel()]).unwrap());
        let message = run.tell(evaluations).unwrap_err().to_string();
        assert!(message.contains("index: 3") && message.contains("noises that were asked for"), "{message}");
        assert_eq!(run.progress().evaluations, 0);
    }
}

#[test]
fn a_step_over_clips_generates_scores_and_learns() {
    for settings in methods() {
        let mut run = settings.start(CLIP);
        let first = one_step(&mut run, reward());
        assert_eq!(first.media.len(), 16);
        assert!(first.media.iter().all(|clip| clip.frames() == 3));
        assert_eq!(run.policy().shape(), CLIP);
        assert_eq!(run.policy().stacked_dims()[run.policy().stacked_dims().len() - 4..], [2, 3, 2, 3]);
        assert!(first.record.updated && first.record.kl_nats > 0.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_divergence_stays_within_any_budget(budget in 0.01f64..40.0, seed: u64) {
        let find = FindConfig { kl_budget_nats: Some(budget), ..FindConfig::default() };
        let mut run = Settings::find(find, RunConfig { seed, ..RunConfig::default() }).start(SHAPE);
        for _ in 0..6 {
            let step = one_step(&mut run, reward());
            prop_assert!(step.record.kl_nats <= budget);
            prop_assert!(run.policy().kl_nats() <= budget);
        }
        prop_assert!(run.policy().kl_nats() > 0.0);
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

#[test]
fn two_good_neighbourhoods_are_two_components_and_every_sample_is_near_one() {
    // As good far along a direction as far against it, so a linear term explains nothing.
    let two_modes = |_: &str, media: &Media| {
        let mut along = linear_reward((0..SHAPE.numel()).map(|at| (at as f32 * 0.3).cos()).collect());
        along("", media).abs()
    };
    let learnt = |find: FindConfig| {
        let mut run = Settings::find(find, RunConfig::default()).start(SHAPE);
        one_step(&mut run, two_modes);
        run
    };
    let mut run = learnt(FindConfig::default());
    let policy = run.policy().clone();
    let means: Vec<&[f32]> = policy.components().iter().map(|one| one.mean()).collect();
    assert!((2..=4).contains(&means.len()), "{} components", means.len());
    for (at, mean) in means.iter().enumerate() {
        means[..at].iter().for_each(|other| assert!(cosine(mean, other) < 0.6, "{}", cosine(mean, other)));
    }
    for sample in one_step(&mut run, two_modes).evaluations {
        let own = cosine(policy.component_of(sample.key()).mean(), sample.noise.values());
        let nearest = means.iter().map(|mean| cosine(mean, sample.noise.values())).fold(0.0, f32::max);
        assert!(own == nearest && nearest > 0.5, "{nearest}");
    }
    let one = learnt(FindConfig::default().without(FindPart::SeveralComponents));
    assert_eq!(one.policy().components().len(), 1);
}

#[test]
fn a_mean_lies_along_the_best_noise() {
    let mut run = default_run();
    let mut best: Option<(Vec<f32>, f64)> = None;
    for _ in 0..3 {
        let step = one_step(&mut run, reward());
        for one in &step.evaluations {
            let Some(reward) = one.reward.given() else { continue };
            if best.as_ref().is_none_or(|(_, highest)| reward > *highest) {
                best = Some((one.noise.values().to_vec(), reward));
            }
        }
    }
    let (best, _) = best.unwrap();
    let first = run.policy().components()[0].mean();
    assert!(cosine(first, &best) > 0.4, "the cosine similarity is {}", cosine(first, &best));
}

/// A reward of two modes, so that the base succeeds where the first value of its noise is above `least`.
fn two_modes(least: f32) -> impl FnMut(&str, &Media) -> f64 + Send {
    move |_, media| {
        let values = noise_values(media);
        let of_mode = if values[0] > least { 0.6 } else { 0.2 };
        of_mode + 0.01 * f64::from(values[1])
    }
}

fn run_of(find: FindConfig, least: f32) -> Run {
    let config = RunConfig { evaluations: 64, ..RunConfig::default() };
    let mut run = Settings::find(find, config).start(SHAPE);
    while run.stop_reason().is_none() {
        one_step(&mut run, two_modes(least));
    }
    run
}

#[test]
fn a_base_that_nearly_always_succeeds_is_kept_after_one_or_two_batches() {
    // All but one in a thousand base samples succeed, and the reward that they reach is known.
    let known = || FindConfig { success_reward: Some(0.4), ..FindConfig::default() };
    let run = run_of(known(), -3.0);
    assert_eq!(run.stop_reason(), Some(StopReason::BaseSucceeds));
    assert!(run.progress().evaluations <= 32, "{}", run.progress().evaluations);
    assert_eq!(*run.best_policy(), NoisePolicy::standard(SHAPE));
    let resumed = Settings::find(known(), run.config().clone()).resume(SHAPE, &run.state());
    assert_eq!(resumed.unwrap().stop_reason(), Some(StopReason::BaseSucceeds));
    let learnt = run_of(known().without(FindPart::KeptBase), -3.0);
    assert_ne!(learnt.stop_reason(), Some(StopReason::BaseSucceeds));
    assert_ne!(*learnt.best_policy(), NoisePolicy::standard(SHAPE));
}

#[test]
fn a_base_that_fails_is_learnt_from() {
    // 31 % of the base samples succeed.
    let run = run_of(FindConfig::default(), 0.5);
    let same = run_of(FindConfig::default().without(FindPart::KeptBase), 0.5);
    assert_eq!(run.best_policy(), same.best_policy());
}

#[test]
fn a_run_stops_when_fresh_samples_are_known_to_succeed() {
    let find = |config: RunConfig, find: FindConfig| {
        let mut run = Settings::find(find, config).start(SHAPE);
        while run.stop_reason().is_none() {
            one_step(&mut run, two_modes(0.5));
        }
        run
    };
    let stopped = find(RunConfig::default(), FindConfig::default());
    assert_eq!(stopped.stop_reason(), Some(StopReason::PolicySucceeds));
    let evaluations = stopped.progress().evaluations;
    assert!((48..160).contains(&evaluations), "{evaluations}");
    let resumed = Settings::find(FindConfig::default(), RunConfig::default()).resume(SHAPE, &stopped.state());
    assert_eq!(resumed.unwrap().stop_reason(), Some(StopReason::PolicySucceeds));
    let floor = find(RunConfig { min_evaluations: 128, ..RunConfig::default() }, FindConfig::default());
    assert!(floor.progress().evaluations >= 128, "{}", floor.progress().evaluations);
    let whole = find(RunConfig::default(), FindConfig::default().without(FindPart::SuccessStop));
    assert_eq!(whole.progress().evaluations, 160);
}
