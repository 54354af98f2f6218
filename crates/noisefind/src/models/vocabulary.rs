//! Words that a model never saw in training, with the closest ones that it knows.

use std::collections::BTreeSet;

use noisefind_diffusion::ModelFiles;

/// Where a model folder may list the words it was trained on: a JSON array in lower case.
const FILE: &str = "tokenizer/known_words.json";

/// One sentence about the words of `prompt` that the model does not know; `None` where it knows all, or does
/// not say which it knows.
pub fn unknown_words_warning(files: &ModelFiles, prompt: &str) -> Option<String> {
    let known: BTreeSet<String> = serde_json::from_slice(&files.read(FILE).ok()?).ok()?;
    warning(&known, prompt)
}

fn warning(known: &BTreeSet<String>, prompt: &str) -> Option<String> {
    let mut unknown = Vec::<String>::new();
    for word in prompt.split(|character: char| !character.is_alphanumeric() && character != '\'') {
        let word = word.to_lowercase();
        if !word.is_empty() && !known.contains(&word) && !unknown.contains(&word) {
            unknown.push(word);
        }
    }
    if unknown.is_empty() {
        return None;
    }
    let described = unknown.iter().map(|word| match closest(known, word).as_slice() {
        [] => format!("{word:?}"),
        closest => format!("{word:?} (closest known: {})", closest.join(", ")),
    });
    let described = described.collect::<Vec<_>>().join(", ");
    Some(format!("the model never saw {described} in training, so these words mean little to it"))
}

/// At most three known words that are spelled much like `word`, the closest first.
fn closest<'a>(known: &'a BTreeSet<String>, word: &str) -> Vec<&'a str> {
    let mut scored = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(candidate, word), candidate.as_str()))
        .filter(|(similarity, _)| *similarity > 0.8)
        .collect::<Vec<_>>();
    scored.sort_by(|one, two| two.0.total_cmp(&one.0));
    scored.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_unknown_words_once_with_the_closest_known() {
        let known = ["a", "dog", "dogs", "green", "on", "the", "moon"].map(str::to_owned).into();
        assert_eq!(warning(&known, "A green dog, on the moon."), None);
        assert_eq!(
            warning(&known, "a grean doge on the grean xylophone").unwrap(),
            "the model never saw \"grean\" (closest known: green), \"doge\" (closest known: dog, dogs), \
             \"xylophone\" in training, so these words mean little to it"
        );
    }
}
