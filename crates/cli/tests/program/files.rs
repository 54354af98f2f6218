//! Models, decoders and adapters in the files that people have, through the whole program.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{TensorView, serialize_to_file};

use crate::{outcome, succeed};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion").join(name);
    folder.canonicalize().expect("the tiny pipelines are in the repository")
}

/// The parts of `sd1` in one file, with the prefixes of the original program.
fn checkpoint(path: &Path) {
    let parts = [
        ("unet/diffusion_pytorch_model", "model.diffusion_model."),
        ("vae/diffusion_pytorch_model", "first_stage_model."),
        ("text_encoder/model", "cond_stage_model.transformer."),
    ];
    let read = |(file, prefix): (&str, &'static str)| {
        (fs::read(golden("sd1").join(format!("{file}.safetensors"))).expect("the weights are there"), prefix)
    };
    let parts = parts.map(read);
    let mut tensors: Vec<(String, TensorView<'_>)> = Vec::new();
    for (bytes, prefix) in &parts {
        let file = SafeTensors::deserialize(bytes).expect("the weights are valid");
        tensors.extend(file.tensors().into_iter().map(|(name, view)| (format!("{prefix}{name}"), view)));
    }
    serialize_to_file(tensors, None, path).expect("the temporary folder is writable");
}

/// The image that `sample` makes with this model and two steps.
fn image(folder: &Path, model: &str, more: &[&str]) -> image::RgbImage {
    let always =
        ["sample", "-n", "1", "--prompt", "a green dog", "--num-inference-steps", "2", "--dtype", "f32"];
    let out = folder.join("out");
    let arguments = [&always[..], &["--out", "out", "--model", model], more].concat();
    succeed(folder, &arguments);
    let made = image::open(out.join("seed-0.png")).expect("an image").to_rgb8();
    fs::remove_dir_all(out).expect("the folder is there");
    made
}

#[test]
fn a_checkpoint_that_is_one_file_is_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    checkpoint(&path);
    let (model, sd1) = (path.display().to_string(), golden("sd1").display().to_string());
    let configs = ["--config-from", &sd1];
    let expected = image(folder.path(), &sd1, &[]);
    assert!(image(folder.path(), &model, &configs) == expected);

    // A policy remembers where the configs come from.
    let run =
        ["tune", "a green dog", "--model", &model, "--evaluations", "8", "--samples", "4", "--out", "run"];
    let options = ["--num-inference-steps", "1", "--reward", "jpeg-size", "--method", "random-search"];
    let (code, _, stderr) = outcome(folder.path(), &[&run[..], &configs, &options].concat());
    assert_eq!(code, Some(0), "{stderr}");
    succeed(folder.path(), &["sample", "run/policy.safetensors", "-n", "1", "--out", "sampled"]);

    // Without configs, the sizes are those of the published model, which this is not.
    let (code, _, message) = outcome(folder.path(), &["inspect", "model.safetensors"]);
    assert_eq!(code, Some(1));
    assert!(message.contains("does not fit the configs of Stable Diffusion 1.5"), "{message}");
    assert!(message.contains("--config-from gives others"), "{message}");
    let (code, _, message) =
        outcome(folder.path(), &["sample", "--prompt", "x", "--model", "emoji-64", "--config-from", &sd1]);
    assert_eq!(code, Some(2));
    assert!(
        message.contains("expected a --model that is one file; emoji-64 has its own configs"),
        "{message}"
    );
}

#[test]
fn a_decoder_may_be_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let sd1 = golden("sd1").display().to_string();
    let own = golden("sd1/vae/diffusion_pytorch_model.safetensors").display().to_string();
    let other = golden("sd2/vae/diffusion_pytorch_model.safetensors").display().to_string();
    let expected = image(folder.path(), &sd1, &[]);
    assert!(image(folder.path(), &sd1, &["--vae", &own]) == expected);
    assert!(image(folder.path(), &sd1, &["--vae", &other]) != expected);
    let tiny = golden("lcm/vae/diffusion_pytorch_model.safetensors").display().to_string();
    let arguments = ["sample", "--prompt", "x", "--model", &sd1, "--vae", &tiny];
    let (code, _, message) = outcome(folder.path(), &arguments);
    assert_eq!(code, Some(1));
    assert!(
        message.contains("is a tiny decoder, which needs its config; give --vae the folder"),
        "{message}"
    );
}

#[test]
fn new_tokens_and_long_prompts_reach_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let sd1 = golden("sd1").display().to_string();
    let embedding = golden("text_files/several.safetensors").display().to_string();
    let sampled = |prompt: &str, more: &[&str]| {
        let always = ["sample", "-n", "1", "--num-inference-steps", "1", "--model", &sd1, "--out", "out"];
        let (code, _, message) = outcome(folder.path(), &[&always[..], &["--prompt", prompt], more].concat());
        assert_eq!(code, Some(0), "{message}");
        let made = image::open(folder.path().join("out/seed-0.png")).expect("an image").to_rgb8();
        fs::remove_dir_all(folder.path().join("out")).expect("the folder is there");
        (made, message)
    };
    let (plain, _) = sampled("a <cat>", &[]);
    let (own, _) = sampled("a <cat>", &["--embedding", &embedding]);
    let (renamed, _) = sampled("a <dog>", &["--embedding", &format!("{embedding}=<dog>")]);
    assert!(own != plain && renamed == own);
    let long = "a green dog a green dog a green dog the Dog!";
    let (cut, said) = sampled(long, &[]);
    assert!(said.contains("does not read \"Dog!\"; --long-prompt reads all"), "{said}");
    let (whole, said) = sampled(long, &["--long-prompt"]);
    assert!(whole != cut && !said.contains("too long"), "{said}");
}

#[test]
fn a_folder_with_variants_alone_opens_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    for part in ["", "scheduler", "text_encoder", "tokenizer", "unet", "vae"] {
        fs::create_dir_all(model.join(part)).unwrap();
        for entry in fs::read_dir(golden("sd1").join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, model.join(part).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    let unet = |name: &str| model.join("unet").join(name);
    fs::rename(unet("diffusion_pytorch_model.safetensors"), unet("diffusion_pytorch_model.bf16.safetensors"))
        .unwrap();
    let arguments = ["sample", "-n", "1", "--prompt", "x", "--num-inference-steps", "1", "--model", "model"];
    let (code, _, message) = outcome(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{message}");
    assert!(message.contains("so variants of them are taken: bf16 of unet"), "{message}");
    // A folder with nothing but a checkpoint is refused with its name.
    fs::create_dir(folder.path().join("downloads")).unwrap();
    checkpoint(&folder.path().join("downloads/model.safetensors"));
    let (code, _, message) = outcome(folder.path(), &["sample", "--prompt", "x", "--model", "downloads"]);
    assert_eq!(code, Some(1));
    assert!(message.contains("give --model one of its files: model.safetensors"), "{message}");
}

#[test]
fn files_of_other_kinds_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = golden("adapters/kohya.safetensors").display().to_string();
    let refused = |arguments: &[&str]| {
        let (code, _, message) = outcome(folder.path(), arguments);
        assert_eq!(code, Some(1), "{message}");
        message.lines().next().unwrap_or_default().to_owned()
    };
    let message = refused(&["sample", "--prompt", "x", "--model", &adapter]);
    assert!(message.contains("kohya.safetensors is an adapter; give it with --lora"), "{message}");
    let message = refused(&["inspect", &adapter]);
    assert!(message.contains("kohya.safetensors is an adapter; give it with --lora"), "{message}");
    let decoder = golden("sd1/vae/diffusion_pytorch_model.safetensors").display().to_string();
    let message = refused(&["inspect", &decoder]);
    assert!(message.contains("is a decoder; give it with --vae"), "{message}");
    let command = golden("torch_file/command.pt").display().to_string();
    for arguments in [&["inspect", &command][..], &["sample", "--prompt", "x", "--model", &command]] {
        let message = refused(arguments);
        assert!(message.contains("it calls `posix.system`"), "{message}");
    }
}
