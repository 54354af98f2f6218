//! Both methods on problems whose optimum is known: the identity generator with linear and quadratic rewards.

mod common;

use common::Settings;
use common::doubles::{FunctionScorer, IdentityGenerator, linear_reward, quadratic_reward};
use noisefind_core::config::{FindConfig, FindPart, MethodConfig, PaperConfig, RunConfig};
use noisefind_core::media::Media;
use noisefind_core::noise::{NoiseShape, SampleKey};
use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::{Generator, Scorer};
use noisefind_core::rng::NoiseSource;
use noisefind_core::rollout::Rollout;
use noisefind_core::run::{Run, step};
use noisefind_core::statistics::{mean, standard_deviation};

const SHAPE: NoiseShape = NoiseShape::image(4, 16, 16);

/// Fraction of the gain that evaluations allow, below which `find` has lost information.
const LOW: f64 = 0.5;
/// Fraction of the way from the best component to the base that `find` may miss after 160 evaluations.
const MISSED: f64 = 0.1;

/// A weight field of norm 1 in low frequencies.
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

/// A linear reward in which a fraction `noise` of the variance is explained by no direction.
fn noisy_linear(noise: f64) -> impl FnMut(&str, &Media) -> f64 + Clone + Send {
    let mut signal = linear_reward(smooth_weights(SHAPE));
    let mut rough = linear_reward((0..SHAPE.numel()).map(|at| ((at * 7919) % 13) as f32 - 6.0).collect());
    move |prompt, media| {
        (1.0 - noise).sqrt() * signal(prompt, media) + (2.0 * noise).sqrt() * rough(prompt, media).sin()
    }
}

fn find(find: FindConfig) -> Settings {
    Settings::find(find, RunConfig { seed: 3, plateau_iterations: 0, ..RunConfig::default() })
}

/// A mean of root mean square `s` whose direction has cosine `c` with the weights gains `R s sqrt(d) c` base standard
/// deviations, where a direction explains `R^2` of the reward's variance. The direction `sum_i r_i z_i` of `N` samples of
/// the base has `c = R sqrt(N / d)` while that is small, so `R^2 s sqrt(N)` is what one batch of `N` evaluations allows.
#[test]
fn find_gains_what_160_evaluations_of_a_noisy_linear_reward_in_1024_dimensions_allow() {
    let reward = noisy_linear(0.5);
    let gained_by = |config: FindConfig| {
        let run = run_to_the_end(find(config), SHAPE, reward.clone());
        assert_eq!(run.progress().evaluations, 160);
        let s = run.best_policy().mean_norm() / (SHAPE.numel() as f64).sqrt();
        let allowed = 0.5 * s * 160f64.sqrt();
        let (gained, nats) = (gain(&run, reward.clone()), run.best_policy().kl_nats());
        println!("find gains {gained:.2} of {allowed:.2} base standard deviations for {nats:.1} nats");
        (gained, allowed, nats)
    };
    let (gained, allowed, _) = gained_by(FindConfig::default());
    assert!((LOW * allowed..allowed).contains(&gained), "gained {gained} of {allowed}");
    let budget = FindConfig { kl_budget_nats: Some(100.0), ..FindConfig::default() };
    let (bounded, allowed, nats) = gained_by(budget);
    assert!((LOW * allowed..allowed).contains(&bounded), "gained {bounded} of {allowed}");
    assert!(bounded < gained && nats <= 100.0, "{bounded} for {nats} nats");
}

/// The best component of `find` lies along the optimum `o` at radius `c`: its mean reward is
/// `-(c sqrt(d) - |o|)^2 - d (1 - c^2)`.
#[test]
fn find_reaches_the_best_component_for_a_quadratic_reward() {
    let shape = NoiseShape::image(1, 2, 4);
    let optimum = vec![0.5f32, -1.25, 1.75, 0.5, -1.5, 0.25, 0.5, -0.75];
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

/// The loss `-10 E[w . z] + lambda KL` with `|w| = 1` has its minimum at `mu = (10 / lambda) w` and `sigma = 1`, a gain of
/// `10 / lambda` base standard deviations.
#[test]
fn paper_and_each_of_its_ablations_reach_the_optimum_of_a_linear_reward() {
    let shape = NoiseShape::image(1, 2, 4);
    let reward = linear_reward(smooth_weights(shape));
    let full = PaperConfig { learning_rate: 1e-2, kl_weight: 5.0, ..PaperConfig::default() };
    let cases = [
        ("full", full.clone()),
        ("no calibration", PaperConfig { calibration: false, ..full.clone() }),
        ("no ratio clipping", PaperConfig { ratio_clipping: false, ..full.clone() }),
        ("no reuse", PaperConfig { reuse: false, ..full }),
    ];
    for (name, config) in cases {
        let run = run_to_the_end(paper(config, 4800), shape, reward.clone());
        // The gain of the newest mean itself: a linear reward of a mean needs no samples.
        let [gaussian] = run.policy().components() else { panic!("one component") };
        let weights = smooth_weights(shape);
        let gained: f64 = gaussian.mean().iter().zip(&weights).map(|(mu, w)| f64::from(mu * w)).sum();
        println!("paper, {name}: {gained:.2} base standard deviations");
        assert!((gained - 2.0).abs() < 0.4, "{name} gained {gained}, the optimum is 2");
        let sigma = mean(&gaussian.sigma().iter().map(|&s| f64::from(s)).collect::<Vec<_>>());
        assert!((sigma - 1.0).abs() < 0.15, "{name} has sigma {sigma}, the optimum is 1");
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
