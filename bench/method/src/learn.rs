//! Spends the budget of one cell and remembers how the reward rose.

use std::time::Instant;

use anyhow::Result;
use noisefind::core::config::{MethodConfig, RunConfig};
use noisefind::core::evaluation::Evaluation;
use noisefind::core::method::Start;
use noisefind::core::noise::NoiseShape;
use noisefind::core::policy::NoisePolicy;
use noisefind::core::ports::Reward;
use noisefind::core::rng::{Domain, Stream};
use noisefind::core::run::{Run, step};
use noisefind::core::statistics::mean;
use noisefind::core::threshold::verification_threshold;
use serde::{Deserialize, Serialize};

use crate::methods::{Outcome, Recipe, Source};
use crate::workbench::Workbench;

/// Evaluations between two points of a curve, where batches are smaller.
const RESOLUTION: usize = 16;

/// What came of a budget.
pub struct Learnt {
    /// The policy to keep.
    pub policy: NoisePolicy,
    /// Images generated and scored.
    pub evaluations: usize,
    /// Seconds spent.
    pub seconds: f64,
    /// Why learning stopped, where not at the end of the budget.
    pub stop_reason: String,
    /// Reward below which a sample is generated again with `--verify`.
    pub threshold: Option<f64>,
    /// How the reward rose.
    pub curve: Vec<Point>,
}

/// A stretch of the curve. Its samples were generated before anything was learnt from them, so their mean reward is that
/// of the policy at this point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Evaluations so far, these samples included.
    pub evaluations: usize,
    /// Mean reward of the samples since the last point; null where all are missing.
    pub reward_mean: Option<f64>,
    /// Divergence of the policy after this point, in nats; null where no noise policy is learnt.
    pub kl_nats: Option<f64>,
    /// How far the mean of the policy moved since the last point; null likewise.
    pub step_norm: Option<f64>,
    /// Predictive R² of the rewards before they were learnt from.
    #[serde(alias = "explained_share")]
    pub predictive_r2: Option<f64>,
}

/// Learns a policy for `prompt`.
pub fn learn(
    workbench: &mut Workbench,
    prompt: &str,
    recipe: &Recipe,
    evaluations: usize,
    seed: u64,
) -> Result<Learnt> {
    let shape = workbench.model.generator.noise_shape();
    match recipe {
        Recipe::Base => Ok(Learnt {
            policy: NoisePolicy::standard(shape),
            evaluations: 0,
            seconds: 0.0,
            stop_reason: "nothing-to-learn".to_owned(),
            threshold: None,
            curve: Vec::new(),
        }),
        Recipe::RandomPick => pick_at_random(shape, evaluations, seed),
        Recipe::Run { run, method, outcome } => {
            let prompt_embedding = workbench
                .model
                .generator
                .prompt_embedding(prompt)
                .map_err(noisefind::core::Error::Generator)?;
            let own_batch_size = match method {
                Source::Config(_) => run.batch_size,
                Source::Own(_, batch_size) => batch_size(shape),
            };
            let batch_size = own_batch_size.min(evaluations);
            let config = RunConfig { seed, evaluations, batch_size, ..run.clone() };
            let source = config.noise_rng;
            let start = Start { source, prompt_embedding, ..Start::new(shape, seed) };
            let known = method.success_reward(workbench.success_reward);
            let mut run = Run::new(config, method.start(start, known)?)?;
            let mut learnt = learn_by(workbench, prompt, &mut run, known)?;
            if *outcome == Outcome::Last {
                learnt.policy = run.policy().clone();
            }
            Ok(learnt)
        }
    }
}

/// `find` with random numbers as rewards, for which nothing needs to be generated.
fn pick_at_random(shape: NoiseShape, evaluations: usize, seed: u64) -> Result<Learnt> {
    let started = Instant::now();
    let method = MethodConfig::default().within_budget(evaluations).start(Start::new(shape, seed))?;
    let mut run = Run::new(RunConfig { seed, evaluations, ..RunConfig::default() }, method)?;
    let mut curve = Curve::new(run.policy());
    let reason = loop {
        if let Some(reason) = run.stop_reason() {
            break reason;
        }
        let told = run.ask().into_iter().map(|noise| {
            let number = Stream::new(noise.key, Domain::Bootstrap).next_u64() as f64 / u64::MAX as f64;
            Evaluation { noise, reward: Reward::Given(number) }
        });
        let told: Vec<Evaluation> = told.collect();
        let rewards: Vec<Option<f64>> = told.iter().map(|one| one.reward.given()).collect();
        run.tell(told)?;
        curve.add(&rewards, run.policy(), None);
    };
    Ok(Learnt {
        policy: run.best_policy().clone(),
        evaluations: run.progress().evaluations,
        seconds: started.elapsed().as_secs_f64(),
        stop_reason: reason.name().to_owned(),
        threshold: None,
        curve: curve.points,
    })
}

/// `known` is the reward of right images, where the method knows it.
fn learn_by(workbench: &mut Workbench, prompt: &str, run: &mut Run, known: Option<f64>) -> Result<Learnt> {
    let started = Instant::now();
    let mut curve = Curve::new(run.policy());
    let mut rewards: Vec<(u32, f64)> = Vec::new();
    let reason = loop {
        if let Some(reason) = run.stop_reason() {
            break reason;
        }
        let record = step(run, &mut workbench.learner(prompt))?.record;
        rewards.extend(record.rewards.iter().flatten().map(|&reward| (record.iteration, reward)));
        curve.add(&record.rewards, run.policy(), record.predictive_r2);
    };
    rewards.retain(|(iteration, _)| *iteration <= run.progress().best_iteration);
    let rewards: Vec<f64> = rewards.into_iter().map(|(_, reward)| reward).collect();
    Ok(Learnt {
        policy: run.best_policy().clone(),
        evaluations: run.progress().evaluations,
        seconds: started.elapsed().as_secs_f64(),
        stop_reason: reason.name().to_owned(),
        threshold: verification_threshold(&rewards, known),
        curve: curve.points,
    })
}

/// A curve in the making.
struct Curve {
    points: Vec<Point>,
    last: NoisePolicy,
    waiting: Vec<Option<f64>>,
    evaluations: usize,
}

impl Curve {
    fn new(policy: &NoisePolicy) -> Self {
        Self { points: Vec::new(), last: policy.clone(), waiting: Vec::new(), evaluations: 0 }
    }

    fn add(&mut self, rewards: &[Option<f64>], policy: &NoisePolicy, predictive_r2: Option<f64>) {
        self.waiting.extend(rewards);
        self.evaluations += rewards.len();
        if self.waiting.len() < RESOLUTION {
            return;
        }
        let given: Vec<f64> = self.waiting.drain(..).flatten().collect();
        self.points.push(Point {
            evaluations: self.evaluations,
            reward_mean: (!given.is_empty()).then(|| mean(&given)),
            kl_nats: Some(policy.kl_nats()),
            step_norm: Some(policy.distance_from(&self.last)),
            predictive_r2,
        });
        self.last = policy.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blind_picking_spends_its_budget_on_another_policy_than_the_base() {
        let shape = NoiseShape::image(4, 8, 8);
        let learnt = pick_at_random(shape, 48, 3).unwrap();
        assert_eq!(learnt.evaluations, 48);
        assert!(learnt.policy.kl_nats() > 1.0);
        assert_eq!(learnt.policy, pick_at_random(shape, 48, 3).unwrap().policy);
    }

    #[test]
    fn small_batches_share_a_point() {
        let shape = NoiseShape::image(1, 1, 2);
        let mut curve = Curve::new(&NoisePolicy::standard(shape));
        let moved = NoisePolicy::from_stacked(shape, &[3.0, 4.0], &[1.0; 2]).unwrap();
        (0..20).for_each(|at| curve.add(&[(at > 0).then_some(f64::from(at))], &moved, None));
        assert_eq!(curve.points.len(), 1);
        let point = curve.points[0];
        assert_eq!((point.evaluations, point.reward_mean), (16, Some(8.0)));
        assert_eq!((point.step_norm, point.kl_nats), (Some(5.0), Some(12.5)));
    }
}
