//! Every prompt that the default model's grammar offers for a category, in an order that nobody chose.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::prompts::{Category, digest};

/// `grammar.json` of the default model, as far as candidates need it.
#[derive(Deserialize)]
pub struct Grammar {
    nouns: BTreeMap<String, Noun>,
    colors: BTreeMap<String, serde::de::IgnoredAny>,
    numbers: BTreeMap<String, Vec<String>>,
    places: BTreeMap<String, Vec<String>>,
    relations: BTreeMap<String, Vec<String>>,
    /// Of a model of clips.
    #[serde(default)]
    motions: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Noun {
    singular: String,
    plural: String,
    natural_color: String,
}

impl Grammar {
    /// Reads `grammar.json`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no grammar", path.display()))
    }

    /// The categories of its prompts.
    pub fn categories(&self) -> [Category; 4] {
        if self.motions.is_empty() { Category::ALL } else { Category::CLIPS }
    }

    /// The candidates of `category` in the order in which they are tried: by SHA-256 of `salt` and their text, and where a
    /// category has several patterns, one of each in turn.
    pub fn candidates(&self, category: Category, salt: &str) -> Vec<String> {
        let mut patterns = match category {
            _ if !self.motions.is_empty() => vec![self.moving(category)],
            Category::Colour => vec![self.odd_colours()],
            Category::Composition => vec![self.pairs(), self.relations(), self.coloured_pairs()],
            Category::Count => vec![self.counts()],
            Category::Location => vec![self.locations()],
            // Motions are of clips; GenEval has a list of its own.
            _ => Vec::new(),
        };
        patterns
            .iter_mut()
            .for_each(|texts| texts.sort_by_cached_key(|text| digest(&format!("{salt}{text}"))));
        let longest = patterns.iter().map(Vec::len).max().unwrap_or_default();
        (0..longest).flat_map(|at| patterns.iter().filter_map(move |texts| texts.get(at).cloned())).collect()
    }

    /// "a green dog", for every colour but the noun's own.
    fn odd_colours(&self) -> Vec<String> {
        self.nouns.values().flat_map(|noun| self.odd_colours_of(noun)).collect()
    }

    fn odd_colours_of(&self, noun: &Noun) -> Vec<String> {
        let odd = self.colors.keys().filter(|color| **color != noun.natural_color);
        odd.map(|color| with_article(&format!("{color} {}", noun.singular))).collect()
    }

    /// "a dog and a cat".
    fn pairs(&self) -> Vec<String> {
        self.ordered_pairs(|first, second| {
            vec![format!("{} and {}", with_article(&first.singular), with_article(&second.singular))]
        })
    }

    /// "a dog to the left of a cat".
    fn relations(&self) -> Vec<String> {
        let words: Vec<&String> = self.relations.values().filter_map(|words| words.first()).collect();
        self.ordered_pairs(|first, second| {
            let (first, second) = (with_article(&first.singular), with_article(&second.singular));
            words.iter().map(|relation| format!("{first} {relation} {second}")).collect()
        })
    }

    /// "a red book and a yellow vase", where at least one colour is not the noun's own.
    fn coloured_pairs(&self) -> Vec<String> {
        self.ordered_pairs(|first, second| {
            let own = with_article(&format!("{} {}", second.natural_color, second.singular));
            let others = self.odd_colours_of(second).into_iter().chain([own]).collect::<Vec<_>>();
            let firsts = self.odd_colours_of(first);
            firsts
                .iter()
                .flat_map(|one| others.iter().map(move |other| format!("{one} and {other}")))
                .collect()
        })
    }

    /// "four pandas".
    fn counts(&self) -> Vec<String> {
        let words = ["3", "4", "5"].into_iter().filter_map(|number| self.numbers.get(number)?.first());
        words
            .flat_map(|word| self.nouns.values().map(move |noun| format!("{word} {}", noun.plural)))
            .collect()
    }

    /// "a dog on the moon".
    fn locations(&self) -> Vec<String> {
        let places: Vec<&String> = self.places.values().filter_map(|words| words.first()).collect();
        let everywhere = |noun: &Noun| {
            let thing = with_article(&noun.singular);
            places.iter().map(|place| format!("{thing} {place}")).collect::<Vec<_>>()
        };
        self.nouns.values().flat_map(everywhere).collect()
    }

    /// "a green dog falling", "a dog and a cat falling", "a dog falling on the moon" or "a dog falling", for every motion.
    fn moving(&self, category: Category) -> Vec<String> {
        let things: Vec<(String, &str)> = match category {
            Category::Colour => self.odd_colours().into_iter().map(|thing| (thing, "")).collect(),
            Category::Composition => self.pairs().into_iter().map(|things| (things, "")).collect(),
            Category::Location | Category::Motion => {
                let places: Vec<&str> = match category {
                    Category::Motion => vec![""],
                    _ => self.places.values().filter_map(|words| words.first().map(String::as_str)).collect(),
                };
                let everywhere = |noun: &Noun| {
                    let thing = with_article(&noun.singular);
                    places.iter().map(|place| (thing.clone(), *place)).collect::<Vec<_>>()
                };
                self.nouns.values().flat_map(everywhere).collect()
            }
            _ => Vec::new(),
        };
        let motions: Vec<&String> = self.motions.values().filter_map(|words| words.first()).collect();
        let text = |(thing, place): &(String, &str), motion: &str| {
            format!("{thing} {motion} {place}").trim_end().to_owned()
        };
        things.iter().flat_map(|one| motions.iter().map(move |motion| text(one, motion))).collect()
    }

    fn ordered_pairs(&self, texts: impl Fn(&Noun, &Noun) -> Vec<String>) -> Vec<String> {
        let nouns: Vec<&Noun> = self.nouns.values().collect();
        let others = |at: usize| nouns.iter().enumerate().filter(move |(other, _)| *other != at);
        nouns
            .iter()
            .enumerate()
            .flat_map(|(at, first)| {
                others(at).flat_map(|(_, second)| texts(first, second)).collect::<Vec<_>>()
            })
            .collect()
    }
}

fn with_article(text: &str) -> String {
    let article = if text.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grammar() -> Grammar {
        serde_json::from_value(serde_json::json!({
            "nouns": {
                "dog": {"singular": "dog", "plural": "dogs", "natural_color": "brown"},
                "owl": {"singular": "owl", "plural": "owls", "natural_color": "brown"}
            },
            "colors": {"brown": {"words": ["brown"]}, "orange": {"words": ["orange"]}},
            "numbers": {"1": ["a"], "3": ["three", "3"]},
            "places": {"moon": ["on the moon", "on a moon"]},
            "relations": {"left": ["to the left of", "left of"]}
        }))
        .unwrap()
    }

    #[test]
    fn each_category_has_its_patterns() {
        let sorted = |category| {
            let mut texts = grammar().candidates(category, "");
            texts.sort();
            texts
        };
        assert_eq!(sorted(Category::Colour), ["an orange dog", "an orange owl"]);
        assert_eq!(sorted(Category::Count), ["three dogs", "three owls"]);
        assert_eq!(sorted(Category::Location), ["a dog on the moon", "an owl on the moon"]);
        assert_eq!(
            sorted(Category::Composition),
            [
                "a dog and an owl",
                "a dog to the left of an owl",
                "an orange dog and a brown owl",
                "an orange dog and an orange owl",
                "an orange owl and a brown dog",
                "an orange owl and an orange dog",
                "an owl and a dog",
                "an owl to the left of a dog",
            ]
        );
    }

    #[test]
    fn in_clips_things_move() {
        let mut grammar = grammar();
        assert_eq!(grammar.categories(), Category::ALL);
        grammar.motions = [("up".to_owned(), vec!["moving up".to_owned(), "rising".to_owned()])].into();
        assert_eq!(grammar.categories(), Category::CLIPS);
        let sorted = |category| {
            let mut texts = grammar.candidates(category, "");
            texts.sort();
            texts
        };
        assert_eq!(sorted(Category::Colour), ["an orange dog moving up", "an orange owl moving up"]);
        assert_eq!(sorted(Category::Motion), ["a dog moving up", "an owl moving up"]);
        assert_eq!(
            sorted(Category::Location),
            ["a dog moving up on the moon", "an owl moving up on the moon"]
        );
        assert_eq!(
            sorted(Category::Composition),
            ["a dog and an owl moving up", "an owl and a dog moving up"]
        );
    }

    #[test]
    fn a_salt_changes_the_order_alone() {
        let plain = grammar().candidates(Category::Location, "");
        // There are few candidates, so one salt may leave their order as it is.
        let mut salted = ["a", "b", "c", "d", "e", "f", "g", "h"]
            .map(|salt| grammar().candidates(Category::Location, salt));
        assert!(salted.iter().any(|candidates| *candidates != plain));
        for candidates in &mut salted {
            candidates.sort_by_cached_key(|text| digest(text));
            assert_eq!(*candidates, plain);
        }
    }

    #[test]
    fn patterns_take_turns() {
        let first = grammar().candidates(Category::Composition, "");
        assert!(!first[0].contains("left") && first[1].contains("left") && first[2].contains("orange"));
    }
}
