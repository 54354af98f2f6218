//! A run of `find` that begins with a policy of an earlier one.

mod common;

use common::doubles::{FunctionScorer, IdentityGenerator, noise_values};
use noisefind_core::config::{FindConfig, MethodConfig, RunConfig};
use noisefind_core::gaussian::Gaussian;
use noisefind_core::media::Media;
use noisefind_core::method::{Method, Start};
use noisefind_core::noise::NoiseShape;
use noisefind_core::policy::NoisePolicy;
use noisefind_core::rollout::Rollout;
use noisefind_core::run::{Run, StopReason, step};

const SHAPE: NoiseShape = NoiseShape::image(2, 4, 4);

/// Two components that keep close to their means.
fn prior() -> NoisePolicy {
    let component = |sign: f32| {
        let mean: Vec<f32> = (0..SHAPE.numel()).map(|at| sign * (at as f32).sin()).collect();
        Gaussian::new(mean, vec![0.3; SHAPE.numel()]).expect("the test is well-formed")
    };
    NoisePolicy::new(SHAPE, vec![component(1.0), component(-1.0)]).expect("the test is well-formed")
}

fn method(success_reward: Option<f64>, prior: Option<NoisePolicy>) -> Box<dyn Method> {
    let find = FindConfig { success_reward, ..FindConfig::default() };
    MethodConfig::Find(find).start(Start { prior, ..Start::new(SHAPE, 3) }).expect("the test is well-formed")
}

fn start(success_reward: Option<f64>, prior: Option<NoisePolicy>) -> Run {
    Run::new(RunConfig { seed: 3, ..RunConfig::default() }, method(success_reward, prior))
        .expect("the test is well-formed")
}

/// One in six of the base succeeds, by the first value of the noise, and none of the prior.
fn rarely(media: &Media) -> f64 {
    let value = f64::from(noise_values(media)[0]);
    if value > 1.0 { 0.9 + 0.001 * value } else { 0.1 + 0.001 * value }
}

fn steps(run: &mut Run, count: usize, reward: fn(&Media) -> f64) {
    let mut generator = IdentityGenerator::new(SHAPE);
    for _ in 0..count {
        let mut scorer = FunctionScorer::new("toy", move |_: &str, media: &Media| reward(media));
        let mut rollout = Rollout::new("a toy", &mut generator);
        rollout.rewards.push(&mut scorer);
        step(run, &mut rollout).expect("the test is well-formed");
    }
}

#[test]
fn the_prior_is_the_second_batch_and_then_the_base_comes_again() {
    let standard = NoisePolicy::standard(SHAPE);
    let mut run = start(Some(0.5), Some(prior()));
    assert_eq!(run.policy(), &standard, "the first batch tells what the base does");
    steps(&mut run, 1, rarely);
    assert_eq!(run.policy(), &prior());
    steps(&mut run, 1, rarely);
    assert_eq!(run.policy(), &standard, "the prior helped nothing");
}

#[test]
fn successes_of_the_prior_are_learnt_from_at_once() {
    let mut run = start(Some(0.5), Some(prior()));
    steps(&mut run, 1, rarely);
    steps(&mut run, 1, |media| 0.9 + 0.001 * f64::from(noise_values(media)[0]));
    let standard = NoisePolicy::standard(SHAPE);
    assert!(run.policy() != &standard && run.policy() != &prior());
    assert!(run.policy().kl_nats() > 0.0);
}

#[test]
fn graded_rewards_meet_the_prior_too() {
    let graded = |media: &Media| f64::from(noise_values(media)[0]);
    let mut run = start(None, Some(prior()));
    steps(&mut run, 1, graded);
    assert_eq!(run.policy(), &prior());
    steps(&mut run, 1, graded);
    assert!(run.policy() != &prior() && run.policy().kl_nats() > 0.0);
}

#[test]
fn a_base_that_succeeds_needs_no_prior() {
    let mut run = start(Some(0.5), Some(prior()));
    steps(&mut run, 1, |media| 0.9 + 0.001 * f64::from(noise_values(media)[0]));
    assert_eq!(run.policy(), &NoisePolicy::standard(SHAPE));
    assert_eq!(run.stop_reason(), Some(StopReason::BaseSucceeds));
}

#[test]
fn a_run_that_was_saved_goes_on_with_the_prior_of_its_state() {
    for reward in [rarely, |media: &Media| f64::from(noise_values(media)[0])] {
        let mut whole = start(Some(0.5), Some(prior()));
        steps(&mut whole, 7, reward);
        for saved in 1..7 {
            let mut first = start(Some(0.5), Some(prior()));
            steps(&mut first, saved, reward);
            let mut second = Run::resume(method(Some(0.5), None), &first.state()).unwrap();
            assert_eq!(second.state(), first.state());
            steps(&mut second, 7 - saved, reward);
            assert_eq!(second.state(), whole.state(), "saved after {saved}");
        }
    }
}
