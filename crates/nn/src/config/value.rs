//! The types of config values, with what a message says of each.

use serde_json::{Map, Value};

/// A type that a config's key may have.
pub trait ConfigValue: Sized {
    /// What is expected of the key, for messages.
    const EXPECTED: &'static str;

    /// The value, where it is of this type; never of `null`.
    fn of(value: &Value) -> Option<Self>;
}

impl ConfigValue for usize {
    const EXPECTED: &'static str = "a whole number from 0 on";

    fn of(value: &Value) -> Option<Self> {
        value.as_u64().and_then(|number| number.try_into().ok())
    }
}

impl ConfigValue for u32 {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295";

    fn of(value: &Value) -> Option<Self> {
        value.as_u64().and_then(|number| number.try_into().ok())
    }
}

impl ConfigValue for f64 {
    const EXPECTED: &'static str = "a number";

    fn of(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl ConfigValue for f32 {
    const EXPECTED: &'static str = f64::EXPECTED;

    fn of(value: &Value) -> Option<Self> {
        f64::of(value).map(|number| number as Self)
    }
}

impl ConfigValue for String {
    const EXPECTED: &'static str = "a text";

    fn of(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl ConfigValue for Vec<usize> {
    const EXPECTED: &'static str = "a list of whole numbers";

    fn of(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(usize::of).collect()
    }
}

impl ConfigValue for Vec<f32> {
    const EXPECTED: &'static str = "a list of numbers";

    fn of(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(f32::of).collect()
    }
}

impl ConfigValue for Vec<String> {
    const EXPECTED: &'static str = "a list of texts";

    fn of(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(String::of).collect()
    }
}

impl ConfigValue for Map<String, Value> {
    const EXPECTED: &'static str = "an object";

    fn of(value: &Value) -> Option<Self> {
        value.as_object().cloned()
    }
}

impl ConfigValue for Value {
    const EXPECTED: &'static str = "a value";

    fn of(value: &Value) -> Option<Self> {
        (!value.is_null()).then(|| value.clone())
    }
}

/// A value given once for all blocks, or block by block.
#[derive(Clone, Debug)]
pub enum OneOrMany {
    /// One for all.
    One(usize),
    /// One for each.
    Many(Vec<usize>),
}

impl OneOrMany {
    /// One for each of `blocks`.
    pub fn for_each_of(self, blocks: usize) -> Vec<usize> {
        match self {
            Self::One(value) => vec![value; blocks],
            Self::Many(values) => values,
        }
    }
}

impl ConfigValue for OneOrMany {
    const EXPECTED: &'static str = "a whole number or a list of them";

    fn of(value: &Value) -> Option<Self> {
        let many = || <Vec<usize>>::of(value).map(Self::Many);
        usize::of(value).map(Self::One).or_else(many)
    }
}
