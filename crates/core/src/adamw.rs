//! The AdamW optimiser, written out on plain slices.
//!
//! Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2; defaults of
//! `torch.optim.AdamW` except for the weight decay, which is given.

use crate::error::Result;
use crate::state::{NamedTensor, read_tensor};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The moments of one group of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    learning_rate: f64,
    weight_decay: f64,
    steps: u32,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl AdamW {
    /// An optimiser for `count` parameters that has not stepped yet.
    pub fn new(count: usize, learning_rate: f64, weight_decay: f64) -> Self {
        Self { learning_rate, weight_decay, steps: 0, first: vec![0.0; count], second: vec![0.0; count] }
    }

    /// Steps taken.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// `p <- p (1 - lr decay) - lr m_hat / (sqrt(v_hat) + eps)`, downhill along `gradient`.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32]) {
        self.steps += 1;
        let correction_1 = 1.0 - libm::pow(BETA_1, f64::from(self.steps));
        let correction_2 = 1.0 - libm::pow(BETA_2, f64::from(self.steps));
        let keep = 1.0 - self.learning_rate * self.weight_decay;
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, &slope), (first, second)) in parameters.iter_mut().zip(gradient).zip(moments) {
            let slope = f64::from(slope);
            *first = (BETA_1 * f64::from(*first) + (1.0 - BETA_1) * slope) as f32;
            *second = (BETA_2 * f64::from(*second) + (1.0 - BETA_2) * slope * slope) as f32;
            let scale = (f64::from(*second) / correction_2).sqrt() + EPSILON;
            let change = self.learning_rate * f64::from(*first) / (correction_1 * scale);
            *parameter = (keep * f64::from(*parameter) - change) as f32;
        }
    }

    /// The moments as `{name}.first` and `{name}.second`.
    pub fn tensors(&self, name: &str) -> [NamedTensor; 2] {
        let shape = vec![self.first.len()];
        [
            NamedTensor::new(format!("{name}.first"), shape.clone(), self.first.clone()),
            NamedTensor::new(format!("{name}.second"), shape, self.second.clone()),
        ]
    }

    /// Takes up what [`tensors`](Self::tensors) wrote after `steps` steps.
    ///
    /// # Errors
    /// Where a tensor is absent or has another number of values.
    pub fn restore(&mut self, tensors: &[NamedTensor], name: &str, steps: u32) -> Result<()> {
        let count = self.first.len();
        self.first.copy_from_slice(read_tensor(tensors, &format!("{name}.first"), count)?);
        self.second.copy_from_slice(read_tensor(tensors, &format!("{name}.second"), count)?);
        self.steps = steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_step_is_the_learning_rate_against_the_sign_of_the_gradient() {
        let mut parameters = [1.0, 1.0, 1.0];
        AdamW::new(3, 0.1, 0.0).step(&mut parameters, &[5.0, -0.001, 0.0]);
        assert!((parameters[0] - 0.9).abs() < 1e-6);
        assert!((parameters[1] - 1.1).abs() < 1e-5);
        assert_eq!(parameters[2], 1.0);
    }

    #[test]
    fn second_step_by_hand() {
        // m = 0.9 * 0.1 + 0.1 * 3 = 0.39, v = 0.999 * 0.001 + 0.001 * 9 = 0.009999,
        // m / (1 - 0.81) = 2.052632, sqrt(v / (1 - 0.998001)) = 2.236571, their quotient 0.917758.
        let mut parameters = [0.0];
        let mut optimizer = AdamW::new(1, 1.0, 0.0);
        optimizer.step(&mut parameters, &[1.0]);
        optimizer.step(&mut parameters, &[3.0]);
        assert!((parameters[0] + 1.917_758).abs() < 1e-4, "{}", parameters[0]);
    }

    #[test]
    fn decay_shrinks_without_a_gradient() {
        let mut parameters = [2.0];
        AdamW::new(1, 0.1, 0.5).step(&mut parameters, &[0.0]);
        assert!((parameters[0] - 1.9).abs() < 1e-6);
    }
}
