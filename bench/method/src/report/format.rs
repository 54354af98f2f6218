//! How values are written in tables.

use noisefind::core::statistics::Estimate;

/// A value with its interval.
pub fn interval(estimate: Option<Estimate>) -> String {
    estimate
        .map_or("-".to_owned(), |Estimate { value, low, high }| format!("{value:.2} [{low:.2}, {high:.2}]"))
}

/// A number, or a dash where there is none.
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}
