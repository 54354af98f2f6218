//! Both methods on problems whose optimum is known: the identity generator with linear and quadratic rewards.

mod common;

use common::Settings;
use common::doubles::{FunctionScorer, IdentityGenerator, linear_reward, quadratic_reward};
use noisefind_core::config::{
    FindConfig, FindPart, MethodConfig, PaperConfig, RandomSearchConfig, RunConfig,
};
use noisefind_core::media::Media;
use noisefind_core::noise::{NoiseShape, SampleKey};
use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::{Generator, Scorer};
use noisefind_core::rng::NoiseSource;
use noisefind_core::rollout::Rollout;
use noisefind_core::run::{Run, step};
use noisefind_core::statistics::{mean, standard_deviation};

const SHAPE: NoiseShape = NoiseShape::image(4, 16, 16);

/// Optimum `o` of the quadratic rewards over noise of shape [1, 2, 4].
const OPTIMUM: [f32; 8] = [0.5, -1.25, 1.75, 0.5, -1.5, 0.25, 0.5, -0.75];

/// Mean quadratic reward of `N(0, I)`: `-|o|^2 - d`.
fn quadratic_base() -> f64 {
    -OPTIMUM.iter().map(|x| f64::from(x * x)).sum::<f64>() - OPTIMUM.len() as f64
}

/// Fraction of the way from the best component to the base that `find` may miss after 160 evaluations.
const MISSED: f64 = 0.1;

/// A weight field of norm 1 that lives in low frequencies, as layout and colour do.
fn smooth_weights(shape: NoiseShape) -> Vec<f32> {
    let wave = |at: usize| {
        let (row, column) = (at / shape.width % shape.height, at % shape.width);
        (row as f32 * 0.25).cos() + (column as f32 * 0.35 + 1.0).sin()
    };
    let raw: Vec<f32> = (0..shape.numel()).map(wave).collect();
    let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.into_iter().map(|x| x / norm).collect()
}

fn run_to_the_end(
    settings: Settings,
    shape: NoiseShape,
    reward: impl FnMut(&str, &Media) -> f64 + Send,
) -> Run {
    let mut run = settings.start(shape);
    let (mut generator, mut scorer) = (IdentityGenerator::new(shape), FunctionScorer::new("toy", reward));
    let mut rollout = Rollout::new("a toy", &mut generator);
    rollout.rewards.push(&mut scorer);
    while run.stop_reason().is_none() {
        step(&mut run, &mut rollout).expect("the test doubles do not fail");
    }
    run
}

/// Rewards of 64 fresh samples of `policy`.
fn fresh(policy: &NoisePolicy, reward: impl FnMut(&str, &Media) -> f64 + Send) -> Vec<f64> {
    let noises: Vec<_> =
        (0..64).map(|index| policy.sample(NoiseSource::Philox, SampleKey::fresh(99, index))).collect();
    let media = IdentityGenerator::new(policy.shape())
        .generate("a toy", &noises)
        .expect("the test doubles do not fail");
    let rewards =
        FunctionScorer::new("toy", reward).score("a toy", &media).expect("the test doubles do not fail");
    rewards.iter().filter_map(|reward| reward.given()).collect()
}

/// Gain of the run's policy over `N(0, I)` on fresh noises, in base standard deviations.
fn gain(run: &Run, reward: impl FnMut(&str, &Media) -> f64 + Clone + Send) -> f64 {
    let base = fresh(&NoisePolicy::standard(run.shape()), reward.clone());
    (mean(&fresh(run.best_policy(), reward)) - mean(&base)) / standard_deviation(&base)
}

/// A linear reward of which `share` of the variance is noise that no direction explains.
fn noisy_linear(share: f64) -> impl FnMut(&str, &Media) -> f64 + Clone + Send {
    let mut signal = linear_reward(smooth_weights(SHAPE));
    let mut rough = linear_reward((0..SHAPE.numel()).map(|at| ((at * 7919) % 13) as f32 - 6.0).collect());
    move |prompt, media| {
        (1.0 - share).sqrt() * signal(prompt, media) + (2.0 * share).sqrt() * rough(prompt, media).sin()
    }
}

fn find(find: FindConfig) -> Settings {
    Settings::find(find, RunConfig { seed: 3, plateau_iterations: 0, ..RunConfig::default() })
}

#[test]
fn find_optimises_a_noisy_linear_reward_in_1024_dimensions_with_160_evaluations() {
    let reward = noisy_linear(0.5);
    let gained_by = |config: FindConfig| {
        let run = run_to_the_end(find(config), SHAPE, reward.clone());
        assert_eq!(run.progress().evaluations, 160);
        (gain(&run, reward.clone()), run.best_policy().kl_nats())
    };
    let (gained, nats) = gained_by(FindConfig::default());
    println!("find gains {gained:.2} base sigmas for {nats:.1} nats");
    assert!(gained > 1.5, "gained {gained} base sigmas");
    let budget = FindConfig { kl_budget_nats: Some(100.0), ..FindConfig::default() };
    let (bounded, bounded_nats) = gained_by(budget);
    println!("with 100 nats {bounded:.2}");
    assert!(bounded > 0.3 && bounded < gained && bounded_nats <= 100.0, "{bounded} for {bounded_nats} nats");
}

/// The best component of `find` lies along the optimum `o` at radius `c`: its mean reward is
/// `-(c sqrt(d) - |o|)^2 - d (1 - c^2)`.
#[test]
fn find_reaches_the_best_component_for_a_quadratic_reward() {
    let shape = NoiseShape::image(1, 2, 4);
    let optimum = OPTIMUM.to_vec();
    let one = FindConfig::default().without(FindPart::SeveralComponents);
    let (radius, d) = (one.radius, shape.numel() as f64);
    let run = run_to_the_end(find(one), shape, quadratic_reward(optimum.clone()));
    let length = optimum.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    let best = -(radius * d.sqrt() - length).powi(2) - d * (1.0 - radius * radius);
    let base = -length * length - d;
    let rewards = fresh(run.best_policy(), quadratic_reward(optimum));
    let (reached, error) = (mean(&rewards), standard_deviation(&rewards) / (rewards.len() as f64).sqrt());
    println!("the base has {base:.2}, find {reached:.2} +- {error:.2}, the best component {best:.2}");
    // No policy of one component is better; three standard errors of the mean of 64 samples are allowed.
    assert!(reached < best + 3.0 * error, "{reached} is better than possible, {best}");
    assert!(reached > best + MISSED * (base - best), "{reached} is far from {best}");
}

fn paper(paper: PaperConfig, evaluations: usize) -> Settings {
    let method = MethodConfig::Paper(PaperConfig { value_width: 32, ..paper });
    Settings {
        method,
        run: RunConfig { seed: 3, evaluations, plateau_iterations: 0, ..RunConfig::default() },
    }
}

#[test]
fn paper_and_each_of_its_ablations_optimise_a_linear_reward() {
    let shape = NoiseShape::image(1, 2, 4);
    let reward = linear_reward(smooth_weights(shape));
    let full = PaperConfig { learning_rate: 1e-2, ..PaperConfig::default() };
    let cases = [
        ("full", full.clone()),
        ("no calibration", PaperConfig { calibration: false, ..full.clone() }),
        ("no ratio clipping", PaperConfig { ratio_clipping: false, ..full.clone() }),
        ("no reuse", PaperConfig { reuse: false, ..full }),
    ];
    for (name, config) in cases {
        let gained = gain(&run_to_the_end(paper(config, 1600), shape, reward.clone()), reward.clone());
        println!("paper, {name}: {gained:.2} base sigmas");
        assert!(gained > 0.5, "{name} gained {gained}");
    }
}

#[test]
fn paper_reaches_the_optimum_of_a_quadratic_reward() {
    let shape = NoiseShape::image(1, 2, 2);
    let optimum = vec![0.5f32, -0.25, 0.75, 0.0];
    let config = PaperConfig { learning_rate: 1e-2, ..PaperConfig::default() };
    let run = run_to_the_end(paper(config, 4800), shape, quadratic_reward(optimum.clone()));
    for (mean, best) in run.policy().components()[0].mean().iter().zip(&optimum) {
        assert!((mean - best).abs() < 0.15, "{mean} is far from {best}");
    }
}

/// Policy gradient moves the mean to the optimum `o` and shrinks sigma, so the mean reward rises from `-|o|^2 - d` towards 0.
/// Without reuse there is one update an evaluation, which comes half as far.
#[test]
fn paper_and_each_of_its_ablations_approach_the_optimum_of_a_quadratic_reward() {
    let shape = NoiseShape::image(1, 2, 4);
    let optimum = OPTIMUM.to_vec();
    let base = quadratic_base();
    let full = PaperConfig { learning_rate: 1e-2, ..PaperConfig::default() };
    // How much of the way from the optimum to the base may be left.
    let cases = [
        ("full", 0.35, full.clone()),
        ("no calibration", 0.35, PaperConfig { calibration: false, ..full.clone() }),
        ("no ratio clipping", 0.35, PaperConfig { ratio_clipping: false, ..full.clone() }),
        ("no reuse", 0.7, PaperConfig { reuse: false, ..full }),
    ];
    for (name, left, config) in cases {
        let run = run_to_the_end(paper(config, 1600), shape, quadratic_reward(optimum.clone()));
        let reached = mean(&fresh(run.best_policy(), quadratic_reward(optimum.clone())));
        println!("paper, {name}: {reached:.2} of a base of {base:.2}");
        assert!(reached < 0.0 && reached > left * base, "{name} reached {reached}, the base has {base}");
    }
}

#[test]
fn random_search_approaches_the_optimum_of_a_quadratic_reward() {
    let shape = NoiseShape::image(1, 2, 4);
    let optimum = OPTIMUM.to_vec();
    let base = quadratic_base();
    let method = MethodConfig::RandomSearch(RandomSearchConfig::default());
    let settings =
        Settings { method, run: RunConfig { seed: 3, plateau_iterations: 0, ..RunConfig::default() } };
    let run = run_to_the_end(settings, shape, quadratic_reward(optimum.clone()));
    let reached = mean(&fresh(run.best_policy(), quadratic_reward(optimum)));
    println!("random search: {reached:.2} of a base of {base:.2}");
    assert!(reached < 0.0 && reached > 0.5 * base, "reached {reached}, the base has {base}");
}
