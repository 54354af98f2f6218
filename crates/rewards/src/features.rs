//! What scorers share: their file, the prompt that is encoded once, the cosine, clips as means of their frames.

use std::path::Path;

use noisefind_core::media::Media;
use noisefind_core::ports::Reward;
use noisefind_nn::ModelFiles;

use crate::Error;

/// The last prompt with what was computed from it.
pub(crate) struct PromptCache<T> {
    last: Option<(String, T)>,
}

impl<T> Default for PromptCache<T> {
    fn default() -> Self {
        Self { last: None }
    }
}

impl<T> PromptCache<T> {
    /// What belongs to the prompt, computed unless it is the last one.
    pub(crate) fn get(
        &mut self,
        prompt: &str,
        compute: impl FnOnce() -> Result<T, Error>,
    ) -> Result<&T, Error> {
        let computed = match self.last.take() {
            Some(last) if last.0 == prompt => last,
            _ => (prompt.to_owned(), compute()?),
        };
        Ok(&self.last.insert(computed).1)
    }
}

/// The published file, or where the folder has it, a safetensors file of the same name and tensors.
pub(crate) fn weights_file(files: &ModelFiles, published: &str) -> String {
    let safetensors = Path::new(published).with_extension("safetensors").to_string_lossy().into_owned();
    if files.contains(&safetensors) { safetensors } else { published.to_owned() }
}

/// The cosine between two vectors of one length; NaN where one of them is zero.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// One reward of `scorer` an image or clip from one score a frame: the mean over its frames.
pub(crate) fn mean_over_frames(
    scorer: &str,
    media: &[Media],
    mut scores: impl Iterator<Item = f64>,
) -> Vec<Reward> {
    media
        .iter()
        .map(|media| {
            let sum: f64 = scores.by_ref().take(media.frames()).sum();
            Reward::from_number(scorer, sum / media.frames() as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_computed_once_in_a_row() {
        let mut cache = PromptCache::default();
        let mut computed = 0;
        for prompt in ["a dog", "a dog", "a cat", "a cat", "a dog"] {
            let length = cache.get(prompt, || {
                computed += 1;
                Ok(computed)
            });
            assert_eq!(*length.unwrap(), computed);
        }
        assert_eq!(computed, 3);
        assert!(cache.get("a bird", || Err(Error::NoTerms)).is_err());
    }

    #[test]
    fn a_clip_is_the_mean_of_its_frames() {
        let clip = |frames| Media::new(frames, 1, 1, vec![128; 3 * frames]).expect("its values");
        let rewards = mean_over_frames(
            "clip-score",
            &[clip(1), clip(3), clip(1)],
            [1.0, 2.0, 3.0, 7.0, f64::NAN].into_iter(),
        );
        assert_eq!(rewards[..2], [Reward::Given(1.0), Reward::Given(4.0)]);
        assert_eq!(rewards[2].given(), None);
        assert!((cosine(&[1.0, 0.0], &[3.0, 4.0]) - 0.6).abs() < 1e-12);
    }
}
