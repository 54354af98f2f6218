//! Everything that can go wrong between a model folder and an image.

use std::fmt;

use burn_tensor::DType;

use crate::json::JsonError;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong; every message names the culprit, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system could not give the file.
    #[error("cannot read {file}: {source}")]
    Io {
        /// The file or folder.
        file: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The model's folder does not exist or is no folder.
    #[error("{path} is not a model folder: {reason}")]
    NotAFolder {
        /// The path that was given.
        path: String,
        /// Why it is none.
        reason: String,
    },
    /// The file holds something else than it was given for, or a model that is not implemented.
    #[error("{model} is {what}")]
    NotThisModel {
        /// The file or folder.
        model: String,
        /// What it is, and the way out.
        what: String,
    },
    /// The hub does not give the model.
    #[error("cannot get the model {id}, which is no folder here: {reason}")]
    Hub {
        /// The model's id.
        id: String,
        /// Why, and the way out.
        reason: String,
    },
    /// The folder holds a pipeline that is not implemented.
    #[error(
        "{file}: {class} is {kind}, which is not implemented ({implemented} are); use the model through an external \
         generator, or from Python with diffusers"
    )]
    Pipeline {
        /// The file that names it.
        file: String,
        /// The class.
        class: String,
        /// What it is, in words.
        kind: &'static str,
        /// The classes that are implemented.
        implemented: String,
    },
    /// A file that the model needs is absent.
    #[error("{model} has no {expected}; a complete model folder is needed")]
    MissingFile {
        /// The model folder, and the part of it.
        model: String,
        /// The file names that would have been accepted.
        expected: String,
    },
    /// The file is the small text that git leaves in place of a large file.
    #[error(
        "{file} is a git-lfs pointer, not the file itself; run `git lfs pull` in the model folder, or download the file again"
    )]
    GitLfsPointer {
        /// The file.
        file: String,
    },
    /// The file is not what `torch.save` writes, or says more than tensors.
    #[error("{file} is not a usable PyTorch file: {reason}")]
    TorchFile {
        /// The file.
        file: String,
        /// Why, and the way out.
        reason: String,
    },
    /// The bytes are not those of a safetensors file.
    #[error("{file} is not a safetensors file: {reason}")]
    NotSafetensors {
        /// The file.
        file: String,
        /// What was expected and found.
        reason: String,
    },
    /// The file ends too early or too late.
    #[error("{file} is damaged: expected {expected} bytes, found {found}; download or copy it again")]
    WrongLength {
        /// The file.
        file: String,
        /// Bytes that its header announces.
        expected: u64,
        /// Bytes on the disk.
        found: u64,
    },
    /// Names or shapes of the weights do not fit the part's config.
    #[error("{part} does not fit {config}: {mismatch}")]
    Weights {
        /// The part of the model, as a path.
        part: String,
        /// The config, and the way to another one where there is one.
        config: String,
        /// What is missing, too much or of the wrong shape.
        mismatch: WeightMismatch,
    },
    /// An adapter holds something else than changes of this model.
    #[error("{file} is no adapter for this model: {reason}")]
    Lora {
        /// The file.
        file: String,
        /// What was expected and found.
        reason: String,
    },
    /// A file with the vectors of a token that does not fit.
    #[error("{file} is no embedding for this model: {reason}")]
    Embedding {
        /// The file.
        file: String,
        /// What was expected and found.
        reason: String,
    },
    /// A weight is NaN or infinite.
    #[error("{file}: tensor {tensor} holds {value} at element {index}; the weights are damaged")]
    NotFinite {
        /// The file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Which element, in memory order.
        index: usize,
        /// The value found.
        value: f32,
    },
    /// A decoder gives values that make no image.
    #[error("the decoder {decoder} gave {reason}; {}", decoder_way_out(*.dtype))]
    Decoder {
        /// The number format of the decoder.
        dtype: DType,
        /// Where the decoder's files are.
        decoder: String,
        /// What is wrong.
        reason: String,
    },
    /// A weight is stored in a number format that is not a float.
    #[error("{file}: tensor {tensor} is stored as {found}, expected F32, F16, BF16 or F64")]
    WeightFormat {
        /// The file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// The format found.
        found: String,
    },
    /// A JSON file could not be parsed.
    #[error("{file} is not the expected JSON: {source}")]
    Json {
        /// The file.
        file: String,
        /// Which key or line, what was found and what was expected.
        source: JsonError,
    },
    /// A config value lies outside of what is possible or implemented.
    #[error("{file}: {key} is {found}, expected {expected}")]
    Config {
        /// The file.
        file: String,
        /// The key.
        key: &'static str,
        /// The value found.
        found: String,
        /// What would have been accepted.
        expected: String,
    },
    /// The tokenizer's files contradict each other or are damaged.
    #[error("{file} is not a usable tokenizer: {reason}")]
    Tokenizer {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// A device that does not exist, or that this program was built without.
    #[error("device {device} is not available: {reason}")]
    Device {
        /// The device asked for.
        device: String,
        /// Why, and the way out.
        reason: String,
    },
    /// A generation option outside of its range.
    #[error("{option} is {found}, expected {expected}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The value given.
        found: String,
        /// The range or the alternatives.
        expected: String,
    },
    /// Motion modules that do not belong to the model.
    #[error("{file} does not fit the model: {reason}")]
    Unfit {
        /// The file or folder.
        file: String,
        /// What was expected and found.
        reason: String,
    },
    /// A motion adapter that cannot be used with the model.
    #[error("--motion-adapter: {0}")]
    MotionAdapter(Box<Error>),
    /// Noise, latents or images of another shape than the model's.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which array.
        what: &'static str,
        /// The model's shape.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
    },
    /// The model produced a number that is none.
    #[error("the denoiser gave {value} at step {step} of {steps}; {}", diverged_way_out(*.dtype))]
    Diverged {
        /// The number format of the denoiser.
        dtype: DType,
        /// The value found.
        value: f32,
        /// The step, from 1.
        step: usize,
        /// Steps in all.
        steps: usize,
    },
    /// The device lost or refused the data.
    #[error("the device could not return {what}: {reason}")]
    Readback {
        /// Which array.
        what: &'static str,
        /// The device's message.
        reason: String,
    },
}

fn diverged_way_out(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "check that the weights are whole and that the scheduler suits the model",
        _ => "try --dtype f32",
    }
}

fn decoder_way_out(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "check that its weights are whole, or take another decoder with --vae",
        _ => "try --dtype f32, or another decoder with --vae",
    }
}

/// The differences between the tensors that a config asks for and those in the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightMismatch {
    /// Names that are needed and absent.
    pub missing: Vec<String>,
    /// Names that are there and that nothing uses.
    pub extra: Vec<String>,
    /// Names with the shape expected and the shape found.
    pub wrong_shape: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl WeightMismatch {
    /// Whether names and shapes agree.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.wrong_shape.is_empty()
    }
}

impl fmt::Display for WeightMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A wrong folder misses hundreds of names; the first few tell which model it is.
        const NAMED: usize = 8;
        let mut groups = Vec::new();
        let mut group = |what: &str, names: &[String]| {
            if !names.is_empty() {
                let more = names.len().saturating_sub(NAMED);
                let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
                groups.push(format!(
                    "{} {what}: {}{tail}",
                    names.len(),
                    names[..names.len() - more].join(", ")
                ));
            }
        };
        group("missing", &self.missing);
        group("not expected", &self.extra);
        let shapes: Vec<String> = self
            .wrong_shape
            .iter()
            .map(|(name, expected, found)| format!("{name} (expected {expected:?}, found {found:?})"))
            .collect();
        group("of the wrong shape", &shapes);
        f.write_str(&groups.join("; "))
    }
}
