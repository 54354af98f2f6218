//! What open_clip does to a prompt before it splits it into tokens: `whitespace_clean(basic_clean(text)).lower()`.
//!
//! Reference: `open_clip/tokenizer.py` 3.3 with ftfy 6.3 and Python's `html.unescape`. Everything of `ftfy.fix_text` is here
//! except its repair of text that was decoded with a wrong encoding (`Ã©` for `é`), which is a statistical guess and never
//! concerns a prompt that somebody typed.

use std::collections::HashMap;
use std::sync::LazyLock;

use tokenizers::NormalizedString;

/// The names of HTML5, each with the code points it stands for, in hexadecimal.
static ENTITIES: LazyLock<HashMap<&str, String>> = LazyLock::new(|| {
    let lines = include_str!("../vocabularies/html-entities.txt").lines();
    let entity = |line: &'static str| {
        let (name, points) = line.split_once(' ')?;
        let letter = |point| char::from_u32(u32::from_str_radix(point, 16).ok()?);
        Some((name, points.split(' ').map(letter).collect::<Option<String>>()?))
    };
    lines.filter_map(entity).collect()
});

/// What Windows-1252 has at the bytes 0x80 to 0x9f; unused places stand for themselves.
const WINDOWS_1252: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

/// Letters that are two letters.
const LIGATURES: [(char, &str); 22] = [
    ('Ĳ', "IJ"),
    ('ĳ', "ij"),
    ('ŉ', "ʼn"),
    ('Ǳ', "DZ"),
    ('ǲ', "Dz"),
    ('ǳ', "dz"),
    ('Ǆ', "DŽ"),
    ('ǅ', "Dž"),
    ('ǆ', "dž"),
    ('Ǉ', "LJ"),
    ('ǈ', "Lj"),
    ('ǉ', "lj"),
    ('Ǌ', "NJ"),
    ('ǋ', "Nj"),
    ('ǌ', "nj"),
    ('ﬀ', "ff"),
    ('ﬁ', "fi"),
    ('ﬂ', "fl"),
    ('ﬃ', "ffi"),
    ('ﬄ', "ffl"),
    ('ﬅ', "ſt"),
    ('ﬆ', "st"),
];

/// The prompt as open_clip's tokenizer splits it.
pub(crate) fn clean(prompt: &str) -> String {
    // ftfy works line by line, and stops to expect entities where it has seen a tag.
    let mut has_tags = false;
    let fixed: String = prompt
        .split_inclusive('\n')
        .map(|line| {
            has_tags |= line.contains('<');
            fix(line, !has_tags)
        })
        .collect();
    let words = unescape(&unescape(&fixed));
    words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// `ftfy.fix_and_explain`, until it changes nothing any more. Line breaks are left as they are: they end up as spaces.
fn fix(line: &str, unescapes: bool) -> String {
    let mut text = line.to_owned();
    loop {
        let unescaped = if unescapes { unescape_whole(&text) } else { text.clone() };
        let widened: String = unescaped.chars().map(fixed_letter).collect();
        let quiet = without_terminal_escapes(&widened);
        let kept: String = quiet.chars().filter(|&letter| !is_control(letter)).collect();
        let mut normal = NormalizedString::from(kept);
        normal.nfc();
        let fixed = normal.get().to_owned();
        if fixed == text {
            return fixed;
        }
        text = fixed;
    }
}

/// C1 controls, ligatures, widths and quotes.
fn fixed_letter(letter: char) -> String {
    match letter {
        '\u{80}'..='\u{9f}' => windows_1252(letter as u32).to_string(),
        '\u{3000}' => " ".to_owned(),
        '\u{ff01}'..='\u{ffef}' => {
            let mut normal = NormalizedString::from(letter.to_string());
            normal.nfkc();
            normal.get().chars().map(straight).collect()
        }
        _ => match LIGATURES.iter().find(|(ligature, _)| *ligature == letter) {
            Some((_, letters)) => letters.chars().map(straight).collect(),
            None => straight(letter).to_string(),
        },
    }
}

fn straight(letter: char) -> char {
    match letter {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        other => other,
    }
}

fn windows_1252(byte: u32) -> char {
    WINDOWS_1252.chars().nth(byte as usize - 0x80).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Characters that ftfy removes.
fn is_control(letter: char) -> bool {
    matches!(
        letter,
        '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}'
    )
}

/// Without `ESC [ 1;31 m` and the like.
fn without_terminal_escapes(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        kept.push_str(before);
        let end = after.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ';');
        if end.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
            rest = &end[1..];
        } else {
            kept.push_str("\u{1b}[");
            rest = after;
        }
    }
    kept + rest
}

/// Replaces what `replacement` finds behind each `&`: the text, and how many bytes it stands for.
fn replace_references(text: &str, replacement: impl Fn(&str) -> Option<(String, usize)>) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        replaced.push_str(before);
        match replacement(after) {
            Some((letters, length)) => {
                replaced.push_str(&letters);
                rest = &after[length..];
            }
            None => {
                replaced.push('&');
                rest = after;
            }
        }
    }
    replaced + rest
}

/// `html.unescape` of Python: names with and without semicolon, the longest that is known, and numbers.
fn unescape(text: &str) -> String {
    replace_references(text, |after| match after.strip_prefix('#') {
        Some(number) => {
            let (letters, length) = numbered(number)?;
            Some((letters, 1 + length))
        }
        None => {
            let is_name = |letter: &char| !"\t\n\u{c} <&#;".contains(*letter);
            let name: String = after.chars().take(32).take_while(is_name).collect();
            let whole = &after[..name.len() + usize::from(after[name.len()..].starts_with(';'))];
            let ends = whole.char_indices().map(|(at, letter)| at + letter.len_utf8()).skip(1);
            let known = |end: usize| Some((ENTITIES.get(&whole[..end])?.clone(), end));
            ends.collect::<Vec<_>>().into_iter().rev().find_map(known)
        }
    })
}

/// The character of `65;` or `x41;`, and how many bytes that is.
fn numbered(text: &str) -> Option<(String, usize)> {
    let (digits, radix) = match text.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let count = digits.find(|letter: char| !letter.is_digit(radix)).unwrap_or(digits.len());
    let length = text.len() - digits.len() + count + usize::from(digits[count..].starts_with(';'));
    if count == 0 {
        return None;
    }
    // A number too large for the type is too large for a character.
    let point = u32::from_str_radix(&digits[..count], radix).unwrap_or(u32::MAX);
    let letter = match point {
        0x80..=0x9f => Some(windows_1252(point)),
        0x1..=0x8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef => None,
        0..=0x10ffff if point & 0xfffe == 0xfffe => None,
        0 => Some(char::REPLACEMENT_CHARACTER),
        _ => Some(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER)),
    };
    Some((letter.map(String::from).unwrap_or_default(), length))
}

/// `ftfy.fixes.unescape_html`: only what ends in a semicolon; names in capitals too where that cannot be misread.
fn unescape_whole(text: &str) -> String {
    replace_references(text, |after| {
        let end = after.find(';')?;
        let (name, whole) = (&after[..end], &after[..=end]);
        let (hash, letters) = name.strip_prefix('#').map_or((false, name), |letters| (true, letters));
        let is_name =
            (1..=24).contains(&letters.len()) && letters.chars().all(|letter| letter.is_ascii_alphanumeric());
        if !is_name {
            return None;
        }
        if hash {
            let (letters, length) = numbered(letters)?;
            return (length == name.len() - 1).then_some((letters, whole.len()));
        }
        let known = ENTITIES.get(whole).cloned();
        let in_capitals = || {
            let small =
                ENTITIES.get(whole.to_lowercase().as_str()).filter(|_| whole == whole.to_uppercase())?;
            let reference = format!("&{whole}");
            (unescape(&reference) == reference).then(|| small.to_uppercase())
        };
        Some((known.or_else(in_capitals)?, whole.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entity_is_read() {
        let lines = include_str!("../vocabularies/html-entities.txt").lines().count();
        assert_eq!((lines, ENTITIES.len()), (2231, 2231));
    }

    /// What ftfy and Python say, as in their own documentation.
    #[test]
    fn examples_of_the_reference() {
        for (prompt, cleaned) in [
            ("Broken text&hellip; it&#x2019;s ﬂubberiﬁc!", "broken text… it's flubberific!"),
            ("ＬＯＵＤ　ＮＯＩＳＥＳ", "loud noises"),
            ("\u{1b}[36;44mI&#x92;m blue\u{1b}[0m", "i'm blue"),
            ("I &AMP; P&EACUTE;REZ &notit; &amp;amp;lt;b&gt;", "i & pérez ¬it; <b>"),
            ("<b> &nTILDE; &ntilde; \u{1}\u{feff}", "<b> &ntilde; ñ"),
            ("&#0; &#1; &#x110000; &#xD800; &#; &#x; &;", "\u{fffd} \u{fffd} \u{fffd} &#; &#x; &;"),
        ] {
            assert_eq!(clean(prompt), cleaned, "{prompt:?}");
        }
    }
}
