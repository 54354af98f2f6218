//! JSON as Python writes and reads it: with a byte order mark, and with `NaN`, `Infinity` and `-Infinity`, which JSON does
//! not have.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// Why a text is not the JSON that was expected: where, or which key, what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

/// The numbers that JSON does not have. A parsed value holds each as a text of the same letters.
const NUMBERS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Parses a JSON text; numbers that JSON does not have become texts.
///
/// # Errors
/// Where it does not parse into `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    let text = decoded(bytes);
    let text = quoted(&text);
    let mut parser = serde_json::Deserializer::from_slice(&text);
    let value = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let (path, cause) = (error.path().to_string(), error.into_inner());
        match cause.classify() {
            Category::Data => {
                let message = cause.to_string();
                let message = message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message);
                JsonError(mismatch(if path == "." { "the file" } else { &path }, message))
            }
            _ => JsonError(syntax(&cause)),
        }
    })?;
    parser.end().map_err(|error| JsonError(syntax(&error)))?;
    Ok(value)
}

/// Where a text stops being JSON.
fn syntax(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Eof => format!("it ends in the middle, at line {line}"),
        _ => format!("it is not JSON at line {line}, column {column}"),
    }
}

/// What is wrong with the value of `key`, from the message of a type that could not be made of it.
fn mismatch(key: &str, message: &str) -> String {
    let quoted = |rest: &str| rest.split('`').nth(1).map(str::to_owned);
    let parts = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|start| message.strip_prefix(start)?.split_once(", expected "));
    if let Some((found, expected)) = parts {
        return format!("{key} is {}, expected {}", found_in_words(found), expected_in_words(expected));
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        let inner = quoted(rest).unwrap_or_default();
        let whole = if key == "the file" { inner } else { format!("{key}.{inner}") };
        return format!("{whole} is absent");
    }
    match message.strip_prefix("unknown variant ").map(|rest| (quoted(rest), rest.split_once(", expected ")))
    {
        Some((Some(found), Some((_, expected)))) => {
            format!("{key} is {found}, expected {}", expected.replace('`', ""))
        }
        _ => format!("{key}: {message}"),
    }
}

fn found_in_words(found: &str) -> String {
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "an object".to_owned(),
        "null" => "null".to_owned(),
        other if other.starts_with(|first: char| first.is_ascii_digit()) => format!("a list of {other}"),
        // "integer `3`", "floating point `0.5`", "boolean `true`", "string \"a\"".
        other => {
            other.split('`').nth(1).or_else(|| other.strip_prefix("string ")).unwrap_or(other).to_owned()
        }
    }
}

fn expected_in_words(expected: &str) -> String {
    match expected {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number from 0 on".to_owned(),
        "i64" | "i32" => "a whole number".to_owned(),
        "f64" | "f32" => "a number".to_owned(),
        "a string" | "a borrowed string" | "string" => "a text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        other if other.starts_with("struct ") => "an object".to_owned(),
        other => other.to_owned(),
    }
}

/// The text in UTF-8, without a byte order mark.
fn decoded(bytes: &[u8]) -> Cow<'_, [u8]> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.as_chunks().0.iter().map(|&pair| unit(pair)).collect();
        Cow::Owned(String::from_utf16_lossy(&units).into_bytes())
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(rest),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => Cow::Borrowed(bytes),
    }
}

/// The text with quotes around the numbers that JSON does not have.
fn quoted(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out: Vec<u8> = Vec::new();
    let (mut copied, mut at, mut is_text) = (0, 0, false);
    while at < text.len() {
        match text[at] {
            b'\\' if is_text => at += 1,
            b'"' => is_text = !is_text,
            b'-' | b'I' | b'N' if !is_text => {
                if let Some(number) = NUMBERS.iter().find(|number| text[at..].starts_with(number.as_bytes()))
                {
                    out.extend(&text[copied..at]);
                    out.extend(format!("\"{number}\"").bytes());
                    at += number.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend(&text[copied..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn numbers_that_json_does_not_have_are_read() {
        let text = br#"{"a": -Infinity, "b": [NaN,Infinity,-1], "c\"": "NaN -Infinity \\", "d": 0}"#;
        let expected =
            json!({"a": "-Infinity", "b": ["NaN", "Infinity", -1], "c\"": "NaN -Infinity \\", "d": 0});
        assert_eq!(from_slice::<Value>(text).unwrap(), expected);
    }

    #[test]
    fn byte_order_marks_are_skipped() {
        let text = "{\"a\": \"ä\", \"b\": NaN}";
        let expected = json!({"a": "ä", "b": "NaN"});
        assert_eq!(from_slice::<Value>(format!("\u{feff}{text}").as_bytes()).unwrap(), expected);
        let units = || std::iter::once(0xfeff).chain(text.encode_utf16());
        let (little, big): (Vec<_>, Vec<_>) =
            units().map(|unit: u16| (unit.to_le_bytes(), unit.to_be_bytes())).unzip();
        assert_eq!(from_slice::<Value>(&little.concat()).unwrap(), expected);
        assert_eq!(from_slice::<Value>(&big.concat()).unwrap(), expected);
    }

    #[test]
    fn messages_name_the_key_what_was_found_and_what_was_expected() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code, reason = "only read")]
        struct Inner {
            size: Vec<usize>,
            rate: Option<f64>,
            name: String,
        }
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code, reason = "only read")]
        struct Outer {
            inner: Inner,
        }
        let message = |text: &str| from_slice::<Outer>(text.as_bytes()).unwrap_err().to_string();
        for (text, expected) in [
            (r#"{"inner": {"size": 3, "name": ""}}"#, "inner.size is 3, expected a list"),
            (
                r#"{"inner": {"size": [1, [2]], "name": ""}}"#,
                "inner.size[1] is a list, expected a whole number from 0 on",
            ),
            (
                r#"{"inner": {"size": [-1], "name": ""}}"#,
                "inner.size[0] is -1, expected a whole number from 0 on",
            ),
            (
                r#"{"inner": {"size": [0.5], "name": ""}}"#,
                "inner.size[0] is 0.5, expected a whole number from 0 on",
            ),
            (r#"{"inner": {"size": [], "name": null}}"#, "inner.name is null, expected a text"),
            (r#"{"inner": {"size": [], "name": "", "rate": "x"}}"#, "inner.rate is \"x\", expected a number"),
            (r#"{"inner": {"size": []}}"#, "inner.name is absent"),
            (r#"{"inner": true}"#, "inner is true, expected an object"),
            ("{}", "inner is absent"),
            ("1", "the file is 1, expected an object"),
            ("{\"inner\":\n [}", "it is not JSON at line 2, column 3"),
            ("{\"inner\":\n {", "it ends in the middle, at line 2"),
        ] {
            assert_eq!(message(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for text in
            [&b"{\"a\": Inf}"[..], b"{\"a\": --Infinity}", b"{\"a\": \"\\", b"", b"\xff\xfe{", b"{\"NaN"]
        {
            assert!(from_slice::<Value>(text).is_err(), "{text:?}");
        }
    }
}
