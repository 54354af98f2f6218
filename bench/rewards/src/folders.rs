//! What a folder of each published scorer holds, at the published sizes.

use std::fs;
use std::path::Path;

use bench_common::Failure;
use serde_json::json;

use crate::weights::Tensors;

/// Size of CLIP's vocabulary and its longest prompt.
const VOCABULARY: usize = 49408;
const CONTEXT: usize = 77;

/// A transformer.
#[derive(Clone, Copy)]
struct Tower {
    width: usize,
    layers: usize,
    heads: usize,
}

/// A CLIP model; all look at images of 224 x 224 in patches of 14.
#[derive(Clone, Copy)]
struct Clip {
    text: Tower,
    vision: Tower,
    embedding: usize,
    activation: &'static str,
}

const CLIP_L: Clip = Clip {
    text: Tower { width: 768, layers: 12, heads: 12 },
    vision: Tower { width: 1024, layers: 24, heads: 16 },
    embedding: 768,
    activation: "quick_gelu",
};

const CLIP_H: Clip = Clip {
    text: Tower { width: 1024, layers: 24, heads: 16 },
    vision: Tower { width: 1280, layers: 32, heads: 16 },
    embedding: 1024,
    activation: "gelu",
};

/// Fills `folder` for the scorer and gives the number of its parameters; `None` for scorers that are measured under another
/// name, or have no published size.
pub fn fill(folder: &Path, scorer: &str) -> Result<Option<usize>, Failure> {
    let parameters = match scorer {
        "clip-score" => transformers(CLIP_L, folder)?,
        "pick-score" => transformers(CLIP_H, folder)?,
        "hps-v2" => open_clip(CLIP_H, &folder.join("HPS_v2_compressed.safetensors"))?,
        "image-reward" => image_reward(folder)?,
        "aesthetic" => transformers(CLIP_L, folder)? + aesthetic_head(folder)?,
        "jpeg-size" => 0,
        _ => return Ok(None),
    };
    Ok(Some(parameters))
}

/// A `CLIPModel` folder of transformers.
fn transformers(clip: Clip, folder: &Path) -> Result<usize, Failure> {
    let config = |tower: Tower| {
        json!({"hidden_size": tower.width, "intermediate_size": 4 * tower.width, "num_hidden_layers": tower.layers,
               "num_attention_heads": tower.heads, "hidden_act": clip.activation, "image_size": 224, "patch_size": 14})
    };
    let config = json!({"model_type": "clip", "projection_dim": clip.embedding, "text_config": config(clip.text),
                        "vision_config": config(clip.vision)});
    fs::write(folder.join("config.json"), config.to_string())?;
    let mut tensors = Tensors::default();
    let (text, vision) = (clip.text, clip.vision);
    tensors.add("text_model.embeddings.token_embedding.weight", &[VOCABULARY, text.width]);
    tensors.add("text_model.embeddings.position_embedding.weight", &[CONTEXT, text.width]);
    encoder(&mut tensors, "text_model", text);
    tensors.norm("text_model.final_layer_norm", text.width);
    tensors.add("vision_model.embeddings.class_embedding", &[vision.width]);
    tensors.add("vision_model.embeddings.patch_embedding.weight", &[vision.width, 3, 14, 14]);
    tensors.add("vision_model.embeddings.position_embedding.weight", &[257, vision.width]);
    tensors.norm("vision_model.pre_layrnorm", vision.width);
    encoder(&mut tensors, "vision_model", vision);
    tensors.norm("vision_model.post_layernorm", vision.width);
    tensors.add("visual_projection.weight", &[clip.embedding, vision.width]);
    tensors.add("text_projection.weight", &[clip.embedding, text.width]);
    tensors.add("logit_scale", &[]);
    tensors.write(&folder.join("model.safetensors"))?;
    Ok(tensors.parameters())
}

fn encoder(tensors: &mut Tensors, model: &str, tower: Tower) {
    let width = tower.width;
    for layer in 0..tower.layers {
        let name = |part: &str| format!("{model}.encoder.layers.{layer}.{part}");
        tensors.norm(&name("layer_norm1"), width);
        tensors.norm(&name("layer_norm2"), width);
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            tensors.linear(&name(&format!("self_attn.{part}")), width, width);
        }
        tensors.linear(&name("mlp.fc1"), width, 4 * width);
        tensors.linear(&name("mlp.fc2"), 4 * width, width);
    }
}

/// One file under the names of open_clip.
fn open_clip(clip: Clip, file: &Path) -> Result<usize, Failure> {
    let mut tensors = Tensors::default();
    let (text, vision) = (clip.text.width, clip.vision.width);
    tensors.add("visual.class_embedding", &[vision]);
    tensors.add("visual.positional_embedding", &[257, vision]);
    tensors.add("visual.conv1.weight", &[vision, 3, 14, 14]);
    tensors.norm("visual.ln_pre", vision);
    residual_blocks(&mut tensors, "visual.transformer", clip.vision);
    tensors.norm("visual.ln_post", vision);
    tensors.add("visual.proj", &[vision, clip.embedding]);
    tensors.add("token_embedding.weight", &[VOCABULARY, text]);
    tensors.add("positional_embedding", &[CONTEXT, text]);
    residual_blocks(&mut tensors, "transformer", clip.text);
    tensors.norm("ln_final", text);
    tensors.add("text_projection", &[text, clip.embedding]);
    tensors.add("logit_scale", &[]);
    tensors.write(file)?;
    Ok(tensors.parameters())
}

fn residual_blocks(tensors: &mut Tensors, model: &str, tower: Tower) {
    let width = tower.width;
    for layer in 0..tower.layers {
        let name = |part: &str| format!("{model}.resblocks.{layer}.{part}");
        tensors.norm(&name("ln_1"), width);
        tensors.norm(&name("ln_2"), width);
        tensors.add(&name("attn.in_proj_weight"), &[3 * width, width]);
        tensors.add(&name("attn.in_proj_bias"), &[3 * width]);
        tensors.linear(&name("attn.out_proj"), width, width);
        tensors.linear(&name("mlp.c_fc"), width, 4 * width);
        tensors.linear(&name("mlp.c_proj"), 4 * width, width);
    }
}

/// BLIP's ViT-L/16 and cross-attending BERT, and the head.
fn image_reward(folder: &Path) -> Result<usize, Failure> {
    const WIDTH: usize = 1024;
    const HIDDEN: usize = 768;
    const WORDS: usize = 30524;
    let config = json!({"hidden_size": HIDDEN, "num_hidden_layers": 12, "num_attention_heads": 12,
                        "intermediate_size": 4 * HIDDEN, "max_position_embeddings": 512, "vocab_size": WORDS,
                        "layer_norm_eps": 1e-12});
    fs::write(folder.join("med_config.json"), config.to_string())?;
    let mut tensors = Tensors::default();
    let vision = |part: &str| format!("blip.visual_encoder.{part}");
    tensors.add(&vision("patch_embed.proj.weight"), &[WIDTH, 3, 16, 16]);
    tensors.add(&vision("patch_embed.proj.bias"), &[WIDTH]);
    tensors.add(&vision("cls_token"), &[1, 1, WIDTH]);
    tensors.add(&vision("pos_embed"), &[1, 197, WIDTH]);
    for block in 0..24 {
        let name = |part: &str| vision(&format!("blocks.{block}.{part}"));
        tensors.norm(&name("norm1"), WIDTH);
        tensors.norm(&name("norm2"), WIDTH);
        tensors.linear(&name("attn.qkv"), WIDTH, 3 * WIDTH);
        tensors.linear(&name("attn.proj"), WIDTH, WIDTH);
        tensors.linear(&name("mlp.fc1"), WIDTH, 4 * WIDTH);
        tensors.linear(&name("mlp.fc2"), 4 * WIDTH, WIDTH);
    }
    tensors.norm(&vision("norm"), WIDTH);
    let text = |part: &str| format!("blip.text_encoder.{part}");
    tensors.add(&text("embeddings.word_embeddings.weight"), &[WORDS, HIDDEN]);
    tensors.add(&text("embeddings.position_embeddings.weight"), &[512, HIDDEN]);
    tensors.norm(&text("embeddings.LayerNorm"), HIDDEN);
    for layer in 0..12 {
        let name = |part: &str| text(&format!("encoder.layer.{layer}.{part}"));
        for (attention, seen) in [("attention", HIDDEN), ("crossattention", WIDTH)] {
            tensors.linear(&name(&format!("{attention}.self.query")), HIDDEN, HIDDEN);
            tensors.linear(&name(&format!("{attention}.self.key")), seen, HIDDEN);
            tensors.linear(&name(&format!("{attention}.self.value")), seen, HIDDEN);
            tensors.linear(&name(&format!("{attention}.output.dense")), HIDDEN, HIDDEN);
            tensors.norm(&name(&format!("{attention}.output.LayerNorm")), HIDDEN);
        }
        tensors.linear(&name("intermediate.dense"), HIDDEN, 4 * HIDDEN);
        tensors.linear(&name("output.dense"), 4 * HIDDEN, HIDDEN);
        tensors.norm(&name("output.LayerNorm"), HIDDEN);
    }
    linear_head(&mut tensors, "mlp.", HIDDEN);
    tensors.write(&folder.join("ImageReward.safetensors"))?;
    Ok(tensors.parameters())
}

fn aesthetic_head(folder: &Path) -> Result<usize, Failure> {
    let mut tensors = Tensors::default();
    linear_head(&mut tensors, "", CLIP_L.embedding);
    tensors.write(&folder.join("sac+logos+ava1-l14-linearMSE.safetensors"))?;
    Ok(tensors.parameters())
}

fn linear_head(tensors: &mut Tensors, prefix: &str, input: usize) {
    let widths = [input, 1024, 128, 64, 16, 1];
    for (layer, widths) in [0, 2, 4, 6, 7].into_iter().zip(widths.windows(2)) {
        tensors.linear(&format!("{prefix}layers.{layer}"), widths[0], widths[1]);
    }
}
