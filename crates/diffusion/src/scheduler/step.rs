//! One step of a scheduler as data: linear combinations of the sample, the denoiser's output, what was remembered, and
//! noise.
//!
//! Every implemented scheduler has this form, so a scheduler is a list of coefficients, and one function
//! ([`State::advance`]) executes all of them on the device, in f32 and in the denoiser's layout.

use burn_tensor::Tensor;
use noisefind_nn::error::Result;

use super::SchedulerConfig;

/// Samples of a batch in the denoiser's layout, `[batch, frames, height, width, channels]`.
pub type Samples = Tensor<5>;

/// What a combination may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The sample before the step.
    Sample,
    /// The denoiser's output.
    Output,
    /// The predicted clean sample within its bound, of this step.
    Clean,
    /// The value of this step that is remembered.
    Value,
    /// A value of an earlier step: 0 is the newest.
    Past(usize),
    /// The anchor that an earlier step set.
    Anchor,
    /// Fresh standard normal noise.
    Noise,
}

/// A sum of sources, each with its factor.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Combination(Vec<(Source, f32)>);

impl Combination {
    /// The source itself.
    pub(super) fn of(source: Source) -> Self {
        Self(vec![(source, 1.0)])
    }

    /// A combination of the sample and the output.
    pub(super) fn linear([sample, output]: [f64; 2]) -> Self {
        Self::default().plus(Source::Sample, sample).plus(Source::Output, output)
    }

    /// With one more term. Terms of factor 0 are left out, but for noise, which is drawn from its stream all the same.
    pub(super) fn plus(mut self, source: Source, factor: f64) -> Self {
        if factor != 0.0 || source == Source::Noise {
            self.0.push((source, factor as f32));
        }
        self
    }

    /// All terms times `factor`.
    pub(super) fn times(self, factor: f64) -> Self {
        Self(self.0.into_iter().map(|(source, own)| (source, own * factor as f32)).collect())
    }

    fn uses(&self, wanted: Source) -> bool {
        self.0.iter().any(|&(source, _)| source == wanted)
    }

    /// The oldest value that is asked for, counted from 1.
    fn depth(&self) -> usize {
        let depth = |&(source, _): &(Source, f32)| match source {
            Source::Past(at) => at + 1,
            _ => 0,
        };
        self.0.iter().map(depth).max().unwrap_or(0)
    }

    fn evaluate(&self, of: impl Fn(Source) -> Samples) -> Samples {
        let term = |&(source, factor): &(Source, f32)| {
            if factor == 1.0 { of(source) } else { of(source) * factor }
        };
        let sum = self.0.iter().map(term).reduce(|sum, term| sum + term);
        sum.unwrap_or_else(|| of(Source::Sample).zeros_like())
    }
}

/// What is done to the predicted clean sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    None,
    /// Clipped to this magnitude.
    Clip(f32),
    /// Dynamic thresholding (Saharia et al. 2022): clipped to a quantile of its magnitudes, at least 1 and at most
    /// `maximum`, and divided by it.
    Threshold {
        quantile: f32,
        maximum: f32,
    },
}

impl Bound {
    /// The bound that the config selects: `thresholding` before `clip_sample`.
    pub(super) fn of(config: &SchedulerConfig) -> Result<Self> {
        let threshold = Self::threshold(config)?;
        if threshold != Self::None || !config.flag("clip_sample") {
            return Ok(threshold);
        }
        let range = config.number("clip_sample_range")?;
        config.check("clip_sample_range", range >= 0.0, range, "a number from 0 on")?;
        Ok(Self::Clip(range as f32))
    }

    /// The bound of a class that only knows `thresholding`.
    pub(super) fn threshold(config: &SchedulerConfig) -> Result<Self> {
        if !config.flag("thresholding") {
            return Ok(Self::None);
        }
        let quantile = config.number("dynamic_thresholding_ratio")?;
        config.check("dynamic_thresholding_ratio", (0.0..=1.0).contains(&quantile), quantile, "0 to 1")?;
        let maximum = config.optional_number("sample_max_value")?.unwrap_or(f64::INFINITY);
        config.check("sample_max_value", maximum > 0.0, maximum, "a positive number")?;
        Ok(Self::Threshold { quantile: quantile as f32, maximum: maximum as f32 })
    }
}

/// One call of the denoiser and what follows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// The time that the denoiser is told.
    pub(super) timestep: f32,
    /// Multiplies the sample before the denoiser sees it.
    pub(super) input_scale: f32,
    /// The predicted clean sample before its bound, of the sample and the output.
    pub(super) clean: Combination,
    pub(super) bound: Bound,
    /// What later steps may look back at, of the sample, the output and the clean sample; nothing is remembered where
    /// there is none.
    pub(super) value: Option<Combination>,
    /// What later steps find as the anchor.
    pub(super) anchor: Option<Combination>,
    /// The sample after the step.
    pub(super) next: Combination,
}

impl Step {
    /// A step that changes nothing yet.
    pub(super) fn at(timestep: f64) -> Self {
        Self {
            timestep: timestep as f32,
            input_scale: 1.0,
            clean: Combination::default(),
            bound: Bound::None,
            value: None,
            anchor: None,
            next: Combination::of(Source::Sample),
        }
    }

    /// Whether it draws noise.
    pub(super) fn draws_noise(&self) -> bool {
        self.next.uses(Source::Noise)
    }

    /// How many earlier values it looks back at.
    pub(super) fn depth(&self) -> usize {
        self.next.depth().max(self.anchor.as_ref().map_or(0, Combination::depth))
    }
}

/// Samples on their way, with what their scheduler remembers.
#[derive(Clone, Debug)]
pub struct State {
    /// The samples.
    pub samples: Samples,
    /// Values of earlier steps, newest first.
    past: Vec<Samples>,
    anchor: Option<Samples>,
}

impl State {
    /// Samples before their first step: unit noise times the schedule's `init_noise_sigma`, in f32.
    pub fn new(samples: Samples) -> Self {
        Self { samples, past: Vec::new(), anchor: None }
    }

    /// The predicted clean sample of `step` within its bound.
    pub(super) fn clean(&self, step: &Step, output: &Samples) -> Samples {
        let given = |source| match source {
            Source::Output => output.clone(),
            _ => self.samples.clone(),
        };
        bounded(step.clean.evaluate(given), step.bound)
    }

    /// The state after `step`; `memory` is how many values later steps look back at.
    pub(super) fn advance(self, step: &Step, memory: usize, output: Samples, noise: Option<Samples>) -> Self {
        let clean = self.clean(step, &output);
        let Self { samples, mut past, anchor } = self;
        let given = |source| match source {
            Source::Output => output.clone(),
            _ => samples.clone(),
        };
        let converted = |source| match source {
            Source::Clean => clean.clone(),
            source => given(source),
        };
        let value = step.value.as_ref().map(|value| value.evaluate(converted));
        let known = |source| match source {
            Source::Value => value.clone().expect("a step that uses its value has one"),
            Source::Past(at) => past[at].clone(),
            Source::Anchor => anchor.clone().expect("an earlier step set the anchor"),
            Source::Noise => noise.clone().expect("noise is sampled for a step that asks for it"),
            source => converted(source),
        };
        let next = step.next.evaluate(known);
        let anchor = match &step.anchor {
            Some(combination) => Some(combination.evaluate(known)),
            None => anchor.clone(),
        };
        if let Some(value) = value {
            past.insert(0, value);
            past.truncate(memory);
        }
        Self { samples: next, past, anchor }
    }
}

fn bounded(clean: Samples, bound: Bound) -> Samples {
    match bound {
        Bound::None => clean,
        Bound::Clip(range) => clean.clamp(-range, range),
        Bound::Threshold { quantile, maximum } => {
            let limit = magnitude_quantile(&clean, quantile).clamp_min(1.0).clamp_max(maximum);
            let dims = clean.dims();
            let limit = limit.expand(dims);
            clean.max_pair(limit.clone().neg()).min_pair(limit.clone()) / limit
        }
    }
}

/// The quantile of the absolute values of each sample, `[batch, 1, 1, 1, 1]`, interpolated as `torch.quantile` does.
fn magnitude_quantile(samples: &Samples, quantile: f32) -> Samples {
    let batch = samples.dims()[0];
    let magnitudes: Tensor<2> = samples.clone().abs().reshape([batch as isize, -1]).sort(1);
    let last = magnitudes.dims()[1] - 1;
    let rank = quantile * last as f32;
    let low = (rank.floor() as usize).min(last);
    let weight = rank - rank.floor();
    let column = |at: usize| magnitudes.clone().narrow(1, at.min(last), 1);
    let (below, above) = (column(low), column(low + 1));
    let between = if weight < 0.5 {
        below.clone() + (above - below) * weight
    } else {
        above.clone() - (above - below) * (1.0 - weight)
    };
    between.reshape([batch, 1, 1, 1, 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_tensor::{Device, TensorData};

    fn samples(values: &[f32]) -> Samples {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, 1, 1, 1, values.len()]), &Device::flex())
    }

    fn quantile(values: &[f32], at: f32) -> f32 {
        magnitude_quantile(&samples(values), at).into_scalar()
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[-4.0, 1.0, 2.0, 3.0], 0.5), 2.5);
        assert_eq!(quantile(&[-4.0, 1.0, 2.0, 3.0], 1.0), 4.0);
        assert_eq!(quantile(&[-4.0, 1.0, 2.0, 3.0], 0.0), 1.0);
    }

    #[test]
    fn thresholds_may_lie_below_one() {
        let bound = Bound::Threshold { quantile: 1.0, maximum: 0.5 };
        let found: Vec<f32> = bounded(samples(&[-4.0, 0.25]), bound).into_data().try_into_vec().unwrap();
        assert_eq!(found, [-1.0, 0.5]);
    }
}
