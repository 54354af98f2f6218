//! The file of `--prompts`: one prompt a line, in the encodings and line ends that editors and shells write.

use std::fs;
use std::path::Path;

use crate::config::checked_prompt;
use crate::error::{Error, Result};

/// The prompts of `file`, in order. Blank lines and lines that begin with `#` are skipped.
///
/// # Errors
/// Where the file cannot be read, is in another encoding than UTF-8 or UTF-16 with a byte order mark, holds no prompt, or
/// holds one twice.
pub(crate) fn read(file: &Path) -> Result<Vec<String>> {
    let bytes = fs::read(file).map_err(|source| Error::Read { path: file.to_owned(), source })?;
    let refused = |reason: String| Error::Usage(format!("--prompts {}: {reason}", file.display()));
    let text = decode(&bytes).map_err(refused)?.replace("\r\n", "\n").replace('\r', "\n");
    let mut prompts = Vec::<(usize, &str)>::new();
    for (at, line) in text.lines().enumerate() {
        let prompt = line.trim();
        if prompt.is_empty() || prompt.starts_with('#') {
            continue;
        }
        if let Some((first, _)) = prompts.iter().find(|(_, known)| *known == prompt) {
            return Err(refused(format!("line {} repeats line {first}; take one of them out", at + 1)));
        }
        prompts.push((at + 1, checked_prompt(prompt)?));
    }
    if prompts.is_empty() {
        return Err(refused("there is no prompt in it; write one a line".to_owned()));
    }
    Ok(prompts.into_iter().map(|(_, prompt)| prompt.to_owned()).collect())
}

/// The text of a file: UTF-8, or UTF-16 as PowerShell writes it.
fn decode(bytes: &[u8]) -> std::result::Result<String, String> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes[2..].as_chunks::<2>();
        let text = String::from_utf16(&pairs.iter().map(|pair| unit(*pair)).collect::<Vec<_>>());
        text.ok()
            .filter(|_| rest.is_empty())
            .ok_or_else(|| "its byte order mark says UTF-16, but it is damaged; save it as UTF-8".to_owned())
    };
    match bytes {
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, text @ ..] | text => str::from_utf8(text).map(str::to_owned).map_err(|error| {
            let line = 1 + text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            format!("line {line} is not UTF-8; save the file as UTF-8")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: &[u8]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list.txt");
        fs::write(&file, bytes).unwrap();
        read(&file)
    }

    #[test]
    fn comments_and_blank_lines_are_skipped_and_a_prompt_twice_is_named() {
        let read = |text: &str| read_bytes(text.as_bytes());
        assert_eq!(read("\u{feff}# animals\n\n a dog \r\na cat\n").unwrap(), ["a dog", "a cat"]);
        assert_eq!(read("a dog\ra cat\r").unwrap(), ["a dog", "a cat"]);
        let message = read("a dog\n# again\na dog\n").unwrap_err().to_string();
        assert!(message.ends_with("line 3 repeats line 1; take one of them out"), "{message}");
        assert!(read("# nothing\n").unwrap_err().to_string().contains("there is no prompt in it"));
        assert!(read("").unwrap_err().to_string().contains("there is no prompt in it"));
    }

    #[test]
    fn the_encodings_of_editors_and_shells_are_read_or_named() {
        let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        let text = "a dog\r\nein Bär\r\n四只熊猫";
        let little: Vec<u8> = [0xfeff].into_iter().chain(units(text)).flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = [0xfeff].into_iter().chain(units(text)).flat_map(u16::to_be_bytes).collect();
        for bytes in [&little, &big] {
            assert_eq!(read_bytes(bytes).unwrap(), ["a dog", "ein Bär", "四只熊猫"]);
        }
        let message = read_bytes(&little[..little.len() - 1]).unwrap_err().to_string();
        assert!(message.ends_with("damaged; save it as UTF-8"), "{message}");
        let message = read_bytes(b"a dog\nein B\xe4r\n").unwrap_err().to_string();
        assert!(message.ends_with("line 2 is not UTF-8; save the file as UTF-8"), "{message}");
    }
}
