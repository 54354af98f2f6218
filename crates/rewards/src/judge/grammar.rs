//! Reads a prompt of the default model's world: nouns with counts and colours, a place, a relation, and a motion where the
//! grammar has them.
//!
//! Reference: `pretrain/specification.py` and, for motions, `pretrain/video_judge.py`. All words come from `grammar.json` beside the judge's weights.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

use super::motion::Motion;

/// `grammar.json`, as far as a judge needs it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct GrammarFile {
    places: BTreeMap<String, Vec<String>>,
    relations: BTreeMap<Relation, Vec<String>>,
    numbers: BTreeMap<String, Vec<String>>,
    colors: BTreeMap<String, ColorEntry>,
    sizes: BTreeMap<String, Vec<String>>,
    nouns: BTreeMap<String, NounEntry>,
    #[serde(default)]
    conjunctions: Vec<String>,
    #[serde(default)]
    fillers: Vec<String>,
    #[serde(default)]
    motions: BTreeMap<Motion, Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
struct ColorEntry {
    words: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct NounEntry {
    singular: String,
    plural: String,
    #[serde(default)]
    synonyms: Vec<[String; 2]>,
}

/// How the first noun lies to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// The first is left of the second.
    Left,
    /// The first is right of the second.
    Right,
    /// The first is above the second.
    Above,
    /// The first is below the second.
    Below,
}

/// A group of equal objects that the prompt asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The noun, by its name in the grammar.
    pub noun: String,
    /// How many of them, at least 1.
    pub count: usize,
    /// Their colour, where one is named.
    pub color: Option<String>,
    /// Their size, where one is named; no judge checks it.
    pub size: Option<String>,
}

/// What a prompt asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Specification {
    /// The groups of objects; with a relation, its two sides come first.
    pub nouns: Vec<Asked>,
    /// The place, where one is named.
    pub place: Option<String>,
    /// How the first group lies to the second, where that is said.
    pub relation: Option<Relation>,
}

#[derive(Clone, Debug)]
enum Meaning {
    Place(String),
    Relation(Relation),
    Number(usize),
    Color(String),
    Size(String),
    Noun(String),
}

/// The phrases of the world and what they mean.
#[derive(Clone, Debug)]
pub struct Grammar {
    phrases: HashMap<Vec<String>, Meaning>,
    /// Every word of every phrase; a word outside of it says something that the judge cannot check.
    words: HashSet<String>,
    longest: usize,
    /// Phrases of motions, their words joined by spaces.
    motions: Vec<(String, Motion)>,
}

impl Grammar {
    /// Collects the phrases; where two classes share one, the earlier of place, relation, number, colour, size and
    /// noun has it. The error says what is wrong with the file.
    pub(super) fn new(file: GrammarFile) -> Result<Self, String> {
        let mut grammar =
            Self { phrases: HashMap::new(), words: HashSet::new(), longest: 0, motions: Vec::new() };
        for (place, texts) in file.places {
            grammar.add(&texts, &Meaning::Place(place));
        }
        for (relation, texts) in file.relations {
            grammar.add(&texts, &Meaning::Relation(relation));
        }
        for (number, texts) in file.numbers {
            let count = number
                .parse()
                .ok()
                .filter(|&count: &usize| count > 0)
                .ok_or_else(|| format!("expected a number above 0 in `numbers`, found {number}"))?;
            grammar.add(&texts, &Meaning::Number(count));
        }
        for (color, entry) in file.colors {
            grammar.add(&entry.words, &Meaning::Color(color));
        }
        for (size, texts) in file.sizes {
            grammar.add(&texts, &Meaning::Size(size));
        }
        for (noun, entry) in file.nouns {
            let mut texts = vec![entry.singular, entry.plural];
            texts.extend(entry.synonyms.into_iter().flatten());
            grammar.add(&texts, &Meaning::Noun(noun));
        }
        for text in file.conjunctions.iter().chain(&file.fillers) {
            grammar.words.extend(words(text));
        }
        for (motion, texts) in file.motions {
            for text in texts {
                let phrase = words(&text);
                grammar.motions.push((phrase.join(" "), motion));
                grammar.words.extend(phrase);
            }
        }
        Ok(grammar)
    }

    fn add(&mut self, texts: &[String], meaning: &Meaning) {
        for text in texts {
            let phrase = words(text);
            if phrase.is_empty() {
                continue;
            }
            self.words.extend(phrase.iter().cloned());
            self.longest = self.longest.max(phrase.len());
            self.phrases.entry(phrase).or_insert_with(|| meaning.clone());
        }
    }

    /// What the prompt asks for, read from left to right, the longest phrase first; other words are skipped.
    pub fn parse(&self, prompt: &str) -> Specification {
        let words = words(prompt);
        let (mut specification, mut relation_at) = (Specification::default(), 0);
        let (mut number, mut color, mut size) = (None, None, None);
        let mut at = 0;
        while at < words.len() {
            let phrase = (1..=self.longest.min(words.len() - at))
                .rev()
                .find_map(|length| Some((length, self.phrases.get(&words[at..at + length])?)));
            let Some((length, meaning)) = phrase else {
                at += 1;
                continue;
            };
            match meaning {
                Meaning::Place(place) => {
                    specification.place.get_or_insert_with(|| place.clone());
                }
                Meaning::Relation(relation) => {
                    if specification.relation.is_none() && !specification.nouns.is_empty() {
                        specification.relation = Some(*relation);
                        relation_at = specification.nouns.len();
                    }
                }
                Meaning::Number(value) => number = Some(*value),
                Meaning::Color(value) => color = Some(value.clone()),
                Meaning::Size(value) => size = Some(value.clone()),
                Meaning::Noun(noun) => specification.nouns.push(Asked {
                    noun: noun.clone(),
                    count: number.take().unwrap_or(1),
                    color: color.take(),
                    size: size.take(),
                }),
            }
            at += length;
        }
        if specification.relation.is_some() {
            if relation_at < specification.nouns.len() {
                // The relation holds between the noun just before it and the noun just after it.
                specification.nouns[..=relation_at].rotate_right(2);
            } else {
                specification.relation = None;
            }
        }
        specification
    }

    /// The motion that the prompt asks for: that of its longest phrase of a motion.
    pub fn motion(&self, prompt: &str) -> Option<Motion> {
        let prompt = format!(" {} ", words(prompt).join(" "));
        let found = self.motions.iter().filter(|(phrase, _)| prompt.contains(&format!(" {phrase} ")));
        // Of equally long phrases the one whose motion has the last name, as in the reference.
        found.max_by_key(|(phrase, motion)| (phrase.len(), motion.name())).map(|(_, motion)| *motion)
    }

    /// Words of the prompt that the grammar does not know, in order.
    pub fn unknown_words(&self, prompt: &str) -> Vec<String> {
        words(prompt).into_iter().filter(|word| !self.words.contains(word)).collect()
    }
}

/// Lower-case runs of the letters a to z and the digits.
fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|letter: char| !letter.is_ascii_lowercase() && !letter.is_ascii_digit())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grammar() -> Grammar {
        let file = serde_json::json!({
            "places": {"sky": ["in the sky"], "grass": ["on the grass"]},
            "relations": {"left": ["left of"], "above": ["above", "over"]},
            "numbers": {"1": ["a", "one"], "4": ["four"]},
            "colors": {"green": {"words": ["green"]}, "red": {"words": ["red"]}},
            "sizes": {"small": ["tiny"]},
            "nouns": {
                "dog": {"singular": "dog", "plural": "dogs", "synonyms": [["puppy", "puppies"]]},
                "fire truck": {"singular": "fire truck", "plural": "fire trucks"},
                "sky": {"singular": "sky", "plural": "skies"}
            },
            "fillers": ["there is", "running"]
        });
        Grammar::new(serde_json::from_value(file).expect("a grammar")).expect("its numbers are numbers")
    }

    fn asked(noun: &str, count: usize, color: Option<&str>) -> Asked {
        Asked { noun: noun.to_owned(), count, color: color.map(str::to_owned), size: None }
    }

    #[test]
    fn counts_and_colours_wait_for_their_noun() {
        let found = grammar().parse("Four GREEN puppies, and a red fire-truck!");
        assert_eq!(found.nouns, [asked("dog", 4, Some("green")), asked("fire truck", 1, Some("red"))]);
        assert_eq!((found.place, found.relation), (None, None));
    }

    #[test]
    fn a_noun_inside_a_place_belongs_to_the_place() {
        let found = grammar().parse("dogs in the sky on the grass");
        assert_eq!(found.nouns, [asked("dog", 1, None)]);
        assert_eq!(found.place.as_deref(), Some("sky"));
    }

    #[test]
    fn a_relation_brings_its_two_sides_to_the_front() {
        let found = grammar().parse("a red dog, a green dog above a fire truck, a sky");
        let expected = [
            asked("dog", 1, Some("green")),
            asked("fire truck", 1, None),
            asked("dog", 1, Some("red")),
            asked("sky", 1, None),
        ];
        assert_eq!(found.nouns, expected);
        assert_eq!(found.relation, Some(Relation::Above));
        for one_sided in ["above a dog", "a dog above", "a dog left of green"] {
            assert_eq!(grammar().parse(one_sided).relation, None, "{one_sided}");
        }
    }

    #[test]
    fn what_the_grammar_does_not_know_is_named() {
        assert_eq!(grammar().unknown_words("There is a dog, running on the grass"), [""; 0]);
        assert_eq!(grammar().unknown_words("a dog with a hat"), ["with", "hat"]);
        assert_eq!(grammar().parse("ein Hund").nouns, []);
    }
}
