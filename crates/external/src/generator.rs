//! An external process as a generator: the way to every model that is not native.

use std::path::Path;

use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, NoiseShape};
use noisefind_core::ports::{Generator, PortError};
use noisefind_images::RgbImage;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};

use crate::Error;
use crate::ExternalOptions;
use crate::client::Client;

/// A generator that lives in another process.
pub struct ExternalGenerator {
    client: Client,
    noise_shape: NoiseShape,
    default_rewards: Vec<String>,
    options: Value,
}

impl ExternalGenerator {
    /// Starts `command` through the shell and waits until it has told its noise shape.
    ///
    /// `generation` goes into every request as `options` (number of steps, guidance scale, ...).
    ///
    /// # Errors
    /// When the process does not start, dies, is not ready in time, tells no usable noise shape, or recommends rewards in
    /// another form than a list of names.
    pub fn open(
        command: &str,
        generation: Map<String, Value>,
        options: ExternalOptions,
    ) -> Result<Self, Error> {
        let (mut client, ready) = Client::start("generator", command, options)?;
        let noise_shape = noise_shape(&ready).ok_or_else(|| {
            let found = ready.get("noise_shape").unwrap_or(&Value::Null);
            client.violation(format!(
                "told the noise shape {found} where [channels, height, width] or \
                 [channels, frames, height, width] was expected"
            ))
        })?;
        let default_rewards = default_rewards(&ready).ok_or_else(|| {
            let found = ready.get("default_rewards").unwrap_or(&Value::Null);
            client.violation(format!("told the default rewards {found} where a list of names was expected"))
        })?;
        Ok(Self { client, noise_shape, default_rewards, options: Value::Object(generation) })
    }

    /// The command as the user gave it.
    pub fn command(&self) -> &str {
        self.client.command()
    }

    /// The scorers that the process recommends; may be empty.
    pub fn default_rewards(&self) -> &[String] {
        &self.default_rewards
    }

    fn ask(&mut self, prompt: &str, noises: &[Noise]) -> Result<Vec<Media>, Error> {
        let path = self.client.folder().join("noise.safetensors");
        write_noises(&path, self.noise_shape, noises)?;
        let keys: Vec<Value> = noises
            .iter()
            .map(|noise| json!([noise.key.seed, noise.key.iteration, noise.key.index]))
            .collect();
        let mut request = Map::new();
        request.insert("prompt".to_owned(), prompt.into());
        request.insert("noise".to_owned(), path.to_string_lossy().into_owned().into());
        request.insert("keys".to_owned(), keys.into());
        request.insert("options".to_owned(), self.options.clone());
        let media = self.client.ask(&request).and_then(|answer| self.read(&answer, noises.len()));
        self.client.empty_folder()?;
        media
    }

    fn read(&mut self, answer: &Map<String, Value>, expected: usize) -> Result<Vec<Media>, Error> {
        let media = answer
            .get("media")
            .and_then(Value::as_array)
            .ok_or_else(|| self.client.violation("answered without a list `media`"))?;
        if media.len() != expected {
            let problem = format!("gave {} images for {expected} noises", media.len());
            return Err(self.client.violation(problem));
        }
        media.iter().map(|entry| self.read_media(entry)).collect()
    }

    fn read_media(&mut self, entry: &Value) -> Result<Media, Error> {
        let frames: Option<Vec<&str>> = match entry {
            Value::String(path) => Some(vec![path]),
            Value::Array(paths) if !paths.is_empty() => paths.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let Some(frames) = frames else {
            return Err(self.client.violation(format!("gave {entry} where an image's path belongs")));
        };
        let frames =
            frames.into_iter().map(|path| read_image(Path::new(path))).collect::<Result<Vec<_>, _>>()?;
        assemble(&frames)
            .ok_or_else(|| self.client.violation(format!("gave frames of different sizes: {entry}")))
    }
}

impl Generator for ExternalGenerator {
    fn noise_shape(&self) -> NoiseShape {
        self.noise_shape
    }

    fn generate(&mut self, prompt: &str, noises: &[Noise]) -> Result<Vec<Media>, PortError> {
        if noises.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.ask(prompt, noises)?)
    }
}

/// Names of rewards; none where the process says nothing, `None` where it says something else.
fn default_rewards(ready: &Map<String, Value>) -> Option<Vec<String>> {
    match ready.get("default_rewards") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(names) => names.as_array()?.iter().map(|name| Some(name.as_str()?.to_owned())).collect(),
    }
}

fn noise_shape(ready: &Map<String, Value>) -> Option<NoiseShape> {
    let sides: Vec<usize> = ready
        .get("noise_shape")?
        .as_array()?
        .iter()
        .map(|side| side.as_u64().filter(|&side| (1..=1 << 16).contains(&side)).map(|side| side as usize))
        .collect::<Option<_>>()?;
    match *sides {
        [channels, height, width] => Some(NoiseShape::image(channels, height, width)),
        [channels, frames, height, width] => {
            Some(NoiseShape { channels, frames: Some(frames), height, width })
        }
        _ => None,
    }
}

/// One tensor `noise` of `[N, C, (F,) h, w]` in unit space.
fn write_noises(path: &Path, shape: NoiseShape, noises: &[Noise]) -> Result<(), Error> {
    let bytes: Vec<u8> =
        noises.iter().flat_map(Noise::values).flat_map(|value| value.to_le_bytes()).collect();
    let shape: Vec<usize> = std::iter::once(noises.len()).chain(shape.dims()).collect();
    let invalid =
        |error| Error::File { path: path.to_owned(), source: std::io::Error::other(format!("{error}")) };
    let view = TensorView::new(Dtype::F32, shape, &bytes).map_err(invalid)?;
    let file = safetensors::serialize([("noise", view)], None).map_err(invalid)?;
    std::fs::write(path, file).map_err(Error::file(path))
}

fn read_image(path: &Path) -> Result<RgbImage, Error> {
    let bytes = std::fs::read(path).map_err(Error::file(path))?;
    noisefind_images::decode(&bytes).map_err(|source| Error::Image { path: path.to_owned(), source })
}

/// Frames of one size become one media; `None` where the sizes differ.
fn assemble(frames: &[RgbImage]) -> Option<Media> {
    let (width, height) = (frames.first()?.width, frames.first()?.height);
    if frames.iter().any(|frame| (frame.width, frame.height) != (width, height)) {
        return None;
    }
    let pixels = frames.iter().flat_map(|frame| &frame.bytes).copied().collect();
    Media::new(frames.len(), height, width, pixels).ok()
}
