//! `scheduler_config.json`: a scheduler's class and its parameters, with the rules of `ConfigMixin.from_config` of
//! diffusers 0.42.1.
//!
//! An absent key has the default of the class; `null` is a value of its own and means what Python's `None` means there.

use noisefind_nn::error::{Error, Result};
use noisefind_nn::files::ModelFiles;
use serde_json::{Map, Value};

use super::{PredictionType, SchedulerChoice, SchedulerClass};
use crate::model_index::ModelIndex;

/// Where the config lies in a model folder.
const FILE: &str = "scheduler/scheduler_config.json";
/// What the index calls it.
const PART: &str = "scheduler";

/// A config file as it was read, before a class is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerFile {
    file: String,
    class_name: String,
    /// The file and the key that name the class.
    named_by: (String, &'static str),
    keys: Map<String, Value>,
    repaired: Map<String, Value>,
}

impl SchedulerFile {
    /// Reads `scheduler/scheduler_config.json`. The class is the one that `model_index.json` names, or else that of the file.
    ///
    /// # Errors
    /// Where the file is absent or damaged, or no class is named.
    pub fn read(model: &ModelFiles, index: &ModelIndex) -> Result<Self> {
        let class = index.class_of(PART).map(|class| (model.display(ModelIndex::FILE), class));
        Self::of(model.display(FILE), model.read_json(FILE)?, class)
    }

    /// As [`Self::read`], of keys that are read already; `file` names them in messages, and `index` is the file that
    /// decides about the class, with the class.
    ///
    /// # Errors
    /// Where no class is named.
    pub(super) fn of(file: String, keys: Map<String, Value>, index: Option<(String, &str)>) -> Result<Self> {
        const KEY: &str = "_class_name";
        let (named_by, class_name) = match (index, keys.get(KEY).and_then(Value::as_str)) {
            (Some((index, class)), _) => ((index, PART), class.to_owned()),
            (None, Some(class)) => ((file.clone(), KEY), class.to_owned()),
            (None, None) => {
                let expected = "the class of the scheduler".into();
                return Err(Error::Config { file, key: KEY, found: "absent".into(), expected });
            }
        };
        Ok(Self { file, class_name, named_by, keys, repaired: Map::new() })
    }

    /// The class that the folder names.
    pub fn class_name(&self) -> &str {
        &self.class_name
    }

    /// The value that the folder's own scheduler has for a key, where its class has the key.
    pub fn value(&self, key: &str) -> Option<Value> {
        self.own().ok()?.get(key)
    }

    /// Changes a value as pipelines of diffusers do while they load. A key that the file does not hold is changed for
    /// the folder's own class only, since `from_config` does not hand defaults over.
    pub fn repair(&mut self, key: &str, value: Value) {
        let keys = if self.keys.contains_key(key) { &mut self.keys } else { &mut self.repaired };
        keys.insert(key.to_owned(), value);
    }

    /// The config of the chosen class, or else of the folder's own.
    ///
    /// # Errors
    /// As [`Self::chosen`] and [`Self::own`].
    pub fn selected(&self, choice: Option<&SchedulerChoice>) -> Result<SchedulerConfig> {
        choice.map_or_else(|| self.own(), |choice| self.chosen(choice))
    }

    /// The config of the folder's own class.
    ///
    /// # Errors
    /// Where the class is not implemented.
    pub fn own(&self) -> Result<SchedulerConfig> {
        let class = SchedulerClass::of_name(&self.class_name).ok_or_else(|| Error::Config {
            file: self.named_by.0.clone(),
            key: self.named_by.1,
            found: self.class_name.clone(),
            expected: format!("one of {}; or choose with --scheduler", SchedulerClass::class_names()),
        })?;
        let mut keys = self.keys.clone();
        keys.extend(self.repaired.clone());
        Ok(SchedulerConfig { class, file: self.file.clone(), keys })
    }

    /// The config that `choice.from_config(scheduler.config)` gives, of the folder's own scheduler.
    ///
    /// # Errors
    /// Where the chosen scheduler is not defined for what this model predicts.
    pub fn chosen(&self, choice: &SchedulerChoice) -> Result<SchedulerConfig> {
        let own = self.own().ok();
        let mut keys = self.keys.clone();
        if let Some(own) = &own {
            own.class.adopt_aliases(&mut keys);
        }
        keys.extend(choice.overrides.clone());
        let config = SchedulerConfig { class: choice.class, file: self.file.clone(), keys };
        let predicted = match &own {
            Some(own) if !choice.overrides.contains_key("prediction_type") => own.prediction(),
            _ => config.named_prediction(),
        };
        let Ok(predicted) = predicted else { return Ok(config) };
        if choice.class.defined_for(predicted) && config.prediction().is_ok_and(|found| found == predicted) {
            return Ok(config);
        }
        let defined: Vec<&str> = SchedulerClass::all()
            .iter()
            .filter(|class| class.defined_for(predicted))
            .map(|class| class.name)
            .collect();
        Err(Error::Option {
            option: "scheduler",
            found: choice.to_string(),
            expected: format!(
                "one that is defined for a model that predicts {predicted}: {}",
                defined.join(", ")
            ),
        })
    }
}

/// The config of one class.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    class: &'static SchedulerClass,
    file: String,
    /// The keys of the file, those of other classes among them.
    keys: Map<String, Value>,
}

impl SchedulerConfig {
    /// The class.
    pub fn class(&self) -> &'static SchedulerClass {
        self.class
    }

    /// The value of a key of the class; of a key of another class where the file holds it.
    pub(super) fn get(&self, key: &str) -> Option<Value> {
        if let Some(value) = self.keys.get(key) {
            return Some(self.class.alias_of(key, value).unwrap_or_else(|| value.clone()));
        }
        let (_, default) = self.class.parameters.iter().find(|(name, _)| *name == key)?;
        Some(serde_json::from_str(default).expect("the defaults are JSON"))
    }

    /// The value of a key as the file holds it, before the class takes it for one of its own.
    pub(super) fn as_given(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// What the denoiser's output means for this class.
    ///
    /// # Errors
    /// Where the class is not defined for it.
    pub fn prediction(&self) -> Result<PredictionType> {
        let prediction = match self.class.predictions {
            // The key of these classes says how output and sample are combined, and not what the output is.
            [PredictionType::Edm] => PredictionType::Edm,
            [PredictionType::Flow] => PredictionType::Flow,
            _ => self.named_prediction()?,
        };
        if self.class.defined_for(prediction) {
            return Ok(prediction);
        }
        let expected: Vec<&str> = self.class.predictions.iter().map(|prediction| prediction.name()).collect();
        Err(self.invalid("prediction_type", prediction, expected.join(" or ")))
    }

    /// The value of `prediction_type`.
    fn named_prediction(&self) -> Result<PredictionType> {
        use PredictionType::{Epsilon, Flow, Sample, VPrediction};
        let found = self.get("prediction_type").unwrap_or_else(|| "epsilon".into());
        let known = [Epsilon, Sample, VPrediction, Flow];
        known.into_iter().find(|known| found == known.name()).ok_or_else(|| {
            self.invalid("prediction_type", found, "epsilon, sample, v_prediction or flow_prediction")
        })
    }

    /// A number.
    pub(super) fn number(&self, key: &'static str) -> Result<f64> {
        let value = self.get(key).unwrap_or(Value::Null);
        as_number(&value).ok_or_else(|| self.invalid(key, value, "a number"))
    }

    /// A finite number.
    pub(super) fn finite(&self, key: &'static str) -> Result<f64> {
        let number = self.number(key)?;
        self.check(key, number.is_finite(), number, "a finite number")?;
        Ok(number)
    }

    /// A number, or `None` for `null` and where the file does not hold the key.
    pub(super) fn optional_number(&self, key: &'static str) -> Result<Option<f64>> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                as_number(&value).map(Some).ok_or_else(|| self.invalid(key, value, "a number or null"))
            }
        }
    }

    /// A whole number from `minimum` to `maximum`.
    pub(super) fn whole(&self, key: &'static str, minimum: usize, maximum: usize) -> Result<usize> {
        let value = self.get(key).unwrap_or(Value::Null);
        let found = value.as_u64().and_then(|number| usize::try_from(number).ok());
        found
            .filter(|number| (minimum..=maximum).contains(number))
            .ok_or_else(|| self.invalid(key, value, format!("a whole number from {minimum} to {maximum}")))
    }

    /// Whether a value holds in a condition, as Python tells: not for `null`, `false`, 0 and what is empty.
    pub(super) fn flag(&self, key: &'static str) -> bool {
        match self.get(key).unwrap_or(Value::Null) {
            Value::Null => false,
            Value::Bool(value) => value,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(values) => !values.is_empty(),
            Value::Object(values) => !values.is_empty(),
        }
    }

    /// A truth value that may not be `null`.
    pub(super) fn strict_flag(&self, key: &'static str) -> Result<bool> {
        match self.get(key) {
            Some(Value::Bool(value)) => Ok(value),
            found => Err(self.invalid(key, found.unwrap_or(Value::Null), "true or false")),
        }
    }

    /// One of these texts, by its place among them.
    pub(super) fn one_of(&self, key: &'static str, texts: &[&str]) -> Result<usize> {
        let value = self.get(key).unwrap_or(Value::Null);
        texts
            .iter()
            .position(|text| value == *text)
            .ok_or_else(|| self.invalid(key, value, texts.join(" or ")))
    }

    /// A list of numbers, or `None` for `null`.
    pub(super) fn optional_numbers(&self, key: &'static str) -> Result<Option<Vec<f64>>> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let numbers = value.as_array().and_then(|list| list.iter().map(as_number).collect());
                numbers.map(Some).ok_or_else(|| self.invalid(key, value, "a list of numbers or null"))
            }
        }
    }

    /// Refuses a key whose mathematics is not implemented, unless its value switches it off.
    pub(super) fn not_implemented(&self, keys: &[&'static str]) -> Result<()> {
        for key in keys {
            let value = self.get(key).unwrap_or(Value::Null);
            self.check(key, !self.flag(key), value, "null or false; others are not implemented")?;
        }
        Ok(())
    }

    pub(super) fn check(
        &self,
        key: &'static str,
        holds: bool,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Result<()> {
        if holds { Ok(()) } else { Err(self.invalid(key, found, expected)) }
    }

    pub(super) fn invalid(
        &self,
        key: &'static str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Error {
        Error::Config { file: self.file.clone(), key, found: found.to_string(), expected: expected.into() }
    }
}

/// A number of Python's JSON, which may also be one that JSON does not have: the reader keeps those as texts.
fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}
