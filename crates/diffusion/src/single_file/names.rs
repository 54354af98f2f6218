//! The names of tensors in the programs of CompVis (LDM) and Stability AI (SGM), and in OpenCLIP, as diffusers names them.
//!
//! Reference: `convert_ldm_unet_checkpoint`, `convert_ldm_vae_checkpoint` and `convert_open_clip_checkpoint` of diffusers
//! 0.42.1. A name that is none of theirs stays as it is, since files exist with only the prefixes of these programs.

use noisefind_nn::weight_file::Piece;

/// The denoiser's name for `name`; `layers` are the residual blocks of each level on the way down, outermost first.
pub(super) fn unet(name: &str, layers: &[usize]) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    match &parts[..] {
        ["time_embed", "0", kind] => format!("time_embedding.linear_1.{kind}"),
        ["time_embed", "2", kind] => format!("time_embedding.linear_2.{kind}"),
        ["time_embed", "cond_proj", kind] => format!("time_embedding.cond_proj.{kind}"),
        ["label_emb", "0", "0", kind] => format!("add_embedding.linear_1.{kind}"),
        ["label_emb", "0", "2", kind] => format!("add_embedding.linear_2.{kind}"),
        ["input_blocks", "0", "0", kind] => format!("conv_in.{kind}"),
        ["out", "0", kind] => format!("conv_norm_out.{kind}"),
        ["out", "2", kind] => format!("conv_out.{kind}"),
        ["input_blocks", place, rest @ ..] => down(place, rest, layers).unwrap_or_else(|| name.into()),
        ["middle_block", "1", rest @ ..] => format!("mid_block.attentions.0.{}", rest.join(".")),
        ["middle_block", place @ ("0" | "2"), rest @ ..] => {
            format!("mid_block.resnets.{}.{}", if *place == "0" { 0 } else { 1 }, resnet(rest))
        }
        ["output_blocks", place, rest @ ..] => up(place, rest, layers).unwrap_or_else(|| name.into()),
        _ => name.to_owned(),
    }
}

/// A block on the way down: each level has its layers and one step between levels, counted after the first convolution.
fn down(place: &str, rest: &[&str], layers: &[usize]) -> Option<String> {
    let mut at = place.parse::<usize>().ok()?.checked_sub(1)?;
    for (level, &count) in layers.iter().enumerate() {
        if at <= count {
            return Some(match rest {
                ["0", "op", kind] => format!("down_blocks.{level}.downsamplers.0.conv.{kind}"),
                ["0", rest @ ..] => format!("down_blocks.{level}.resnets.{at}.{}", resnet(rest)),
                ["1", rest @ ..] => format!("down_blocks.{level}.attentions.{at}.{}", rest.join(".")),
                _ => return None,
            });
        }
        at -= count + 1;
    }
    None
}

/// A block on the way up: each level has one layer more than on the way down, the last with the step between levels.
fn up(place: &str, rest: &[&str], layers: &[usize]) -> Option<String> {
    let mut at = place.parse::<usize>().ok()?;
    for (level, &count) in layers.iter().rev().enumerate() {
        if at <= count {
            return Some(match rest {
                // It comes after the attention where the level has one.
                ["1" | "2", "conv", kind] => format!("up_blocks.{level}.upsamplers.0.conv.{kind}"),
                ["0", rest @ ..] => format!("up_blocks.{level}.resnets.{at}.{}", resnet(rest)),
                ["1", rest @ ..] => format!("up_blocks.{level}.attentions.{at}.{}", rest.join(".")),
                _ => return None,
            });
        }
        at -= count + 1;
    }
    None
}

/// The layers of a residual block.
fn resnet(rest: &[&str]) -> String {
    match rest {
        ["in_layers", "0", kind] => format!("norm1.{kind}"),
        ["in_layers", "2", kind] => format!("conv1.{kind}"),
        ["emb_layers", "1", kind] => format!("time_emb_proj.{kind}"),
        ["out_layers", "0", kind] => format!("norm2.{kind}"),
        ["out_layers", "3", kind] => format!("conv2.{kind}"),
        ["skip_connection", kind] => format!("conv_shortcut.{kind}"),
        other => other.join("."),
    }
}

/// The decoder's name for `name`; `levels` is the number of its levels.
pub(super) fn vae(name: &str, levels: usize) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let layer = |rest: &[&str]| rest.join(".").replace("nin_shortcut", "conv_shortcut");
    match &parts[..] {
        [side, "norm_out", kind] => format!("{side}.conv_norm_out.{kind}"),
        [side, "mid", "block_1", rest @ ..] => format!("{side}.mid_block.resnets.0.{}", layer(rest)),
        [side, "mid", "block_2", rest @ ..] => format!("{side}.mid_block.resnets.1.{}", layer(rest)),
        [side, "mid", "attn_1", projection, kind] => {
            let projection = match *projection {
                "norm" => "group_norm",
                "q" => "to_q",
                "k" => "to_k",
                "v" => "to_v",
                "proj_out" => "to_out.0",
                other => other,
            };
            format!("{side}.mid_block.attentions.0.{projection}.{kind}")
        }
        [side, "down", level, "block", at, rest @ ..] => {
            format!("{side}.down_blocks.{level}.resnets.{at}.{}", layer(rest))
        }
        [side, "down", level, "downsample", "conv", kind] => {
            format!("{side}.down_blocks.{level}.downsamplers.0.conv.{kind}")
        }
        [side, "up", level, rest @ ..] => {
            // Counted from the other end.
            let level = level.parse::<usize>().ok().and_then(|level| levels.checked_sub(level + 1));
            match (level, rest) {
                (Some(level), ["block", at, rest @ ..]) => {
                    format!("{side}.up_blocks.{level}.resnets.{at}.{}", layer(rest))
                }
                (Some(level), ["upsample", "conv", kind]) => {
                    format!("{side}.up_blocks.{level}.upsamplers.0.conv.{kind}")
                }
                _ => name.to_owned(),
            }
        }
        _ => name.to_owned(),
    }
}

/// What a text encoder of transformers makes of the tensor `name` (without its `prefix`) of OpenCLIP, whose attention has
/// its three projections in one matrix of `width` rows each, and whose projection is the transpose.
pub(super) fn open_clip(prefix: &str, name: &str, width: usize) -> Vec<(String, Piece)> {
    let whole = || Piece::whole(format!("{prefix}{name}"));
    let one = |renamed: String| vec![(renamed, whole())];
    let parts: Vec<&str> = name.split('.').collect();
    match &parts[..] {
        ["positional_embedding"] => one("embeddings.position_embedding.weight".into()),
        ["token_embedding", kind] => one(format!("embeddings.token_embedding.{kind}")),
        ["ln_final", kind] => one(format!("final_layer_norm.{kind}")),
        ["text_projection"] => {
            vec![("text_projection.weight".into(), Piece { transposed: true, ..whole() })]
        }
        ["transformer", "resblocks", layer, rest @ ..] => {
            let layer = format!("encoder.layers.{layer}");
            match rest {
                ["attn", joined @ ("in_proj_weight" | "in_proj_bias")] => {
                    let kind = joined.trim_start_matches("in_proj_");
                    let piece = |(at, projection): (usize, &str)| {
                        let rows = Some(at * width..(at + 1) * width);
                        (format!("{layer}.self_attn.{projection}.{kind}"), Piece { rows, ..whole() })
                    };
                    ["q_proj", "k_proj", "v_proj"].into_iter().enumerate().map(piece).collect()
                }
                ["attn", "out_proj", kind] => one(format!("{layer}.self_attn.out_proj.{kind}")),
                ["ln_1", kind] => one(format!("{layer}.layer_norm1.{kind}")),
                ["ln_2", kind] => one(format!("{layer}.layer_norm2.{kind}")),
                ["mlp", "c_fc", kind] => one(format!("{layer}.mlp.fc1.{kind}")),
                ["mlp", "c_proj", kind] => one(format!("{layer}.mlp.fc2.{kind}")),
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}
