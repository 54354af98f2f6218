//! An external process as a scorer.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};
use serde_json::{Map, Value};

use crate::Error;
use crate::ExternalOptions;
use crate::client::Client;

/// Requests without an answer in a row after which the process is given up.
const TIMEOUTS_IN_A_ROW: u32 = 3;

/// A scorer that lives in another process.
pub struct ExternalScorer {
    name: String,
    client: Client,
    timeouts: u32,
}

impl ExternalScorer {
    /// Starts `command` through the shell and waits until it is ready.
    ///
    /// The scorer's name is the `name` of its first answer, or else `exec:` and the command.
    ///
    /// # Errors
    /// When the process does not start, dies, is not ready in time or says something else.
    pub fn open(command: &str, options: ExternalOptions) -> Result<Self, Error> {
        let (client, ready) = Client::start("scorer", command, options)?;
        let name = ready.get("name").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { name: name.unwrap_or_else(|| format!("exec:{command}")), client, timeouts: 0 })
    }

    fn ask(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, Error> {
        let folder = self.client.folder();
        let paths: Vec<Value> =
            media.iter().enumerate().map(|(at, media)| write(folder, at, media)).collect::<Result<_, _>>()?;
        let mut request = Map::new();
        request.insert("prompt".to_owned(), prompt.into());
        request.insert("media".to_owned(), paths.into());
        let answer = self.client.ask(&request);
        self.client.empty_folder()?;
        let answer = answer?;
        let rewards = answer
            .get("rewards")
            .and_then(Value::as_array)
            .ok_or_else(|| self.client.violation("answered without a list `rewards`"))?;
        if rewards.len() != media.len() {
            let problem = format!("gave {} rewards for {} images", rewards.len(), media.len());
            return Err(self.client.violation(problem));
        }
        rewards
            .iter()
            .map(|reward| match reward {
                Value::Null => Ok(Reward::Missing("the external scorer gave none".to_owned())),
                Value::Number(number) => {
                    Ok(Reward::from_number(&self.name, number.as_f64().unwrap_or(f64::NAN)))
                }
                other => Err(self.client.violation(format!("gave {other} where a reward or null belongs"))),
            })
            .collect()
    }
}

impl Scorer for ExternalScorer {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        if media.is_empty() {
            return Ok(Vec::new());
        }
        match self.ask(prompt, media) {
            Ok(rewards) => {
                self.timeouts = 0;
                Ok(rewards)
            }
            // One slow batch must not cost a long run; a scorer that is always slow must.
            Err(error @ Error::ExternalTimeout { .. }) if self.timeouts + 1 < TIMEOUTS_IN_A_ROW => {
                self.timeouts += 1;
                Ok(vec![Reward::Missing(error.to_string()); media.len()])
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Writes an image, or a clip's frames, and gives the path or the list of paths.
fn write(folder: &Path, at: usize, media: &Media) -> Result<Value, Error> {
    let frame = |frame: usize| {
        let path = folder.join(format!("{at}-{frame}.png"));
        write_png(&path, media, frame)?;
        Ok(path_value(path))
    };
    if media.frames() == 1 { frame(0) } else { (0..media.frames()).map(frame).collect() }
}

fn path_value(path: PathBuf) -> Value {
    path.to_string_lossy().into_owned().into()
}

fn write_png(path: &Path, media: &Media, frame: usize) -> Result<(), Error> {
    let file = BufWriter::new(File::create(path).map_err(Error::file(path))?);
    PngEncoder::new_with_quality(file, CompressionType::Fast, FilterType::Adaptive)
        .write_image(media.frame(frame), media.width() as u32, media.height() as u32, ExtendedColorType::Rgb8)
        .map_err(|error| Error::file(path)(std::io::Error::other(error)))
}
