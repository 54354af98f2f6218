//! Properties of a run: resuming, missing rewards, the budget, and independence of the batch partition.

use noisefind_core::config::{FindConfig, FindPart, MethodConfig, PaperConfig, ResultPolicy, RunConfig};
use noisefind_core::fakes::{
    FunctionScorer, IdentityGenerator, flat_reward, linear_reward, noise_values, sometimes_missing,
};
use noisefind_core::media::Media;
use noisefind_core::noise::NoiseShape;
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_core::record::StopReason;
use noisefind_core::run::Run;
use noisefind_core::state::RunState;
use noisefind_core::step::{Step, step};
use proptest::prelude::*;

const SHAPE: NoiseShape = NoiseShape::image(2, 4, 4);

fn reward() -> impl FnMut(&str, &Media) -> f64 {
    sometimes_missing(0.2, linear_reward((0..SHAPE.numel()).map(|at| (at as f32 * 0.3).cos()).collect()))
}

fn one_step(run: &mut Run, reward: impl FnMut(&str, &Media) -> f64) -> Step {
    let mut scorer = FunctionScorer::new("toy", reward);
    step(run, "a toy", &mut IdentityGenerator::new(SHAPE), &mut scorer).expect("the fakes do not fail")
}

fn steps(run: &mut Run, count: usize) {
    (0..count).for_each(|_| drop(one_step(run, reward())));
}

fn methods() -> Vec<RunConfig> {
    let paper = PaperConfig { value_width: 16, ..PaperConfig::default() };
    let forgetful = FindConfig { history_evaluations: 20, ..FindConfig::default() };
    [MethodConfig::default(), MethodConfig::Find(forgetful), MethodConfig::Paper(paper)]
        .into_iter()
        .map(|method| RunConfig { method, plateau_iterations: 0, ..RunConfig::default() })
        .collect()
}

#[test]
fn ten_steps_are_five_a_save_a_load_and_five() {
    for config in methods() {
        let mut whole = Run::new(config.clone(), SHAPE, vec![0.25]).unwrap();
        steps(&mut whole, 10);
        let mut first = Run::new(config, SHAPE, vec![0.25]).unwrap();
        steps(&mut first, 5);
        let text = serde_json::to_string(&first.state()).unwrap();
        let loaded: RunState = serde_json::from_str(&text).unwrap();
        let mut second = Run::resume(&loaded, vec![0.25]).unwrap();
        assert_eq!(second.state(), first.state());
        steps(&mut second, 5);
        assert_eq!(second.state(), whole.state());
        assert_eq!(second.best_policy(), whole.best_policy());
        assert_eq!(second.best_samples(), whole.best_samples());
    }
}

#[test]
fn a_state_that_lacks_a_tensor_is_refused_by_name() {
    for config in methods() {
        let mut run = Run::new(config, SHAPE, Vec::new()).unwrap();
        steps(&mut run, 2);
        let state = run.state();
        for at in 0..state.tensors.len() {
            let mut broken = state.clone();
            let name = broken.tensors.remove(at).name;
            let message = Run::resume(&broken, Vec::new()).err().unwrap().to_string();
            assert!(message.contains(&name), "{message} does not name {name}");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_generation_batch() {
    for config in methods() {
        let mut states = [16, 5, 1].map(|generation_batch| {
            let mut run =
                Run::new(RunConfig { generation_batch, ..config.clone() }, SHAPE, Vec::new()).unwrap();
            steps(&mut run, 3);
            let mut state = run.state();
            state.header.config.generation_batch = 0;
            state
        });
        let last = states.len() - 1;
        let (others, last) = states.split_at_mut(last);
        others.iter().for_each(|state| assert_eq!(*state, last[0]));
    }
}

#[test]
fn a_flat_or_missing_reward_moves_nothing() {
    for config in methods() {
        // The value network of the paper needs a step to expect what it has seen, so its flat reward is 0-advantage
        // only without calibration.
        let config = match config.method {
            MethodConfig::Paper(paper) => RunConfig {
                method: MethodConfig::Paper(PaperConfig { calibration: false, ..paper }),
                ..config
            },
            MethodConfig::Find(_) => config,
        };
        for reward in [0.0, f64::NAN] {
            let mut run = Run::new(config.clone(), SHAPE, Vec::new()).unwrap();
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
fn the_result_was_drawn_from() {
    for config in methods() {
        for result in [ResultPolicy::Best, ResultPolicy::Newest] {
            let mut run = Run::new(RunConfig { result, ..config.clone() }, SHAPE, Vec::new()).unwrap();
            let mut drawn_from = Vec::new();
            for _ in 0..5 {
                drawn_from.push(run.policy().clone());
                one_step(&mut run, reward());
                assert!(drawn_from.contains(run.best_policy()));
            }
            if result == ResultPolicy::Newest {
                assert_eq!(Some(run.best_policy()), drawn_from.last());
            }
            let best = run.progress().best_iteration as usize;
            assert!(result == ResultPolicy::Newest || *run.best_policy() == drawn_from[best]);
        }
    }
}

#[test]
fn missing_rewards_in_a_row_end_the_run() {
    let mut run =
        Run::new(RunConfig { max_missing_in_a_row: 32, ..RunConfig::default() }, SHAPE, Vec::new()).unwrap();
    one_step(&mut run, flat_reward(f64::NAN));
    assert_eq!(run.stop_reason(), None);
    one_step(&mut run, flat_reward(f64::NAN));
    assert_eq!(run.stop_reason(), Some(StopReason::RewardsMissing));
}

#[test]
fn the_budget_is_used_exactly() {
    let config = RunConfig { evaluations: 37, batch_size: 16, ..RunConfig::default() };
    let mut run = Run::new(config, SHAPE, Vec::new()).unwrap();
    let mut sizes = Vec::new();
    while run.stop_reason().is_none() {
        sizes.push(one_step(&mut run, reward()).evaluations.len());
    }
    assert_eq!(sizes, [16, 16, 5]);
    assert_eq!(run.stop_reason(), Some(StopReason::EvaluationsUsed));
}

#[test]
fn every_sample_keeps_its_own_reward_and_no_two_share_noise() {
    let weights: Vec<f32> = (0..SHAPE.numel()).map(|at| at as f32 * 0.1).collect();
    for config in methods() {
        let mut run = Run::new(config, SHAPE, Vec::new()).unwrap();
        let mut seen: Vec<Vec<f32>> = Vec::new();
        for _ in 0..4 {
            let step = one_step(&mut run, linear_reward(weights.clone()));
            for (evaluation, media) in step.evaluations.iter().zip(&step.media) {
                let expected = linear_reward(weights.clone())("", media);
                assert_eq!(evaluation.reward, Reward::Given(expected));
                let read = noise_values(media);
                let close = evaluation.noise.values().iter().zip(&read).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(close, "the media is not the evaluation's own");
                assert!(!seen.contains(&evaluation.noise.values().to_vec()));
                seen.push(evaluation.noise.values().to_vec());
            }
        }
        let best = run.best_samples();
        assert!(best.windows(2).all(|pair| pair[0].reward.given() >= pair[1].reward.given()));
        assert_eq!(best.len(), 4);
    }
}

#[test]
fn a_scorer_that_miscounts_leaves_the_run_as_it_was() {
    struct Short;
    impl Scorer for Short {
        fn name(&self) -> &str {
            "short"
        }
        fn score(&mut self, _: &str, _: &[Media]) -> Result<Vec<Reward>, PortError> {
            Ok(vec![Reward::Given(f64::NAN)])
        }
    }
    let mut run = Run::new(RunConfig::default(), SHAPE, Vec::new()).unwrap();
    let before = run.state();
    let error = step(&mut run, "a toy", &mut IdentityGenerator::new(SHAPE), &mut Short).unwrap_err();
    assert_eq!(error.to_string(), "scorer short returned 1 rewards for 16 noises");
    assert_eq!(run.state(), before);
    let other = NoiseShape::image(1, 4, 4);
    let error = step(&mut run, "a toy", &mut IdentityGenerator::new(other), &mut Short).unwrap_err();
    assert!(error.to_string().contains("[1, 4, 4]"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_divergence_stays_within_any_budget(budget in 0.01f64..40.0, seed: u64) {
        let find = FindConfig { kl_budget_nats: Some(budget), ..FindConfig::default() };
        let config = RunConfig { seed, method: MethodConfig::Find(find), ..RunConfig::default() };
        let mut run = Run::new(config, SHAPE, Vec::new()).unwrap();
        for _ in 0..6 {
            let step = one_step(&mut run, reward());
            prop_assert!(step.record.kl_nats <= budget);
            prop_assert!(run.policy().kl_nats() <= budget);
        }
        prop_assert!(run.policy().kl_nats() > 0.0);
    }
}

#[test]
fn two_good_places_are_two_gaussians_and_every_sample_is_near_one() {
    // As good far along a direction as far against it, so no direction explains anything.
    let two_places = |_: &str, media: &Media| {
        let mut along = linear_reward((0..SHAPE.numel()).map(|at| (at as f32 * 0.3).cos()).collect());
        along("", media).abs()
    };
    let learnt = |find: FindConfig| {
        let config = RunConfig { method: MethodConfig::Find(find), ..RunConfig::default() };
        let mut run = Run::new(config, SHAPE, Vec::new()).unwrap();
        one_step(&mut run, two_places);
        run
    };
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let alike = |a: &[f32], b: &[f32]| product(a, b) / (product(a, a) * product(b, b)).sqrt();
    let mut run = learnt(FindConfig::default());
    let policy = run.policy().clone();
    let means: Vec<&[f32]> = policy.gaussians().map(|(mean, _)| mean).collect();
    assert!((2..=4).contains(&means.len()), "{} Gaussians", means.len());
    for (at, mean) in means.iter().enumerate() {
        means[..at].iter().for_each(|other| assert!(alike(mean, other) < 0.6, "{}", alike(mean, other)));
    }
    for sample in one_step(&mut run, two_places).evaluations {
        let (own, _) = policy.gaussian_of(sample.key());
        let nearest = means.iter().map(|mean| alike(mean, sample.noise.values())).fold(0.0, f32::max);
        assert!(alike(own, sample.noise.values()) == nearest && nearest > 0.5, "{nearest}");
    }
    let one = learnt(FindConfig::default().without(FindPart::SeveralGaussians));
    assert_eq!(one.policy().gaussian_count(), 1);
}

#[test]
fn the_mean_leans_towards_the_best_noise() {
    let mut run = Run::new(RunConfig::default(), SHAPE, Vec::new()).unwrap();
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
    let product: f32 = run.policy().mean().iter().zip(&best).map(|(mean, best)| mean * best).sum();
    let norm = best.iter().map(|value| value * value).sum::<f32>();
    assert!(product / norm > 0.4, "the mean keeps {} of the best noise", product / norm);
}
