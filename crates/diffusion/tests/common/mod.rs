//! Numbers made by `golden/diffusion/make.py`, and comparison with them.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod formula;
pub mod hub;
pub mod pipelines;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn_tensor::{Tensor, TensorData};
use noisefind_core::noise::{Noise, NoiseShape, SampleKey};
use noisefind_diffusion::{
    Decoding, DeviceChoice, DiffusionModel, DtypeChoice, LoadOptions, ModelFiles, Placement,
};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The CPU in the format of the golden numbers.
pub const F32: LoadOptions = LoadOptions {
    device: DeviceChoice::Cpu,
    dtype: DtypeChoice::F32,
    loras: Vec::new(),
    embeddings: Vec::new(),
    vae: None,
    motion_adapter: None,
    decoding: Decoding::Whole,
};

/// The folder of golden numbers.
pub fn golden_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion")
}

/// One of the tiny pipelines.
pub fn tiny(name: &str) -> ModelFiles {
    ModelFiles::directory(golden_folder().join(name)).expect("the tiny pipelines are in the repository")
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the temporary folder is writable");
    for entry in fs::read_dir(from).expect("the tiny pipelines are in the repository") {
        let entry = entry.expect("the folder is readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the temporary folder is writable");
        }
    }
}

/// The CPU with the kernels, and with plain Burn operations.
pub fn placements() -> [(&'static str, Placement); 2] {
    let kernels = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).expect("the CPU is always there");
    [("kernels", kernels.clone()), ("portable", kernels.portable())]
}

/// Named arrays of a golden file.
pub struct Golden(HashMap<String, (Vec<usize>, Vec<f32>)>);

impl Golden {
    pub fn read(name: &str) -> Self {
        let bytes =
            fs::read(golden_folder().join(format!("{name}.safetensors"))).expect("the golden file is there");
        let file = SafeTensors::deserialize(&bytes).expect("the golden file is valid");
        let read = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            (name, (view.shape().to_vec(), values))
        };
        Self(file.tensors().into_iter().map(read).collect())
    }

    /// The metadata of a golden file.
    pub fn metadata(name: &str) -> HashMap<String, String> {
        let bytes =
            fs::read(golden_folder().join(format!("{name}.safetensors"))).expect("the golden file is there");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("the golden file is valid");
        metadata.metadata().clone().unwrap_or_default()
    }

    /// The names of all arrays.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn shape(&self, name: &str) -> &[usize] {
        &self.0[name].0
    }

    pub fn values(&self, name: &str) -> &[f32] {
        &self.0[name].1
    }

    /// A picture-like array `[batch, channels, height, width]` as `[batch, height, width, channels]`.
    pub fn channels_last(&self, name: &str) -> (Vec<f32>, [usize; 4]) {
        let (shape, values) = &self.0[name];
        let [batch, channels, height, width] = shape[..] else { panic!("{name} has shape {shape:?}") };
        (permute(values, [batch, channels, height, width]), [batch, height, width, channels])
    }

    /// Token ids, stored as floats.
    pub fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        let length = self.shape(name)[1];
        self.values(name).chunks(length).map(|row| row.iter().map(|&id| id as u32).collect()).collect()
    }

    /// The noises of the whole run, one for each sample.
    pub fn noises(&self) -> Vec<Noise> {
        self.noises_named("noise")
    }

    pub fn noises_named(&self, name: &str) -> Vec<Noise> {
        let shape = match self.shape(name)[..] {
            [_, channels, height, width] => NoiseShape::image(channels, height, width),
            [_, channels, frames, height, width] => {
                NoiseShape { channels, frames: Some(frames), height, width }
            }
            _ => panic!("noise has four or five axes"),
        };
        let samples = self.values(name).chunks(shape.numel()).enumerate();
        let noise = |(index, values): (usize, &[f32])| {
            let key = SampleKey { seed: 1, iteration: 0, index: index as u32 };
            Noise::new(key, shape, values.to_vec()).expect("the sizes agree")
        };
        samples.map(noise).collect()
    }
}

/// `[batch, channels, height, width]` to `[batch, height, width, channels]`.
pub fn permute(values: &[f32], [batch, channels, height, width]: [usize; 4]) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for sample in 0..batch {
        for pixel in 0..height * width {
            for channel in 0..channels {
                out.push(values[(sample * channels + channel) * height * width + pixel]);
            }
        }
    }
    out
}

/// A tensor of the placement's device and dtype.
pub fn tensor<const D: usize>(placement: &Placement, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (&placement.device, placement.dtype))
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(burn_tensor::DType::F32).into_data().try_into_vec().expect("it was cast to f32")
}

#[track_caller]
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let worst =
        found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, |worst, distance| {
            if distance.is_nan() { f32::INFINITY } else { worst.max(distance) }
        });
    assert!(worst <= tolerance, "{what}: differs by {worst}, tolerance {tolerance}");
    let magnitude = expected.iter().map(|x| x.abs()).fold(0.0, f32::max);
    assert!(magnitude > 10.0 * tolerance, "{what}: the golden numbers are too small to tell anything");
}

/// The pipeline of `family` with the scheduler that the variant's own config describes, and the folder that holds it.
pub fn open_variant(family: &str, variant: &str, load: &LoadOptions) -> (TempDir, DiffusionModel) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&golden_folder().join(family), folder.path());
    let scheduler = golden_folder().join(format!("variants/{variant}.json"));
    if scheduler.is_file() {
        let read = |path: &Path| -> Value {
            noisefind_nn::json::from_slice(&fs::read(path).expect("it is there")).expect("it is JSON")
        };
        // The index decides about the class.
        let index = folder.path().join("model_index.json");
        let mut keys = read(&index);
        keys["scheduler"] = json!(["diffusers", read(&scheduler)["_class_name"]]);
        fs::write(index, keys.to_string()).expect("it is writable");
        fs::copy(scheduler, folder.path().join("scheduler/scheduler_config.json")).expect("it is writable");
    }
    let files = ModelFiles::directory(folder.path()).expect("it is a folder");
    let model = DiffusionModel::open(files, load).expect("it opens");
    (folder, model)
}
