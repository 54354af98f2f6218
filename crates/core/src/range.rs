//! Checks of settings, each with an error that names the field.

use crate::error::{Error, Result};

pub(crate) fn at_least_one(field: &'static str, value: usize) -> Result<()> {
    check(value >= 1, field, "at least 1", value)
}

pub(crate) fn positive(field: &'static str, value: f64) -> Result<()> {
    check(value.is_finite() && value > 0.0, field, "a positive number", value)
}

pub(crate) fn not_negative(field: &'static str, value: f64) -> Result<()> {
    check(value.is_finite() && value >= 0.0, field, "a number that is not negative", value)
}

pub(crate) fn fraction(field: &'static str, value: f64) -> Result<()> {
    check((0.0..=1.0).contains(&value), field, "a number from 0 to 1", value)
}

fn check(holds: bool, field: &'static str, expected: &'static str, found: impl ToString) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config { field, expected, found: found.to_string() }) }
}
