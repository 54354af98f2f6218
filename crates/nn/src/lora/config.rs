//! The factors of PEFT's configs: `adapter_config.json`, or the header that newer diffusers writes.
//!
//! Reference: `LoraLayer.update_layer` and `get_pattern_key` of PEFT 0.21. A pattern is a regular expression for the end of a
//! module's name; the first that fits counts, in the order of the file.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::names::PARTS;
use crate::error::{Error, Result};
use crate::json;

/// What PEFT takes where a config does not say it.
const DEFAULT: f64 = 8.0;

/// The factors of the modules of one part, or of all parts.
#[derive(Debug)]
pub(super) struct Factors {
    /// The part; `None` stands for whichever the adapter is of.
    part: Option<&'static str>,
    rank: f64,
    alpha: f64,
    ranks: Vec<(Regex, f64)>,
    alphas: Vec<(Regex, f64)>,
    /// Whether alpha is divided by the root of the rank.
    rooted: bool,
}

impl Factors {
    /// Reads a config; `file` names it in messages.
    ///
    /// # Errors
    /// Where it is no JSON, or a pattern is no regular expression.
    pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Vec<Self>> {
        let failed = |source| Error::Json { file: file.to_owned(), source };
        let Node::Object(entries) = json::from_slice(bytes).map_err(failed)? else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for part in PARTS.map(Some).into_iter().chain([None]) {
            let prefix = part.map_or(String::new(), |part| format!("{part}."));
            let own = |key: &str| {
                let key = format!("{prefix}{key}");
                entries.iter().find(|(name, _)| *name == key).map(|(_, node)| node)
            };
            let number = |key: &str| own(key).and_then(Node::number);
            // Low-rank adapters call it `lora_alpha`, Hadamard and Kronecker products `alpha`.
            let (rank, alpha) = (number("r"), number("lora_alpha").or_else(|| number("alpha")));
            if rank.is_none() && alpha.is_none() {
                continue;
            }
            let patterns =
                |key: &'static str| own(key).map_or(Ok(Vec::new()), |node| patterns(file, key, node));
            all.push(Self {
                part,
                rank: rank.unwrap_or(DEFAULT),
                alpha: alpha.unwrap_or(DEFAULT),
                ranks: patterns("rank_pattern")?,
                alphas: patterns("alpha_pattern")?,
                rooted: matches!(own("use_rslora"), Some(Node::Bool(true))),
            });
        }
        Ok(all)
    }

    /// Whether these are the factors of the modules of `part`.
    pub(super) fn are_of(&self, part: &str) -> bool {
        self.part.is_none_or(|own| own == part)
    }

    /// The rank of the module that has these names, as the config states it.
    pub(super) fn rank(&self, names: &[String]) -> f64 {
        first(&self.ranks, names).unwrap_or(self.rank)
    }

    /// What the change of the module that has these names is multiplied with.
    pub(super) fn factor(&self, names: &[String]) -> f32 {
        let (alpha, rank) = (first(&self.alphas, names).unwrap_or(self.alpha), self.rank(names));
        (alpha / if self.rooted { rank.sqrt() } else { rank }) as f32
    }
}

/// The number of the first pattern that fits one of the names.
fn first(patterns: &[(Regex, f64)], names: &[String]) -> Option<f64> {
    let fits = |(pattern, _): &&(Regex, f64)| names.iter().any(|name| pattern.is_match(name));
    patterns.iter().find(fits).map(|(_, number)| *number)
}

fn patterns(file: &str, key: &'static str, node: &Node) -> Result<Vec<(Regex, f64)>> {
    let Node::Object(entries) = node else { return Ok(Vec::new()) };
    let pattern = |(pattern, number): &(String, Node)| {
        let found = || (file.to_owned(), pattern.clone());
        let invalid = |expected: &str| {
            let (file, found) = found();
            Error::Config { file, key, found, expected: expected.to_owned() }
        };
        let regex = RegexBuilder::new(&format!(r"^(.*\.)?({pattern})$"))
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(PATTERN_BYTES)
            .build()
            .map_err(|_| invalid("a regular expression for names of modules"))?;
        Ok((regex, number.number().ok_or_else(|| invalid("a number for the pattern"))?))
    };
    entries.iter().map(pattern).collect()
}

/// What a compiled pattern may take. A name of a module takes a few thousand bytes; repetitions of repetitions, which a file
/// from somewhere may hold by the thousand, take megabytes each.
const PATTERN_BYTES: usize = 1 << 16;

/// A JSON value whose keys keep the order of the file.
enum Node {
    Object(Vec<(String, Node)>),
    Number(f64),
    Bool(bool),
    Other,
}

impl Node {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct NodeVisitor;

        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Object(entries))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Node, A::Error> {
                while seq.next_element::<Node>()?.is_some() {}
                Ok(Node::Other)
            }

            fn visit_bool<E>(self, value: bool) -> std::result::Result<Node, E> {
                Ok(Node::Bool(value))
            }

            fn visit_f64<E>(self, value: f64) -> std::result::Result<Node, E> {
                Ok(Node::Number(value))
            }

            fn visit_i64<E>(self, value: i64) -> std::result::Result<Node, E> {
                Ok(Node::Number(value as f64))
            }

            fn visit_u64<E>(self, value: u64) -> std::result::Result<Node, E> {
                Ok(Node::Number(value as f64))
            }

            fn visit_str<E>(self, _: &str) -> std::result::Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_unit<E>(self) -> std::result::Result<Node, E> {
                Ok(Node::Other)
            }
        }

        deserializer.deserialize_any(NodeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Factors> {
        Factors::read("adapter_config.json", text.as_bytes()).unwrap()
    }

    #[test]
    fn the_first_pattern_of_the_file_counts() {
        let all = read(
            r#"{"r": 4, "lora_alpha": 8, "use_rslora": false,
                "rank_pattern": {"to_q": 2}, "alpha_pattern": {"z.*": 1, "attn1\\.to_[qk]": 6, "to_q": 3, "^mid": 5}}"#,
        );
        let [factors] = &all[..] else { panic!("one config") };
        assert!(factors.are_of("unet") && factors.are_of("text_encoder"));
        let factor = |name: &str| factors.factor(&[name.to_owned()]);
        assert_eq!(factor("mid.attn1.to_q"), 3.0);
        assert_eq!(factor("mid.attn2.to_q"), 1.5);
        assert_eq!(factor("mid.attn1.to_k"), 1.5);
        assert_eq!(factor("mid.attn1.to_v"), 2.0);
        // A pattern has to fit from a dot to the end.
        assert_eq!(factor("mid.attn2.auto_q"), 2.0);
        assert_eq!(factor("mid"), 1.25);
    }

    #[test]
    fn each_part_has_its_own_factors() {
        let all =
            read(r#"{"unet.r": 4, "unet.lora_alpha": 8, "unet.use_rslora": true, "text_encoder.r": 2}"#);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].factor(&[]), 4.0);
        assert!(all[0].are_of("unet") && !all[0].are_of("text_encoder"));
        assert_eq!(all[1].factor(&[]), 4.0);
        assert!(read(r#"{"format": "pt"}"#).is_empty());
        let error = Factors::read("f", br#"{"r": 1, "alpha_pattern": {"(": 1}}"#).unwrap_err().to_string();
        assert_eq!(error, "f: alpha_pattern is (, expected a regular expression for names of modules");
    }
}
