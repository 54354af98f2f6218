//! What the files of a part's weights are called.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::files::{ModelFiles, in_folder};

/// The files of a part's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightNames {
    /// Paths inside the model.
    pub files: Vec<String>,
    /// The variant that was taken because the plain files are absent: `fp16`, `non_ema`.
    pub variant: Option<String>,
}

/// Finds the files of the part in `folder`: as in diffusers the plain ones, in safetensors or else in PyTorch's own format,
/// each as one file or as shards; where these are absent, the best variant.
///
/// # Errors
/// Where there are none, or an index of shards is damaged.
pub fn find(model: &ModelFiles, folder: &str, stem: &str) -> Result<WeightNames> {
    // transformers calls its safetensors `model` and its PyTorch files `pytorch_model`.
    let torch_stem = if stem == "model" { "pytorch_model" } else { stem };
    let formats = [(stem, "safetensors"), (torch_stem, "bin")];
    for (stem, extension) in formats {
        let (single, index) = (format!("{stem}.{extension}"), format!("{stem}.{extension}.index.json"));
        if let Some(files) = named(model, folder, &single, &index)? {
            return Ok(WeightNames { files, variant: None });
        }
    }
    let mut variants: Vec<Variant> = Vec::new();
    for name in model.names_in(folder) {
        let parsed = formats.iter().find_map(|(stem, extension)| Variant::parse(&name, stem, extension));
        variants.extend(parsed);
    }
    variants.sort();
    let Some(best) = variants.into_iter().next() else {
        return Err(Error::MissingFile {
            model: model.name().to_owned(),
            expected: in_folder(folder, &format!("{stem}.safetensors")),
        });
    };
    let file = in_folder(folder, &best.file);
    let files = if best.file.ends_with(".json") { shards(model, folder, &file)? } else { vec![file] };
    Ok(WeightNames { files, variant: Some(best.name) })
}

/// A file of a variant; the best comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Variant {
    rank: usize,
    name: String,
    is_pickle: bool,
    file: String,
}

impl Variant {
    /// The variant that a file name stands for: `model.fp16.safetensors`, or one of the spellings of its index of shards.
    fn parse(file: &str, stem: &str, extension: &str) -> Option<Self> {
        /// The most precise first. Weights that were not averaged come after all that were.
        const KNOWN: [&str; 4] = ["fp32", "ema", "fp16", "bf16"];
        const NOT_AVERAGED: &str = "non_ema";
        let rest = file.strip_prefix(stem)?.strip_prefix('.')?;
        let index = || {
            let inner = rest.strip_suffix(".json")?;
            let newer = inner.strip_prefix(extension).and_then(|inner| inner.strip_prefix(".index."));
            let older = inner.strip_suffix(".index");
            newer
                .or_else(|| older?.strip_prefix(extension)?.strip_prefix('.'))
                .or_else(|| older?.strip_suffix(extension)?.strip_suffix('.'))
        };
        let single = || rest.strip_suffix(extension)?.strip_suffix('.').filter(|name| !name.contains("-of-"));
        let name = index().or_else(single).filter(|name| !name.is_empty())?;
        let rank = match KNOWN.iter().position(|known| *known == name) {
            Some(rank) => rank,
            None if name.contains(NOT_AVERAGED) => KNOWN.len() + 1,
            None => KNOWN.len(),
        };
        Some(Self { rank, name: name.to_owned(), is_pickle: extension == "bin", file: file.to_owned() })
    }
}

fn named(model: &ModelFiles, folder: &str, single: &str, index: &str) -> Result<Option<Vec<String>>> {
    let (single, index) = (in_folder(folder, single), in_folder(folder, index));
    if model.contains(&single) {
        Ok(Some(vec![single]))
    } else if model.contains(&index) {
        shards(model, folder, &index).map(Some)
    } else {
        Ok(None)
    }
}

/// The table of a sharded part: which file holds which tensor.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// The files that an index names, which must lie beside it.
fn shards(model: &ModelFiles, folder: &str, index: &str) -> Result<Vec<String>> {
    let table: ShardIndex = model.read_json(index)?;
    let shards: BTreeSet<String> = table.weight_map.into_values().collect();
    match shards.iter().find(|shard| shard.contains(['/', '\\']) || shard.starts_with("..")) {
        None => Ok(shards.iter().map(|shard| in_folder(folder, shard)).collect()),
        Some(outside) => Err(Error::NotSafetensors {
            file: model.display(index),
            reason: format!("expected file names beside it, found {outside}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Option<(Vec<String>, Option<String>)> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let index = r#"{"weight_map": {"a": "shard-1.safetensors", "b": "shard-2.safetensors"}}"#;
            std::fs::write(folder.path().join(name), index).unwrap();
        }
        let files = ModelFiles::directory(folder.path()).unwrap();
        find(&files, "", "model").ok().map(|found| (found.files, found.variant))
    }

    #[test]
    fn the_best_variant_is_taken() {
        let plain = |name: &str| Some((vec![name.to_owned()], None));
        let variant = |file: &str, name: &str| Some((vec![file.to_owned()], Some(name.to_owned())));
        assert_eq!(found(&["model.fp16.safetensors", "model.safetensors"]), plain("model.safetensors"));
        // As in diffusers, a plain pickle comes before a variant.
        assert_eq!(found(&["model.fp16.safetensors", "pytorch_model.bin"]), plain("pytorch_model.bin"));
        assert_eq!(
            found(&["model.non_ema.safetensors", "model.bf16.safetensors", "pytorch_model.fp16.bin"]),
            variant("pytorch_model.fp16.bin", "fp16")
        );
        assert_eq!(found(&["model.non_ema.safetensors"]), variant("model.non_ema.safetensors", "non_ema"));
        assert_eq!(
            found(&["model.non_ema.safetensors", "model.pruned.safetensors"]),
            variant("model.pruned.safetensors", "pruned")
        );
        for index in [
            "model.safetensors.index.bf16.json",
            "model.bf16.safetensors.index.json",
            "model.safetensors.bf16.index.json",
        ] {
            let files = ["shard-1.safetensors", "shard-2.safetensors"].map(str::to_owned).to_vec();
            assert_eq!(found(&[index]), Some((files, Some("bf16".to_owned()))), "{index}");
        }
        assert_eq!(found(&["model.fp16-00001-of-00002.safetensors", "models.safetensors"]), None);
    }
}
