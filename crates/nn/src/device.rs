//! Where a model runs, and in which number format.

use std::fmt;
use std::str::FromStr;

use burn_tensor::{DType, Device};
use noisefind_kernels::{Isa, WeightStorage};

use crate::error::{Error, Result};

/// A device by name, as the user writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best device of this build: a GPU where one is compiled in, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
    /// An AMD GPU.
    Rocm,
    /// Any GPU with a Vulkan driver.
    Vulkan,
    /// An Apple GPU.
    Metal,
    /// Any GPU through WebGPU.
    WebGpu,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// Where the program was built without the cargo feature of that device.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Auto => Ok(Self::best()),
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Ok(Device::cuda(index)),
            #[cfg(feature = "rocm")]
            Self::Rocm => Ok(Device::rocm(0)),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Ok(Device::vulkan(burn_tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "metal")]
            Self::Metal => Ok(Device::metal(burn_tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "webgpu")]
            Self::WebGpu => Ok(Device::webgpu(burn_tensor::DeviceKind::DefaultDevice)),
            #[allow(unreachable_patterns, reason = "a build with every device has nothing left to refuse")]
            absent => Err(Error::Device {
                device: absent.to_string(),
                reason: format!(
                    "this program was built without it; build with `--features {}`, or use --device cpu",
                    absent.feature()
                ),
            }),
        }
    }

    fn best() -> Device {
        if cfg!(any(
            feature = "cuda",
            feature = "rocm",
            feature = "vulkan",
            feature = "metal",
            feature = "webgpu"
        )) {
            Device::default()
        } else {
            Device::flex()
        }
    }

    fn feature(self) -> &'static str {
        match self {
            Self::Auto | Self::Cpu => "default",
            Self::Cuda(_) => "cuda",
            Self::Rocm => "rocm",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::WebGpu => "webgpu",
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            other => f.write_str(other.feature()),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::Device {
            device: text.to_owned(),
            reason: "expected auto, cpu, cuda, cuda:N, rocm, vulkan, metal or webgpu".into(),
        };
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "rocm" => Ok(Self::Rocm),
            "vulkan" => Ok(Self::Vulkan),
            "metal" => Ok(Self::Metal),
            "webgpu" => Ok(Self::WebGpu),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                Ok(Self::Cuda(index.parse().map_err(|_| unknown())?))
            }
        }
    }
}

/// The number format of weights and activations; sums and statistics are f32 in every case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DtypeChoice {
    /// bf16 where the device computes in it faster than in f32, else f32.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats with the range of f32.
    Bf16,
    /// 16-bit floats with more digits and a small range.
    F16,
    /// Weights of the denoiser as 8-bit integers with a scale for each column, the rest as by `Auto`; on the CPU.
    Int8,
}

impl DtypeChoice {
    /// The format that a model on `device` runs in.
    pub fn resolve(self, device: &Device) -> DType {
        match self {
            Self::Auto | Self::Int8 if is_cpu(device) && Isa::current().has_bf16() => DType::BF16,
            Self::Auto | Self::Int8 if is_cpu(device) => DType::F32,
            Self::Auto | Self::Int8 => {
                if device.supports_dtype(DType::BF16) {
                    DType::BF16
                } else {
                    DType::F32
                }
            }
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

impl FromStr for DtypeChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            "int8" => Ok(Self::Int8),
            _ => Err(Error::Option {
                option: "dtype",
                found: text.to_owned(),
                expected: "auto, f32, bf16, f16 or int8".into(),
            }),
        }
    }
}

/// A device together with the number format that a model uses on it.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Where tensors live.
    pub device: Device,
    /// How weights and activations are stored.
    pub dtype: DType,
    kernels: Kernels,
    weights: WeightStorage,
}

/// Which bodies the operations take on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernels {
    /// The packed ones of `noisefind-kernels`.
    Packed,
    /// Plain Burn operations, as on every other device.
    Portable,
    /// None: weights are read and checked, and then forgotten.
    Absent,
}

impl Placement {
    /// Opens the device and settles the format.
    ///
    /// # Errors
    /// Where the device is not available, or does not know the format.
    pub fn open(device: DeviceChoice, dtype: DtypeChoice) -> Result<Self> {
        let opened = device.open()?;
        if dtype == DtypeChoice::Int8 && !is_cpu(&opened) {
            let reason = "8-bit weights are for the CPU only; use --dtype f16 or bf16".into();
            return Err(Error::Device { device: device.to_string(), reason });
        }
        let dtype = dtype.resolve(&opened);
        let kernels = if is_cpu(&opened) { Kernels::Packed } else { Kernels::Portable };
        if is_cpu(&opened) && dtype == DType::F16 {
            return Err(Error::Device {
                device: device.to_string(),
                reason: "it stores f32 or bf16; f16 weights are converted while loading".into(),
            });
        }
        if !opened.supports_dtype(dtype) {
            return Err(Error::Device {
                device: device.to_string(),
                reason: format!("it does not compute in {dtype:?}; use --dtype f32"),
            });
        }
        Ok(Self { device: opened, dtype, kernels, weights: WeightStorage::Lossless })
    }

    /// The same place with plain Burn operations only, to compare the CPU kernels with.
    pub fn portable(self) -> Self {
        Self { kernels: Kernels::Portable, ..self }
    }

    /// The same place for a part whose weights are kept as this choice of a number format says.
    pub fn storing(&self, dtype: DtypeChoice) -> Self {
        let weights = if dtype == DtypeChoice::Int8 { WeightStorage::Int8 } else { WeightStorage::Lossless };
        Self { weights, ..self.clone() }
    }

    /// The same place for layers that are only checked: they get no numbers, take no memory, and must not be run.
    pub fn checking(self) -> Self {
        Self { kernels: Kernels::Absent, ..self }
    }

    /// Whether layers are loaded only to check them.
    pub fn only_checks(&self) -> bool {
        self.kernels == Kernels::Absent
    }

    /// The same place with another number format.
    pub fn with_dtype(&self, dtype: DType) -> Self {
        Self { dtype, ..self.clone() }
    }

    /// How weights are kept in the CPU kernels.
    pub(crate) fn weight_storage(&self) -> WeightStorage {
        self.weights
    }

    /// Whether operations run in the CPU kernels.
    pub(crate) fn uses_kernels(&self) -> bool {
        self.kernels == Kernels::Packed
    }
}

/// The instruction set that the CPU kernels use, as the environment variable `NOISEFIND_ISA` names it.
pub fn kernels_in_use() -> &'static str {
    Isa::current().name()
}

fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}
