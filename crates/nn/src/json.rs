//! JSON as Python writes and reads it: with a byte order mark, and with `NaN`, `Infinity` and `-Infinity`, which JSON does
//! not have.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

/// The numbers that JSON does not have. A parsed value holds each as a text of the same letters.
const NUMBERS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Parses a JSON text; numbers that JSON does not have become texts.
///
/// # Errors
/// Where it does not parse into `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(&quoted(&decoded(bytes)))
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
    fn what_is_no_json_is_an_error() {
        for text in
            [&b"{\"a\": Inf}"[..], b"{\"a\": --Infinity}", b"{\"a\": \"\\", b"", b"\xff\xfe{", b"{\"NaN"]
        {
            assert!(from_slice::<Value>(text).is_err(), "{text:?}");
        }
    }
}
