//! Zero-copy passage between Burn's CPU tensors and the slices that the kernels work on.

use burn_flex::{Flex, FlexTensor};
use burn_tensor::{DType, Device, Element as BurnElement, Tensor, TensorData};
use half::bf16;
use noisefind_kernels as kernels;

use super::buffers::{self, Shelved};

/// A type that both the kernels and Burn's CPU tensors store.
pub(crate) trait Storage: kernels::Element + BurnElement + Shelved {
    /// The numbers of a contiguous tensor.
    fn slice(tensor: &FlexTensor) -> Option<&[Self]>;
}

impl Storage for f32 {
    fn slice(tensor: &FlexTensor) -> Option<&[Self]> {
        tensor.as_slice()
    }
}

impl Storage for bf16 {
    fn slice(tensor: &FlexTensor) -> Option<&[Self]> {
        tensor.as_slice()
    }
}

/// A CPU tensor whose numbers lie in memory order.
pub(crate) struct Host(FlexTensor);

impl Host {
    /// Takes a CPU tensor; copies only where it is a transposed or strided view.
    pub(crate) fn new<const D: usize>(tensor: Tensor<D>) -> Self {
        let tensor = tensor
            .try_into_primitive::<Flex>()
            .expect("the weights were packed for the CPU, so inputs are on it");
        Self(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() })
    }

    /// The numbers in memory order.
    pub(crate) fn slice<T: Storage>(&self) -> &[T] {
        T::slice(&self.0).expect("every activation of a model is stored in the model's dtype")
    }
}

impl Drop for Host {
    /// Keeps the memory of an activation that nobody else holds.
    fn drop(&mut self) {
        let elements = self.0.layout().num_elements();
        let is_whole = self.0.is_contiguous() && self.0.bytes().len() == elements * self.0.dtype().size();
        if !(self.0.is_unique() && is_whole) {
            return;
        }
        let empty = FlexTensor::zeros([0].into(), self.0.dtype());
        let data = std::mem::replace(&mut self.0, empty).into_data();
        match data.dtype() {
            DType::F32 => data.try_into_vec().map(buffers::give::<f32>),
            _ => data.try_into_vec().map(buffers::give::<bf16>),
        }
        // Memory that Burn allocated in another way is simply freed.
        .unwrap_or_default();
    }
}

/// Wraps numbers in memory order as a CPU tensor, without a copy.
pub(crate) fn tensor<T: Storage, const D: usize>(values: Vec<T>, shape: [usize; D]) -> Tensor<D> {
    let dtype = match T::DTYPE {
        kernels::Dtype::F32 => DType::F32,
        kernels::Dtype::Bf16 => DType::BF16,
    };
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), dtype))
}

/// The kernels' name of a tensor dtype; `None` for those that they do not store.
pub(crate) fn kernel_dtype(dtype: DType) -> Option<kernels::Dtype> {
    match dtype {
        DType::F32 => Some(kernels::Dtype::F32),
        DType::BF16 => Some(kernels::Dtype::Bf16),
        _ => None,
    }
}

/// Shapes were settled when the weights were loaded against the config, so a kernel has nothing to refuse.
pub(crate) fn agreed(result: kernels::Result<()>) {
    if let Err(error) = result {
        panic!("a layer was called with a shape that its config rules out: {error}");
    }
}

/// Calls `$body` with `$t` bound to the storage type of `$dtype`.
macro_rules! with_storage {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            noisefind_kernels::Dtype::F32 => {
                type $t = f32;
                $body
            }
            noisefind_kernels::Dtype::Bf16 => {
                type $t = half::bf16;
                $body
            }
        }
    };
}
pub(crate) use with_storage;
