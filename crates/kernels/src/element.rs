//! The two storage types of activations, `f32` and `bf16`.

use half::bf16;

/// Storage type of activations; sums are `f32` with either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// The upper 16 bits of a 32-bit float.
    Bf16,
}

impl Dtype {
    /// The name that messages use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Bytes of one number.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// How the weights of a product are kept in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightStorage {
    /// Without loss: as they multiply, or in 16 bits where that holds every one of them.
    #[default]
    Lossless,
    /// As 8-bit integers with a scale for each column of the output.
    Int8,
}

/// The number formats of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    /// Storage type of the activations; with `bf16`, weights are rounded to it.
    pub activations: Dtype,
    /// How the weights are kept.
    pub weights: WeightStorage,
}

impl From<Dtype> for Format {
    fn from(activations: Dtype) -> Self {
        Self { activations, weights: WeightStorage::Lossless }
    }
}

mod sealed {
    use half::bf16;

    use crate::compiled::Compiled;
    use crate::micro::LoadAs;
    use crate::scratch::Plain;

    pub trait Sealed: Compiled + Plain + LoadAs<f32> + LoadAs<bf16> {}
    impl Sealed for f32 {}
    impl Sealed for bf16 {}
}

/// An activation's storage type: `f32` or [`bf16`].
pub trait Element: sealed::Sealed + Copy + Default + Send + Sync + 'static {
    /// The type as a value.
    const DTYPE: Dtype;

    /// Widens to `f32`, exactly.
    fn widen(self) -> f32;

    /// Rounds to the nearest representable value, ties to even; NaN stays NaN.
    fn narrow(value: f32) -> Self;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }
}

impl Element for bf16 {
    const DTYPE: Dtype = Dtype::Bf16;

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        // Written without branches so that loops over it become vector code.
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let quiet_nan = (bits >> 16) | 0x40;
        let is_nan = (bits & 0x7fff_ffff) > 0x7f80_0000;
        Self::from_bits(if is_nan { quiet_nan } else { rounded } as u16)
    }
}
