//! What a checkpoint is, told by its names and shapes.
//!
//! Reference: `infer_diffusers_model_type` of diffusers 0.42.1.

use noisefind_nn::error::{Error, Result};
use noisefind_nn::weight_file::WeightFile;

/// The prefixes of the parts.
pub(super) const UNET: &str = "model.diffusion_model.";
pub(super) const TEXT: &str = "cond_stage_model.";
pub(super) const TEXT_XL: &str = "conditioner.embedders.";

/// A family of models whose configs are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Stable Diffusion 1.
    Sd1,
    /// Stable Diffusion 2.
    Sd2,
    /// Stable Diffusion XL.
    Xl,
}

impl Family {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sd1 => "Stable Diffusion 1.5",
            Self::Sd2 => "Stable Diffusion 2.1",
            Self::Xl => "Stable Diffusion XL",
        }
    }
}

/// Other models, by names that only they have, with or without the denoiser's prefix.
const OTHERS: &[(&str, &[&str])] = &[
    ("a Stable Diffusion 3 model", &["joint_blocks.0.context_block.adaLN_modulation.1.bias"]),
    ("a FLUX.2 model", &["single_stream_modulation.lin.weight"]),
    ("a Chroma model", &["distilled_guidance_layer.in_proj.bias"]),
    ("a FLUX model", &["double_blocks.0.img_attn.norm.key_norm.scale"]),
    ("an AuraFlow model", &["double_layers.0.attn.w1q.weight"]),
    ("a Stable Cascade model", &["clip_txt_mapper.weight", "down_blocks.1.0.channelwise.0.weight"]),
    ("an LTX-Video model", &["patchify_proj.weight"]),
    ("a Mochi model", &["blocks.0.attn.qkv_x.weight"]),
    ("a HunyuanVideo model", &["txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias"]),
    ("a HunyuanDiT model", &["text_embedding_padding"]),
    ("a Lumina 2 model", &["cap_embedder.0.weight"]),
    ("a Z-Image model", &["layers.0.adaLN_modulation.0.weight"]),
    ("a Wan model", &["head.modulation"]),
    ("a HiDream model", &["double_stream_blocks.0.block.adaLN_modulation.1.bias"]),
    ("a Cosmos model", &["net.x_embedder.proj.1.weight"]),
    ("a Qwen-Image model", &["txt_in.text_norm.weight", "transformer_blocks.0.attn.add_q_proj.weight"]),
    ("a PixArt or Sana model", &["y_embedder.y_embedding", "blocks.0.cross_attn.q_linear.weight"]),
    ("a ControlNet", &["control_model.time_embed.0.weight", "controlnet_cond_embedding.conv_in.weight"]),
];

/// Words in the names of tensors of files that belong to another option, and what such a file is.
const OTHER_OPTIONS: &[(&str, &[&str])] = &[
    (
        "an adapter; give it with --lora",
        &[
            ".lora_down.",
            ".lora_up.",
            ".lora_A.",
            ".lora.down.",
            "_lora.down.",
            ".hada_w1_",
            ".lokr_w1",
            ".lokr_w2",
            ".oft_blocks",
            ".dora_scale",
            ".diff_b",
        ],
    ),
    ("a motion module; give it with --motion-adapter", &["motion_modules."]),
    (
        "a tiny decoder; give --vae the folder with its config.json",
        &["decoder.layers.0.", "decoder.1.weight"],
    ),
    ("a decoder; give it with --vae", &["decoder.conv_in.weight"]),
    (
        "the denoiser of a folder; give the folder with model_index.json",
        &["down_blocks.0.resnets.0.conv1.", "time_embedding.linear_1."],
    ),
    (
        "a text encoder; give the folder with model_index.json",
        &["text_model.embeddings.", "embeddings.token_embedding.", "transformer.resblocks."],
    ),
    ("an embedding; give it with --embedding", &["string_to_param", "emb_params", "clip_g", "clip_l"]),
];

/// The way out where nothing in this program uses the file.
const ELSEWHERE: &str =
    "which is not implemented; use it through an external generator, or from Python with diffusers";

/// Refuses files that hold no model which can generate images from a prompt alone.
///
/// # Errors
/// What the file holds, and the way out.
pub(super) fn check(file: &WeightFile, has_config: bool) -> Result<()> {
    let refused = |what: String| Err(Error::NotThisModel { model: file.name().to_owned(), what });
    let shape = |name: &str| file.shape(&format!("{UNET}{name}"));
    if file.names().any(|name| name.starts_with(UNET) && name.contains(".time_stack.")) {
        return refused(format!("a Stable Video Diffusion model, {ELSEWHERE}"));
    }
    let needs = match shape("input_blocks.0.0.weight").and_then(|shape| shape.get(1)) {
        Some(9) => Some("an inpainting model, which needs an image and a mask"),
        Some(8) => Some("an InstructPix2Pix model, which needs an image"),
        Some(7) => Some("an upscaler, which needs an image"),
        Some(5) => Some("a depth-to-image model, which needs a depth map"),
        _ if file.shape("conditioner.embedders.0.model.ln_final.weight").is_some()
            && file.shape("conditioner.embedders.1.model.ln_final.weight").is_none() =>
        {
            Some("the refiner of Stable Diffusion XL, which needs an image")
        }
        _ if shape("label_emb.0.0.weight").is_some() && family(file) == Family::Sd2 => {
            Some("a Stable unCLIP model, which needs an image")
        }
        _ => None,
    };
    if let Some(needs) = needs {
        return refused(format!(
            "{needs}; use it through an external generator, or from Python with diffusers"
        ));
    }
    if !has_config && file.shape("edm_mean").is_some() {
        return refused(
            "a Playground v2.5 model; give --config-from playgroundai/playground-v2.5-1024px-aesthetic"
                .into(),
        );
    }
    for (what, keys) in OTHERS {
        if keys.iter().any(|key| file.shape(key).is_some() || shape(key).is_some()) {
            return refused(format!("{what}, {ELSEWHERE}"));
        }
    }
    if file.names().any(|name| name.starts_with(UNET)) {
        return Ok(());
    }
    for (what, words) in OTHER_OPTIONS {
        if file.names().any(|name| words.iter().any(|word| name.contains(word))) {
            return refused((*what).into());
        }
    }
    let names: Vec<&str> = file.names().take(3).collect();
    refused(format!(
        "no checkpoint of Stable Diffusion: expected tensors whose names begin with {UNET}, found {}",
        names.join(", ")
    ))
}

/// The family whose published configs diffusers takes for the file.
pub(super) fn family(file: &WeightFile) -> Family {
    let last = |name: &str| file.shape(&format!("{UNET}{name}")).and_then(<[usize]>::last).copied();
    let text_width = last("input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight");
    if text_width == Some(1024) || file.shape("cond_stage_model.model.ln_final.weight").is_some() {
        Family::Sd2
    // The second test is for files with the denoiser alone.
    } else if file.names().any(|name| name.starts_with(TEXT_XL)) || last("label_emb.0.0.weight") == Some(2816)
    {
        Family::Xl
    } else {
        Family::Sd1
    }
}
