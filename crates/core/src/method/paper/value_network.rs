//! The value network `g(mu, sigma, prompt embedding)` of the paper's dynamic reward calibration (DRCM).
//!
//! A perceptron with three hidden layers and ReLU, fitted to `L_g = (r_bar - r)^2` by AdamW. Backpropagation is
//! written on `f32` slices with sums in a fixed order, so a resumed run has the same bits.

use crate::adamw::AdamW;
use crate::error::Result;
use crate::gaussian::Gaussian;
use crate::noise::SampleKey;
use crate::rng::{Domain, Stream};
use crate::state::{NamedTensor, read_tensor};

const HIDDEN_LAYERS: usize = 3;

/// The network with its optimiser.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueNetwork {
    embedding: Vec<f32>,
    layers: Vec<Layer>,
}

/// `y = W^T x + b` with `weights[input * outputs + output]`.
#[derive(Clone, Debug, PartialEq)]
struct Layer {
    inputs: usize,
    outputs: usize,
    weights: Vec<f32>,
    biases: Vec<f32>,
    weight_optimizer: AdamW,
    bias_optimizer: AdamW,
}

impl ValueNetwork {
    /// A network of hidden `width` for Gaussians over `dimensions` numbers and a prompt `embedding` (possibly
    /// empty), with first weights sampled under `seed`.
    pub fn new(seed: u64, dimensions: usize, embedding: Vec<f32>, width: usize, learning_rate: f64) -> Self {
        let mut inputs = 2 * dimensions + embedding.len();
        let layers = (0..=HIDDEN_LAYERS)
            .map(|number| {
                let outputs = if number == HIDDEN_LAYERS { 1 } else { width };
                let layer = Layer::new(seed, number as u32, inputs, outputs, learning_rate);
                inputs = outputs;
                layer
            })
            .collect();
        Self { embedding, layers }
    }

    /// `r_bar = g(mu, sigma, embedding)`.
    pub fn predict(&self, gaussian: &Gaussian) -> f64 {
        f64::from(self.activations(gaussian)[HIDDEN_LAYERS + 1][0])
    }

    /// One AdamW step on `L_g`, averaged over `examples` of a Gaussian and the mean reward of its samples; returns
    /// the loss before the step.
    pub fn fit(&mut self, examples: &[(&Gaussian, f64)]) -> f64 {
        let mut slopes: Vec<(Vec<f32>, Vec<f32>)> = self
            .layers
            .iter()
            .map(|layer| (vec![0.0; layer.weights.len()], vec![0.0; layer.outputs]))
            .collect();
        let mut loss = 0.0;
        for (gaussian, reward) in examples {
            let activations = self.activations(gaussian);
            let error = f64::from(activations[HIDDEN_LAYERS + 1][0]) - reward;
            loss += error * error / examples.len() as f64;
            // d L_g / d r_bar = 2 (r_bar - r).
            let mut back = vec![(2.0 * error / examples.len() as f64) as f32];
            for (number, layer) in self.layers.iter().enumerate().rev() {
                let input = &activations[number];
                let (weights, biases) = &mut slopes[number];
                layer.accumulate(input, &back, weights, biases);
                if number > 0 {
                    back = layer.backward(input, &back);
                }
            }
        }
        for (layer, (weights, biases)) in self.layers.iter_mut().zip(&slopes) {
            layer.weight_optimizer.step(&mut layer.weights, weights);
            layer.bias_optimizer.step(&mut layer.biases, biases);
        }
        loss
    }

    /// Steps that the optimiser took.
    pub fn steps(&self) -> u32 {
        self.layers[0].weight_optimizer.steps()
    }

    /// Weights and moments, `value.{layer}.…`.
    pub fn tensors(&self) -> Vec<NamedTensor> {
        let mut tensors = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let shape = vec![layer.inputs, layer.outputs];
            tensors.push(NamedTensor::new(format!("value.{number}.weights"), shape, layer.weights.clone()));
            let shape = vec![layer.outputs];
            tensors.push(NamedTensor::new(format!("value.{number}.biases"), shape, layer.biases.clone()));
            tensors.extend(layer.weight_optimizer.tensors(&format!("value.{number}.weights")));
            tensors.extend(layer.bias_optimizer.tensors(&format!("value.{number}.biases")));
        }
        tensors
    }

    /// Takes up what [`tensors`](Self::tensors) wrote after `steps` steps.
    ///
    /// # Errors
    /// Where a tensor is absent or has another number of values.
    pub fn restore(&mut self, tensors: &[NamedTensor], steps: u32) -> Result<()> {
        for (number, layer) in self.layers.iter_mut().enumerate() {
            let (weights, biases) = (format!("value.{number}.weights"), format!("value.{number}.biases"));
            let (weight_count, bias_count) = (layer.weights.len(), layer.biases.len());
            layer.weights.copy_from_slice(read_tensor(tensors, &weights, weight_count)?);
            layer.biases.copy_from_slice(read_tensor(tensors, &biases, bias_count)?);
            layer.weight_optimizer.restore(tensors, &weights, steps)?;
            layer.bias_optimizer.restore(tensors, &biases, steps)?;
        }
        Ok(())
    }

    /// The input and what every layer makes of it, after ReLU except for the last.
    fn activations(&self, gaussian: &Gaussian) -> Vec<Vec<f32>> {
        let mut activations = vec![[gaussian.mean(), gaussian.sigma(), self.embedding.as_slice()].concat()];
        for (number, layer) in self.layers.iter().enumerate() {
            let mut output = layer.forward(&activations[number]);
            if number < HIDDEN_LAYERS {
                output.iter_mut().for_each(|value| *value = value.max(0.0));
            }
            activations.push(output);
        }
        activations
    }
}

impl Layer {
    /// Weights and biases uniform within `1 / sqrt(inputs)`, as `torch.nn.Linear` samples them.
    fn new(seed: u64, number: u32, inputs: usize, outputs: usize, learning_rate: f64) -> Self {
        let mut stream = Stream::new(SampleKey { seed, iteration: 0, index: number }, Domain::NetworkWeights);
        let bound = 1.0 / (inputs as f64).sqrt();
        let mut sample = |count: usize| -> Vec<f32> {
            (0..count).map(|_| (bound * (2.0 * stream.uniform() - 1.0)) as f32).collect()
        };
        Self {
            inputs,
            outputs,
            weights: sample(inputs * outputs),
            biases: sample(outputs),
            weight_optimizer: AdamW::new(inputs * outputs, learning_rate, 0.0),
            bias_optimizer: AdamW::new(outputs, learning_rate, 0.0),
        }
    }

    fn forward(&self, input: &[f32]) -> Vec<f32> {
        let mut output = self.biases.clone();
        for (&value, row) in input.iter().zip(self.weights.chunks_exact(self.outputs)) {
            output.iter_mut().zip(row).for_each(|(sum, weight)| *sum += value * weight);
        }
        output
    }

    /// Adds the slopes of this layer's parameters for one example whose output has slope `back`.
    fn accumulate(&self, input: &[f32], back: &[f32], weights: &mut [f32], biases: &mut [f32]) {
        for (&value, row) in input.iter().zip(weights.chunks_exact_mut(self.outputs)) {
            row.iter_mut().zip(back).for_each(|(sum, slope)| *sum += value * slope);
        }
        biases.iter_mut().zip(back).for_each(|(sum, slope)| *sum += slope);
    }

    /// Slope of the layer below before its ReLU, which is flat where its output `input` is 0.
    fn backward(&self, input: &[f32], back: &[f32]) -> Vec<f32> {
        let rows = self.weights.chunks_exact(self.outputs);
        let slope = |row: &[f32]| row.iter().zip(back).map(|(weight, slope)| weight * slope).sum();
        input.iter().zip(rows).map(|(&value, row)| if value > 0.0 { slope(row) } else { 0.0 }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMENSIONS: usize = 4;

    fn gaussian(first: f32) -> Gaussian {
        Gaussian::new(vec![first, -0.5, 0.25, 1.0], vec![1.0, 0.5, 2.0, 1.5]).unwrap()
    }

    #[test]
    fn backpropagation_agrees_with_differences() {
        let network = ValueNetwork::new(3, DIMENSIONS, vec![0.5, -1.0], 8, 1.0);
        let here = gaussian(0.75);
        let reward = network.predict(&here) - 1.0;
        // The first AdamW step moves each weight by the learning rate against the sign of its slope.
        let mut fitted = network.clone();
        fitted.fit(&[(&here, reward)]);
        for number in 0..=HIDDEN_LAYERS {
            for at in 0..network.layers[number].weights.len() {
                let loss = |delta: f32| {
                    let mut moved = network.clone();
                    moved.layers[number].weights[at] += delta;
                    (moved.predict(&here) - reward).powi(2)
                };
                let slope = (loss(0.004) - loss(-0.004)) / 0.008;
                let step = fitted.layers[number].weights[at] - network.layers[number].weights[at];
                if slope.abs() > 1e-3 {
                    assert!((f64::from(step) + slope.signum()).abs() < 1e-3, "layer {number}, weight {at}");
                }
            }
        }
    }

    #[test]
    fn fits_the_rewards_of_two_gaussians() {
        let mut network = ValueNetwork::new(1, DIMENSIONS, Vec::new(), 32, 3e-3);
        let (first, second) = (gaussian(2.0), gaussian(-2.0));
        for _ in 0..300 {
            network.fit(&[(&first, 0.25), (&second, 1.5)]);
        }
        assert!((network.predict(&first) - 0.25).abs() < 0.02);
        assert!((network.predict(&second) - 1.5).abs() < 0.02);
    }
}
