//! Weights of the right names and shapes with random values, written as safetensors without ever holding them all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use bench_common::Failure;
use half::bf16;
use serde_json::{Map, json};

/// Names with shapes, in the order of the file.
#[derive(Default)]
pub struct Tensors(Vec<(String, Vec<usize>)>);

impl Tensors {
    /// One tensor.
    pub fn add(&mut self, name: &str, shape: &[usize]) {
        self.0.push((name.to_owned(), shape.to_vec()));
    }

    /// Weight and bias of a linear layer.
    pub fn linear(&mut self, name: &str, input: usize, output: usize) {
        self.add(&format!("{name}.weight"), &[output, input]);
        self.add(&format!("{name}.bias"), &[output]);
    }

    /// Weight and bias of a layer norm.
    pub fn norm(&mut self, name: &str, width: usize) {
        self.add(&format!("{name}.weight"), &[width]);
        self.add(&format!("{name}.bias"), &[width]);
    }

    /// How many numbers there are in all.
    pub fn parameters(&self) -> usize {
        self.0.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Writes them in bf16, each spread like 0.5 / sqrt(fan in).
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let mut header = Map::new();
        let mut end = 0;
        for (name, shape) in &self.0 {
            let start = end;
            end += 2 * shape.iter().product::<usize>();
            header
                .insert(name.clone(), json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}));
        }
        let header = serde_json::to_vec(&header)?;
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        let mut state = 1u64;
        for (_, shape) in &self.0 {
            let fan_in = shape.iter().skip(1).product::<usize>().max(1);
            let spread = 0.5 / (fan_in as f32).sqrt();
            for _ in 0..shape.iter().product::<usize>() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let uniform = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
                file.write_all(&bf16::from_f32(spread * uniform).to_le_bytes())?;
            }
        }
        Ok(file.flush()?)
    }
}
