//! Compiles one loop for several instruction sets, so that the compiler's own vectorisation is used to the full.

/// A computation written as ordinary loops. Mark `run` and all it calls as `#[inline(always)]`: the body is then compiled
/// inside a function that has the instruction set switched on.
pub(crate) trait Loop {
    /// What it gives.
    type Output;

    /// Runs the loops.
    fn run(self) -> Self::Output;
}

/// An instruction set as a type.
pub(crate) trait Vectorised: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// Runs `body` compiled for this instruction set.
    ///
    /// # Safety
    /// The processor has the instruction set.
    unsafe fn vectorise<L: Loop>(body: L) -> L::Output;
}

/// Defines how an instruction set compiles loops.
macro_rules! vectorised {
    ($name:ident, $features:literal) => {
        impl crate::vector::Vectorised for $name {
            #[inline]
            unsafe fn vectorise<L: crate::vector::Loop>(body: L) -> L::Output {
                #[target_feature(enable = $features)]
                fn compiled<L: crate::vector::Loop>(body: L) -> L::Output {
                    body.run()
                }
                // SAFETY: the caller vouches for the instruction set.
                unsafe { compiled(body) }
            }
        }
    };
}
pub(crate) use vectorised;
