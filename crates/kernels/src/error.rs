//! What can be wrong about the operands of a kernel.

/// Result of a kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// A kernel refused its operands; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A slice has the wrong number of elements.
    #[error("{operand}: expected {expected} elements, found {found}")]
    Length {
        /// Which slice.
        operand: &'static str,
        /// How many elements the shape asks for.
        expected: usize,
        /// How many the slice has.
        found: usize,
    },
    /// A size or option cannot be computed with.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Which size.
        what: &'static str,
        /// What it must be, in words.
        expected: &'static str,
        /// What it is.
        found: usize,
    },
    /// The weights were packed for another storage type than that of the activations.
    #[error("packed weights: expected {expected} activations, found {found}")]
    Dtype {
        /// Storage type given at packing.
        expected: &'static str,
        /// Storage type of the activations.
        found: &'static str,
    },
}

/// Checks the number of elements of one operand.
pub(crate) fn check_length(operand: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::Length { operand, expected, found }) }
}

/// Checks a condition on one size.
pub(crate) fn check_shape(
    what: &'static str,
    expected: &'static str,
    found: usize,
    holds: bool,
) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Shape { what, expected, found }) }
}
