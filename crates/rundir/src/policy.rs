//! `policy.safetensors`: the learnt Gaussians over initial noises and where they came from.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::tensors::{Tensor, TensorFile};

/// Everything needed to sample from the policy again, and how good it was when it was made. No times of day:
/// the same run gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Always "noisefind policy".
    pub format: String,
    /// Version of the program that wrote the file.
    pub program_version: String,
    /// What the samples should show.
    pub prompt: String,
    /// Name or folder of the model.
    pub model: String,
    /// SHA-256 over the model's files, in hexadecimal.
    pub model_sha256: String,
    /// Shape of one noise, `[channels, (frames,) height, width]`.
    pub noise_shape: Vec<usize>,
    /// Every other setting that changes images, by the key that config files have for it.
    #[serde(flatten)]
    pub generation: Map<String, Value>,
    /// `find` or `paper`.
    pub method: String,
    /// The run's seed.
    pub seed: u64,
    /// Images generated and scored.
    pub evaluations: usize,
    /// Why tuning stopped; empty in files of programs that did not say.
    #[serde(default)]
    pub stop_reason: String,
    /// Name of the reward.
    pub reward: String,
    /// Divergence from N(0, I), summed, in nats.
    pub kl_nats: f64,
    /// Value of `reward` below which a sample is worth another try; absent where the run could not tell one, and in
    /// files of programs that did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

impl Provenance {
    /// The value of [`Self::format`].
    pub const FORMAT: &'static str = "noisefind policy";
}

/// Equally likely N(mu, diag sigma^2) over initial noises in unit space.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFile {
    /// Mean, `noise_shape` numbers in row-major order for each Gaussian.
    pub mu: Vec<f32>,
    /// Standard deviation, positive, as many as `mu`.
    pub sigma: Vec<f32>,
    /// Where it came from.
    pub provenance: Provenance,
}

impl PolicyFile {
    /// How many Gaussians there are.
    pub fn component_count(&self) -> usize {
        self.mu.len() / self.provenance.noise_shape.iter().product::<usize>().max(1)
    }

    /// Writes the tensors `mu` and `sigma` in the shape of the noise, behind the number of Gaussians where there are
    /// several.
    ///
    /// # Errors
    /// Where the numbers do not fit the shape, or the system refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        let several = Some(self.component_count()).filter(|&count| count > 1);
        let shape: Vec<usize> =
            several.into_iter().chain(self.provenance.noise_shape.iter().copied()).collect();
        let tensor = |values: &[f32]| Tensor { shape: shape.clone(), values: values.to_vec() };
        let tensors =
            BTreeMap::from([("mu".to_owned(), tensor(&self.mu)), ("sigma".to_owned(), tensor(&self.sigma))]);
        TensorFile { tensors, metadata: self.provenance.clone() }.write(path)
    }

    /// Reads and verifies a policy.
    ///
    /// # Errors
    /// Where the file is no policy of ours, a tensor is missing or of another shape than the noise, or a
    /// number is not finite (for `sigma`: not positive).
    pub fn read(path: &Path) -> Result<Self> {
        let TensorFile { mut tensors, metadata: provenance } = TensorFile::<Provenance>::read(path)?;
        if provenance.format != Provenance::FORMAT {
            let reason =
                format!("expected the format {:?}, found {:?}", Provenance::FORMAT, provenance.format);
            return Err(Error::invalid(path, reason));
        }
        let mut take = |name: &str, acceptable: fn(f32) -> bool| {
            let tensor = tensors
                .remove(name)
                .ok_or_else(|| Error::invalid(path, format!("tensor {name:?} is missing")))?;
            let noise = &provenance.noise_shape;
            let several = tensor.shape.strip_suffix(noise.as_slice());
            if tensor.values.is_empty() || several.is_none_or(|several| several.len() > 1) {
                let reason = format!(
                    "tensor {name:?}: expected {noise:?}, or several of them one after the other, found {:?}",
                    tensor.shape
                );
                return Err(Error::invalid(path, reason));
            }
            match tensor.values.iter().position(|value| !acceptable(*value)) {
                Some(at) => {
                    let reason = format!("tensor {name:?}: number {at} is {}", tensor.values[at]);
                    Err(Error::invalid(path, reason))
                }
                None => Ok(tensor.values),
            }
        };
        let mu = take("mu", f32::is_finite)?;
        let sigma = take("sigma", |value| value.is_finite() && value > 0.0)?;
        if mu.len() != sigma.len() {
            let reason = format!("{} numbers in \"mu\" and {} in \"sigma\"", mu.len(), sigma.len());
            return Err(Error::invalid(path, reason));
        }
        Ok(Self { mu, sigma, provenance })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> PolicyFile {
        let provenance = Provenance {
            format: Provenance::FORMAT.to_owned(),
            program_version: "0.1.0".to_owned(),
            prompt: "a green dog".to_owned(),
            model: "emoji-64".to_owned(),
            model_sha256: "00".to_owned(),
            noise_shape: vec![1, 2, 2],
            generation: Map::from_iter([
                ("num_inference_steps".to_owned(), Value::from(20)),
                ("guidance_scale".to_owned(), Value::from(4.0)),
            ]),
            method: "find".to_owned(),
            seed: 7,
            evaluations: 160,
            stop_reason: "plateau".to_owned(),
            reward: "clip-score".to_owned(),
            kl_nats: 12.5,
            threshold: Some(0.5),
        };
        PolicyFile { mu: vec![0.0, 1.0, -1.0, 0.5], sigma: vec![1.0, 0.9, 0.8, 1.1], provenance }
    }

    #[test]
    fn round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.safetensors");
        example().write(&path).unwrap();
        assert_eq!(PolicyFile::read(&path).unwrap(), example());
    }

    #[test]
    fn a_policy_without_a_threshold_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.safetensors");
        let mut earlier = example();
        earlier.provenance.threshold = None;
        earlier.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(
            !bytes.windows(9).any(|window| window == b"threshold"),
            "files of earlier programs have no such key"
        );
        assert_eq!(PolicyFile::read(&path).unwrap(), earlier);
    }

    #[test]
    fn several_gaussians_stand_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.safetensors");
        let one = example();
        let several = PolicyFile { mu: one.mu.repeat(3), sigma: one.sigma.repeat(3), ..one.clone() };
        several.write(&path).unwrap();
        let read = PolicyFile::read(&path).unwrap();
        assert_eq!((read.component_count(), &read), (3, &several));
        let tensors = TensorFile::<Provenance>::read(&path).unwrap().tensors;
        assert_eq!(tensors["mu"].shape, [3, 1, 2, 2]);
        // A file in which they do not agree is no policy.
        let mut tensors = tensors;
        tensors.insert("sigma".to_owned(), Tensor { shape: vec![1, 2, 2], values: one.sigma });
        TensorFile { tensors, metadata: one.provenance }.write(&path).unwrap();
        let message = PolicyFile::read(&path).unwrap_err().to_string();
        assert!(message.ends_with("12 numbers in \"mu\" and 4 in \"sigma\""), "{message}");
    }

    #[test]
    fn bad_numbers_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.safetensors");
        let mut policy = example();
        policy.sigma[2] = 0.0;
        policy.write(&path).unwrap();
        let message = PolicyFile::read(&path).unwrap_err().to_string();
        assert!(message.ends_with("tensor \"sigma\": number 2 is 0"), "{message}");
        let mut policy = example();
        policy.mu[1] = f32::NAN;
        policy.write(&path).unwrap();
        let message = PolicyFile::read(&path).unwrap_err().to_string();
        assert!(message.ends_with("tensor \"mu\": number 1 is NaN"), "{message}");
    }
}
