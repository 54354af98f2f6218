//! Rewards that are computed once: a cache addressed by what was scored, for scorers that cost money or minutes.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;

/// Rewards that are kept in memory; the oldest leave first. At about 100 bytes each this is 100 MB.
const CAPACITY: usize = 1 << 20;

/// A scorer that is asked only about what it has not scored yet.
///
/// The address of a reward is the SHA-256 of the scorer's identity, the prompt and the 8-bit pixels. Missing rewards
/// are not kept, because the next attempt may succeed.
pub struct Cached {
    scorer: Box<dyn Scorer>,
    identity: String,
    rewards: HashMap<Address, f64>,
    order: VecDeque<Address>,
    path: PathBuf,
    /// Absent until the first score, because the folder may be made after the scorer has been opened.
    file: Option<File>,
}

type Address = [u8; 32];

/// One line of the cache file.
#[derive(Serialize, Deserialize)]
struct Line {
    address: String,
    reward: f64,
}

impl Cached {
    /// A cache that is read from `path` and appended to it, one JSON object a line; a torn line is skipped.
    ///
    /// `identity` tells scorers apart that share the file: what the user typed, since programs choose their own names.
    pub fn in_file(scorer: Box<dyn Scorer>, identity: &str, path: &Path) -> Self {
        let (identity, path) = (identity.to_owned(), path.to_owned());
        Self { scorer, identity, rewards: HashMap::new(), order: VecDeque::new(), path, file: None }
    }

    fn open(&mut self) -> Result<(), Error> {
        if self.file.is_some() {
            return Ok(());
        }
        let path = self.path.clone();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(Error::file(&path))?;
        let mut ends_with_line = true;
        for line in BufReader::new(&file).split(b'\n') {
            let line = line.map_err(Error::file(&path))?;
            let parsed = serde_json::from_slice::<Line>(&line).ok();
            let entry = parsed.and_then(|line| Some((address_from_hex(&line.address)?, line.reward)));
            ends_with_line = entry.is_some();
            if let Some((address, reward)) = entry.filter(|(_, reward)| reward.is_finite()) {
                self.keep(address, reward);
            }
        }
        if !ends_with_line {
            // What a kill left half-written must not swallow the next line.
            file.write_all(b"\n").map_err(Error::file(&path))?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn keep(&mut self, address: Address, reward: f64) {
        if self.rewards.insert(address, reward).is_none() {
            self.order.push_back(address);
        }
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.rewards.remove(&oldest);
        }
    }

    fn record(&mut self, address: Address, reward: f64) -> Result<(), Error> {
        self.keep(address, reward);
        let Some(file) = &mut self.file else { return Ok(()) };
        let line = Line { address: hex(&address), reward };
        let mut text = serde_json::to_string(&line).map_err(|error| Error::file(&self.path)(error.into()))?;
        text.push('\n');
        file.write_all(text.as_bytes()).map_err(Error::file(&self.path))
    }
}

impl Scorer for Cached {
    fn name(&self) -> &str {
        self.scorer.name()
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        self.open()?;
        let addresses: Vec<Address> =
            media.iter().map(|media| address(&self.identity, prompt, media)).collect();
        let unknown: Vec<usize> =
            (0..media.len()).filter(|&at| !self.rewards.contains_key(&addresses[at])).collect();
        let mut rewards: Vec<Reward> = addresses
            .iter()
            .map(|address| match self.rewards.get(address) {
                Some(&reward) => Reward::Given(reward),
                None => Reward::Missing(String::new()),
            })
            .collect();
        if unknown.is_empty() {
            return Ok(rewards);
        }
        let asked: Vec<Media> = unknown.iter().map(|&at| media[at].clone()).collect();
        for (at, reward) in unknown.into_iter().zip(self.scorer.score(prompt, &asked)?) {
            if let Reward::Given(number) = reward {
                self.record(addresses[at], number)?;
            }
            rewards[at] = reward;
        }
        Ok(rewards)
    }
}

/// Each part is preceded by its length, so that no two inputs are the same bytes.
fn address(identity: &str, prompt: &str, media: &Media) -> Address {
    let mut hash = Sha256::new();
    for text in [identity, prompt] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    for side in [media.frames(), media.height(), media.width()] {
        hash.update((side as u64).to_le_bytes());
    }
    for frame in 0..media.frames() {
        hash.update(media.frame(frame));
    }
    hash.finalize().into()
}

fn hex(address: &Address) -> String {
    address.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn address_from_hex(text: &str) -> Option<Address> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect();
    (text.len() == 64).then_some(bytes)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tempfile::TempDir;

    use super::*;
    use crate::testing::{Brightness, gray};

    fn asked(cached: &mut Cached, prompt: &str, media: &[Media]) -> Vec<Reward> {
        cached.score(prompt, media).expect("the scorer works")
    }

    /// A cache in `folder` around a scorer that counts its calls.
    fn cached(folder: &TempDir, identity: &str, scorer: Brightness) -> (Cached, Arc<AtomicUsize>) {
        let calls = scorer.scored();
        (Cached::in_file(Box::new(scorer), identity, &folder.path().join("answers.jsonl")), calls)
    }

    #[test]
    fn each_image_is_scored_once_a_prompt_and_scorer() {
        let folder = tempfile::tempdir().unwrap();
        let (mut bright, calls) = cached(&folder, "exec:bright", Brightness::default());
        let media = [gray(0.2), gray(0.4)];
        let first = asked(&mut bright, "a dog", &media);
        assert_eq!(first, asked(&mut bright, "a dog", &media));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        let reversed = asked(&mut bright, "a dog", &[gray(0.4), gray(0.6), gray(0.2)]);
        assert_eq!((&reversed[0], &reversed[2]), (&first[1], &first[0]));
        assert_eq!(calls.load(Ordering::Relaxed), 3);
        asked(&mut bright, "a cat", &media);
        assert_eq!(calls.load(Ordering::Relaxed), 5);
        let (mut dark, calls) =
            cached(&folder, "exec:dark", Brightness { factor: -1.0, ..Brightness::default() });
        assert_eq!(asked(&mut dark, "a dog", &media[..1]), [Reward::Given(-first[0].given().unwrap())]);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_missing_reward_is_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut cached, calls) =
            cached(&folder, "exec:bright", Brightness { missing_below: 0.5, ..Brightness::default() });
        for _ in 0..2 {
            let rewards = asked(&mut cached, "a dog", &[gray(0.2), gray(0.8)]);
            assert_eq!(rewards[0], Reward::Missing("too dark".to_owned()));
            assert!(rewards[1].given().is_some());
        }
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn the_file_outlives_the_cache_and_a_torn_line_costs_one_reward() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.jsonl");
        let media = [gray(0.1), gray(1.0 / 3.0), gray(0.9)];
        let expected = asked(&mut cached(&folder, "exec:bright", Brightness::default()).0, "a dog", &media);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        for scored in [1, 0] {
            let (mut cached, calls) = cached(&folder, "exec:bright", Brightness::default());
            assert_eq!(asked(&mut cached, "a dog", &media), expected);
            assert_eq!(calls.load(Ordering::Relaxed), scored);
        }
    }
}
