"""Denoisers with parts left out, as distilled models have them, and what diffusers gets from them: `pruned.json`.

Run: python golden/diffusion/pruned.py   (versions in golden/requirements.txt)

Weights are by formula, so the file holds configs, names with shapes, and outputs alone.
"""

import json
import pathlib

import diffusers
import torch

import formula

FILE = pathlib.Path(__file__).with_name("pruned.json")
BASE = dict(sample_size=8, cross_attention_dim=12, norm_num_groups=4, layers_per_block=1, attention_head_dim=2)
OUTSIDE = dict(down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"])
THREE = dict(
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    block_out_channels=[8, 12, 16],
    use_linear_projection=True,
)

SETUPS = {
    # Tiny-SD and BK-SDM-Tiny: no middle block, one residual block a level less. The heads of each level are any number.
    "no-middle": dict(BASE, **OUTSIDE, block_out_channels=[8, 16], mid_block_type=None, attention_head_dim=[2, 3]),
    # SSD-1B and Segmind-Vega: numbers of transformer blocks after each residual block, others on the way up, and a
    # middle block without attention.
    "ssd-1b": dict(
        BASE,
        **THREE,
        layers_per_block=2,
        transformer_layers_per_block=[1, [2, 1], [1, 1]],
        reverse_transformer_layers_per_block=[[1, 1, 2], [2, 1, 1], 1],
        mid_block_type="UNetMidBlock2D",
        attention_head_dim=[1, 2, 4],
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 + 6 * 4,
    ),
    # Everything that may be a list, and transformers without blocks.
    "lists": dict(
        BASE,
        down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        block_out_channels=[8, 16],
        layers_per_block=[2, 1],
        only_cross_attention=[True, False],
        cross_attention_dim=[12, 12],
        transformer_layers_per_block=[1, [2]],
        reverse_transformer_layers_per_block=[[1, 0], [0, 1, 1]],
    ),
    # Five heads of two channels each for twelve, which leaves two out; seven heads for a level that does not attend.
    "heads": dict(BASE, **THREE, attention_head_dim=[7, 5, 3]),
}


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    out = {}
    for name, settings in SETUPS.items():
        unet = formula.fill(diffusers.UNet2DConditionModel(**settings))
        text = formula.tensor("text", (2, 5, 12))
        x = formula.tensor("x", (2, 4, 8, 8)) * 14
        extra = {}
        if settings.get("addition_embed_type"):
            pooled = formula.tensor("pooled", (2, 6)) * 2
            extra["added_cond_kwargs"] = dict(text_embeds=pooled, time_ids=torch.tensor([[16.0, 24.0, 1.0, 2.0, 8.0, 32.0]] * 2))
        output = unet(x, 621, encoder_hidden_states=text, **extra).sample
        print(name, sum(p.numel() for p in unet.parameters()), float(output.std()))
        out[name] = dict(
            config=json.loads(unet.to_json_string()),
            tensors=formula.shapes(unet),
            # Every seventh number tells all that the whole would.
            output=[round(value, 6) for value in output.flatten()[::7].tolist()],
        )
    FILE.write_text(json.dumps(out, separators=(",", ":"), sort_keys=True) + "\n")
    print(FILE.name, FILE.stat().st_size)


if __name__ == "__main__":
    main()
