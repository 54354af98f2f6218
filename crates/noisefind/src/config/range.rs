//! Ranges of numbers that users give.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::error::{Error, Result};

/// Refuses `found` unless the condition `holds`; `flag` is named without its dashes.
pub(crate) fn require(holds: bool, flag: &str, found: &dyn Display, expected: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Usage(format!("--{flag} is {found}, expected {expected}"))) }
}

/// Refuses a number outside `range`; one that is not given is inside.
pub(crate) fn within<T: PartialOrd + Display>(
    flag: &str,
    found: Option<T>,
    range: RangeInclusive<T>,
) -> Result<()> {
    match found {
        Some(found) if !range.contains(&found) => {
            let expected = format!("from {} to {}", range.start(), range.end());
            require(false, flag, &found, &expected)
        }
        _ => Ok(()),
    }
}
