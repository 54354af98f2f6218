//! Matrix products `out[m, n] = x[m, k] * weights[n, k]^T` with weights that were packed at load.

use half::bf16;

use crate::conv::{ImageSize, TiledConv, TiledProduct};
use crate::element::{Dtype, Element, Format, WeightStorage};
use crate::epilogue::Epilogue;
use crate::error::{Error, Result, check_length, check_shape};
use crate::isa::Isa;
use crate::left::{DenseRows, RowSource};
use crate::micro::portable::Portable;
#[cfg(target_arch = "x86_64")]
use crate::micro::{
    amx::Amx,
    avx2::Avx2Fma,
    avx512::{Avx512, Avx512Bf16},
};
use crate::panel::{Packing, Panels};
use crate::product::{Product, SharedOutput};

/// The weights of a linear layer in the order in which the kernels read them, and its bias.
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    panels: AnyPanels,
    n: usize,
    k: usize,
    is_gated: bool,
    dtype: Dtype,
}

/// Panels of the micro-kernel that suits the instruction set and the storage type.
#[derive(Clone, Debug)]
enum AnyPanels {
    Portable(Panels<Portable>),
    #[cfg(target_arch = "aarch64")]
    Neon(Panels<crate::micro::neon::Neon>),
    #[cfg(target_arch = "x86_64")]
    Avx2Fma(Panels<Avx2Fma>),
    #[cfg(target_arch = "x86_64")]
    Avx512(Panels<Avx512>),
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Panels<Avx512Bf16>),
    #[cfg(target_arch = "x86_64")]
    Amx(Panels<Amx>),
}

/// Runs `$body` with `$panels` standing for the panels of whichever micro-kernel the weights were packed for.
macro_rules! with_panels {
    ($weights:expr, $panels:ident => $body:expr) => {
        match &$weights.panels {
            AnyPanels::Portable($panels) => $body,
            #[cfg(target_arch = "aarch64")]
            AnyPanels::Neon($panels) => $body,
            #[cfg(target_arch = "x86_64")]
            AnyPanels::Avx2Fma($panels) => $body,
            #[cfg(target_arch = "x86_64")]
            AnyPanels::Avx512($panels) => $body,
            #[cfg(target_arch = "x86_64")]
            AnyPanels::Avx512Bf16($panels) => $body,
            #[cfg(target_arch = "x86_64")]
            AnyPanels::Amx($panels) => $body,
        }
    };
}

impl PackedMatrix {
    /// Packs `weights` `[n, k]` and `bias` `[n]` in a format.
    ///
    /// # Errors
    /// A length that does not fit, or a size of 0.
    pub fn pack(
        weights: &[f32],
        bias: Option<&[f32]>,
        n: usize,
        k: usize,
        format: impl Into<Format>,
    ) -> Result<Self> {
        Self::pack_for(Isa::current(), weights, bias, [n, k], Gating::None, format.into())
    }

    /// Packs the projection of a GEGLU layer: `weights` `[2 inner, k]` with the values' half first, then the gates';
    /// the product's output is `[m, inner]`, `values * gelu_erf(gates)`.
    ///
    /// # Errors
    /// A length that does not fit, or a size of 0.
    pub fn pack_geglu(
        weights: &[f32],
        bias: Option<&[f32]>,
        inner: usize,
        k: usize,
        format: impl Into<Format>,
    ) -> Result<Self> {
        Self::pack_for(Isa::current(), weights, bias, [inner, k], Gating::Geglu, format.into())
    }

    /// Packs for an instruction set that this machine has.
    pub(crate) fn pack_for(
        isa: Isa,
        weights: &[f32],
        bias: Option<&[f32]>,
        [n, k]: [usize; 2],
        gating: Gating,
        format: Format,
    ) -> Result<Self> {
        check_shape("columns", "at least 1", n, n > 0)?;
        check_shape("inner size", "at least 1", k, k > 0)?;
        let gated = gating == Gating::Geglu;
        let rows = if gated { 2 * n } else { n };
        check_length("weights", rows * k, weights.len())?;
        if let Some(bias) = bias {
            check_length("bias", rows, bias.len())?;
        }
        let dtype = format.activations;
        // Kernels that multiply as f32 still see the weights that bf16 storage can hold.
        let rounded: Vec<f32>;
        let weights = if dtype == Dtype::Bf16 && format.weights == WeightStorage::Lossless {
            rounded = weights.iter().map(|&weight| bf16::narrow(weight).widen()).collect();
            &rounded
        } else {
            weights
        };
        let packing = Packing { n, k, gated, storage: format.weights };
        let panels = match (isa, dtype) {
            #[cfg(target_arch = "aarch64")]
            (Isa::Neon, _) => AnyPanels::Neon(Panels::pack(weights, bias, packing)),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2Fma, _) => AnyPanels::Avx2Fma(Panels::pack(weights, bias, packing)),
            #[cfg(target_arch = "x86_64")]
            (Isa::AmxBf16, Dtype::Bf16) => AnyPanels::Amx(Panels::pack(weights, bias, packing)),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Bf16, Dtype::Bf16) => AnyPanels::Avx512Bf16(Panels::pack(weights, bias, packing)),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512 | Isa::Avx512Bf16 | Isa::AmxBf16, _) => {
                AnyPanels::Avx512(Panels::pack(weights, bias, packing))
            }
            _ => AnyPanels::Portable(Panels::pack(weights, bias, packing)),
        };
        Ok(Self { panels, n, k, is_gated: gated, dtype })
    }

    /// Columns of the output.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Columns of the input.
    pub fn k(&self) -> usize {
        self.k
    }

    /// How many weights there are, which is also how many multiplications a row takes.
    pub fn weights(&self) -> usize {
        if self.is_gated { 2 * self.n * self.k } else { self.n * self.k }
    }

    /// Bytes of the packed weights.
    #[cfg(test)]
    pub(crate) fn weight_bytes(&self) -> usize {
        with_panels!(self, panels => panels.weight_bytes())
    }

    /// Storage type of the activations.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }
}

/// Whether the output is a product, or a product gated by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gating {
    None,
    Geglu,
}

/// `out[m, n] = epilogue(x[m, k] * weights^T + bias)`, with `m` taken from the length of `x`.
///
/// # Errors
/// A length or storage type that does not fit the packed weights.
pub fn gemm<T: Element>(
    x: &[T],
    weights: &PackedMatrix,
    epilogue: &Epilogue<'_, T>,
    out: &mut [T],
) -> Result<()> {
    let k = weights.k;
    check_shape("input length", "a multiple of the inner size", x.len(), x.len().is_multiple_of(k))?;
    T::multiply_dense(&DenseRows { x, k }, x.len() / k, weights, epilogue, out)
}

/// `out[m, n] = epilogue(rows * weights^T + bias)` for any source of rows, each row going where its source says.
pub(crate) fn multiply<T: Element, R: RowSource<T>>(
    rows: &R,
    m: usize,
    weights: &PackedMatrix,
    epilogue: &Epilogue<'_, T>,
    out: &mut [T],
) -> Result<()> {
    check_dtype::<T>(weights)?;
    let out_rows = rows.place().rows(m);
    check_length("output", out_rows * weights.n, out.len())?;
    epilogue.check(out_rows, weights.n)?;
    let out = SharedOutput::new(out);
    with_panels!(weights, panels => Product { rows, m, panels, epilogue: *epilogue, out }.run());
    Ok(())
}

/// As [`multiply`], for the transformed tiles of images `x` of a size, and of what is seen of them.
pub(crate) fn multiply_tiles<T: Element>(
    x: &[T],
    [size, seen]: [ImageSize; 2],
    conv: &TiledConv,
    epilogue: &Epilogue<'_, T>,
    out: &mut [T],
) -> Result<()> {
    let weights = conv.matrix();
    check_dtype::<T>(weights)?;
    epilogue.check(seen.pixels(), conv.columns())?;
    let out = SharedOutput::new(out);
    with_panels!(weights, panels => TiledProduct { x, size, seen, conv, panels, epilogue: *epilogue, out }.run());
    Ok(())
}

fn check_dtype<T: Element>(weights: &PackedMatrix) -> Result<()> {
    if T::DTYPE == weights.dtype {
        return Ok(());
    }
    Err(Error::Dtype { expected: weights.dtype.name(), found: T::DTYPE.name() })
}
