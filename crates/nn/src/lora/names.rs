//! The names that trainers give to the tensors of adapters.

use super::Module;

/// The parts that adapters change.
pub(super) const PARTS: [&str; 3] = ["unet", "text_encoder", "text_encoder_2"];

/// What a tensor of an adapter is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// `[rank, inputs]`, or a window of a convolution.
    Down,
    /// `[outputs, rank]`.
    Up,
    /// `[rank, rank, window]` between the two.
    Mid,
    /// `[outputs]`, scaled like the matrices and added to the bias.
    UpBias,
    /// A number; divided by the rank it is the factor of the change.
    Alpha,
    /// Norms of the changed weight: LyCORIS and kohya.
    DoraScale,
    /// Norms of the changed weight: PEFT.
    Magnitude,
    /// A change of the whole weight.
    Diff,
    /// A change of the bias.
    BiasDiff,
    /// The four matrices of a Hadamard product, and the windows between each two.
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    HadaT1,
    HadaT2,
    /// The two factors of a Kronecker product, whole or as products, and the window of the second.
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
}

const ENDINGS: &[(&str, Role)] = &[
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".lora_mid.weight", Role::Mid),
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora_B.bias", Role::UpBias),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    ("lora.down.weight", Role::Down),
    ("lora.up.weight", Role::Up),
    ("_lora.alpha", Role::Alpha),
    (".lora.alpha", Role::Alpha),
    (".lora_linear_layer.alpha", Role::Alpha),
    (".alpha", Role::Alpha),
    (".dora_scale", Role::DoraScale),
    (".lora_magnitude_vector", Role::Magnitude),
    (".lora_magnitude_vector.weight", Role::Magnitude),
    (".diff", Role::Diff),
    (".diff_b", Role::BiasDiff),
    (".w_norm", Role::Diff),
    (".b_norm", Role::BiasDiff),
    (".hada_w1_a", Role::HadaW1A),
    (".hada_w1_b", Role::HadaW1B),
    (".hada_w2_a", Role::HadaW2A),
    (".hada_w2_b", Role::HadaW2B),
    (".hada_t1", Role::HadaT1),
    (".hada_t2", Role::HadaT2),
    (".lokr_w1", Role::LokrW1),
    (".lokr_w1_a", Role::LokrW1A),
    (".lokr_w1_b", Role::LokrW1B),
    (".lokr_w2", Role::LokrW2),
    (".lokr_w2_a", Role::LokrW2A),
    (".lokr_w2_b", Role::LokrW2B),
    (".lokr_t2", Role::LokrT2),
];

const PREFIXES: [(&str, Option<&str>); 10] = [
    ("lora_unet_", Some(PARTS[0])),
    ("lora_te_", Some(PARTS[1])),
    ("lora_te1_", Some(PARTS[1])),
    ("lora_te2_", Some(PARTS[2])),
    ("lycoris_", None),
    ("unet.", Some(PARTS[0])),
    ("text_encoder.", Some(PARTS[1])),
    ("text_encoder_2.", Some(PARTS[2])),
    ("diffusion_model.", Some(PARTS[0])),
    ("model.diffusion_model.", Some(PARTS[0])),
];

/// What PEFT puts in front of the names of the model that it wraps.
const WRAPPER: &str = "base_model.model.";

/// The module and the role that a tensor's name stands for. A name that does not tell the part is of the part that has the
/// module.
pub(super) fn parse(name: &str) -> Option<(Module, Role)> {
    // Some programs save the name of the adapter within the model.
    let plain = name.replace(".default.", ".");
    let plain = plain.strip_suffix(".default").unwrap_or(&plain);
    let (module, role) = ENDINGS.iter().find_map(|(end, role)| Some((plain.strip_suffix(end)?, *role)))?;
    let module = module.strip_prefix(WRAPPER).unwrap_or(module);
    // AnimateDiff's own program trains motion modules alone and names no part.
    let module =
        module.strip_prefix("module.").filter(|rest| rest.contains(".motion_modules.")).unwrap_or(module);
    let prefixed = PREFIXES.iter().find_map(|(start, part)| Some((module.strip_prefix(start)?, *part)));
    let (module, part) = prefixed.unwrap_or((module, None));
    // Older diffusers writes `attn1.processor.to_q_lora.down` or `to_q.lora.down`, and leaves a separator behind.
    let module = module.trim_end_matches(['.', '_']).replace(".processor.", ".").replace('.', "_");
    let module = module.strip_prefix("text_model_").unwrap_or(&module).to_owned();
    Some((Module { part, name: module }, role))
}

/// The names that adapters use for a module of a text encoder.
pub fn text_spellings(module: &str) -> Vec<String> {
    let older = [(".q_proj", ".to_q"), (".k_proj", ".to_k"), (".v_proj", ".to_v"), (".out_proj", ".to_out")];
    let older = older.iter().filter_map(|(new, old)| Some(format!("{}{old}", module.strip_suffix(new)?)));
    older.chain([module.to_owned()]).collect()
}

/// The names that adapters use for a module of a denoiser with `layers` residual blocks a level.
pub fn unet_spellings(module: &str, layers: usize) -> Vec<String> {
    let older = module.strip_suffix(".to_out.0").map(|attention| format!("{attention}.to_out"));
    let names = older.into_iter().chain(original_names(module, layers)).chain([module.to_owned()]);
    names.flat_map(|name| animatediff_name(&name).into_iter().chain([name])).collect()
}

/// What AnimateDiff's own program calls a module inside its motion modules.
fn animatediff_name(module: &str) -> Option<String> {
    let (level, rest) = module.split_once(".motion_modules.")?;
    let (at, inner) = rest.split_once('.')?;
    let inner = inner.replace(".attn1.", ".attention_blocks.0.").replace(".attn2.", ".attention_blocks.1.");
    Some(format!("{level}.motion_modules.{at}.temporal_transformer.{inner}"))
}

/// What the original program of Stable Diffusion calls a module: there, the blocks of all levels are one list.
fn original_names(module: &str, layers: usize) -> Vec<String> {
    let parts: Vec<&str> = module.split('.').collect();
    let number = |text: &str| text.parse::<usize>().unwrap_or(0);
    // A level has its layers and one step between levels.
    let place = |level: &str, layer: &str| number(level) * (layers + 1) + number(layer);
    let resnet = |layer: &[&str]| match layer {
        ["conv1"] => "in_layers.2",
        ["conv2"] => "out_layers.3",
        ["time_emb_proj"] => "emb_layers.1",
        ["conv_shortcut"] => "skip_connection",
        _ => "",
    };
    match &parts[..] {
        ["conv_in"] => vec!["input_blocks.0.0".into()],
        ["conv_out"] => vec!["out.2".into()],
        ["time_embedding", "linear_1"] => vec!["time_embed.0".into()],
        ["time_embedding", "linear_2"] => vec!["time_embed.2".into()],
        ["add_embedding", "linear_1"] => vec!["label_emb.0.0".into()],
        ["add_embedding", "linear_2"] => vec!["label_emb.0.2".into()],
        ["down_blocks", level, "resnets", layer, rest @ ..] => {
            vec![format!("input_blocks.{}.0.{}", place(level, layer) + 1, resnet(rest))]
        }
        ["down_blocks", level, "attentions", layer, rest @ ..] => {
            vec![format!("input_blocks.{}.1.{}", place(level, layer) + 1, rest.join("."))]
        }
        ["down_blocks", level, "downsamplers", "0", "conv"] => {
            vec![format!("input_blocks.{}.0.op", place(level, "0") + layers + 1)]
        }
        ["mid_block", "resnets", layer, rest @ ..] => {
            vec![format!("middle_block.{}.{}", 2 * number(layer), resnet(rest))]
        }
        ["mid_block", "attentions", "0", rest @ ..] => vec![format!("middle_block.1.{}", rest.join("."))],
        ["up_blocks", level, "resnets", layer, rest @ ..] => {
            vec![format!("output_blocks.{}.0.{}", place(level, layer), resnet(rest))]
        }
        ["up_blocks", level, "attentions", layer, rest @ ..] => {
            vec![format!("output_blocks.{}.1.{}", place(level, layer), rest.join("."))]
        }
        // It comes after the attention where the level has one.
        ["up_blocks", level, "upsamplers", "0", "conv"] => {
            let at = place(level, "0") + layers;
            vec![format!("output_blocks.{at}.1.conv"), format!("output_blocks.{at}.2.conv")]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_in_every_spelling() {
        let parsed = |name: &str| parse(name).map(|(module, role)| (module.part, module.name, role));
        let query = "mid_block_attentions_0_transformer_blocks_0_attn1_to_q";
        let dotted = "mid_block.attentions.0.transformer_blocks.0.attn1";
        for (name, part, role) in [
            (format!("lora_unet_{query}.lora_down.weight"), Some("unet"), Role::Down),
            (format!("unet.{dotted}.to_q.lora_B.weight"), Some("unet"), Role::Up),
            (format!("unet.{dotted}.to_q.lora_A.default.weight"), Some("unet"), Role::Down),
            (format!("unet.{dotted}.processor.to_q_lora.up.weight"), Some("unet"), Role::Up),
            (format!("{dotted}.processor.to_q_lora.down.weight"), None, Role::Down),
            (format!("base_model.model.unet.{dotted}.to_q.lora_A.weight"), Some("unet"), Role::Down),
            (format!("base_model.model.{dotted}.to_q.lora_magnitude_vector"), None, Role::Magnitude),
            (format!("diffusion_model.{dotted}.to_q.lora_A.weight"), Some("unet"), Role::Down),
            (format!("lora_unet_{query}.lokr_w1"), Some("unet"), Role::LokrW1),
            (format!("unet.{dotted}.to_q.lora.alpha"), Some("unet"), Role::Alpha),
        ] {
            assert_eq!(parsed(&name), Some((part, query.to_owned(), role)), "{name}");
        }
        let text = parsed("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha");
        assert_eq!(text, Some((Some("text_encoder_2"), "encoder_layers_0_mlp_fc1".to_owned(), Role::Alpha)));
        assert_eq!(parsed("bundle_emb.token.string_to_param.*"), None);
    }
}
