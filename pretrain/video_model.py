"""The video model: the still model's UNet inflated into `UNet3DConditionModel`, its text encoder with the words of the motions.

The spatial layers start as the still model's. The temporal layers start silent (the last layer of each is zero), so that a clip
is at first the still model frame by frame.
"""

import json

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from . import diffusion, video_tokenizer
from .common import MODEL

# `transformer_in` is eight heads wide whatever the channels are, at the largest resolution: with heads as wide as the still
# model's 48 it would cost more than all spatial layers together.
HEAD = 24
UNET = dict(
    sample_size=16, in_channels=4, out_channels=4, block_out_channels=(64, 192), layers_per_block=1,
    down_block_types=("DownBlock3D", "CrossAttnDownBlock3D"), up_block_types=("CrossAttnUpBlock3D", "UpBlock3D"),
    attention_head_dim=HEAD, cross_attention_dim=diffusion.TEXT_WIDTH, norm_num_groups=16,
)
SILENT = ("temp_convs", "temp_attentions", "transformer_in")
LAST = ("conv4.3.weight", "conv4.3.bias", "proj_out.weight", "proj_out.bias")


class Skipped(torch.nn.Module):
    """Stands for the silent `transformer_in` while training, which adds nothing to its input."""

    def forward(self, hidden_states, **_):
        return (hidden_states,)


class FrameConv(torch.nn.Conv3d):
    """A 3x1x1 convolution computed as a 3x1 convolution of two dimensions, which processors have fast programs for."""

    def forward(self, x):
        n, _, frames, height, width = x.shape
        y = torch.nn.functional.conv2d(x.reshape(n, -1, frames, height * width), self.weight[..., 0], self.bias, padding=(1, 0))
        return y.view(n, -1, frames, height, width)


def make_fast(unet):
    """For training and for measuring: the same function with fewer and faster operations while `transformer_in` is silent."""
    for module in unet.modules():
        if type(module) is torch.nn.Conv3d:
            module.__class__ = FrameConv
    if not unet.transformer_in.proj_out.weight.any():
        unet.transformer_in = Skipped()
    return unet


def is_temporal(name):
    return any(part in name for part in SILENT)


def narrower_heads(query, key, heads, width):
    """Queries and keys [heads * wide, n] of `heads` heads for more heads of `width`, each scored as its old head was, but for the
    directions of least weight: the product of a head's query and key matrix is truncated to rank `width`."""
    wide = query.shape[0] // heads
    queries, keys = [], []
    for q, k in zip(query.view(heads, wide, -1), key.view(heads, wide, -1)):
        u, s, v = torch.linalg.svd(q.T @ k)
        root = s[:width].sqrt()
        # Old scores are divided by the root of the old width, new ones by that of the new width.
        scale = (width / wide) ** 0.25
        for _ in range(wide // width):
            queries.append(scale * (u[:, :width] * root).T)
            keys.append(scale * root[:, None] * v[:width])
    return torch.cat(queries), torch.cat(keys)


def new_unet():
    unet = UNet3DConditionModel(**UNET)
    unet.set_attn_processor(AttnProcessor())
    for name, p in unet.named_parameters():
        if is_temporal(name) and name.endswith(LAST):
            torch.nn.init.zeros_(p)
    return unet


def inflated_unet():
    unet = new_unet()
    old = {k: v.float() for k, v in load_file(MODEL / "unet" / "diffusion_pytorch_model.safetensors").items()}
    heads = json.loads((MODEL / "unet" / "config.json").read_text())["attention_head_dim"]
    for name in [n for n in old if n.endswith("to_q.weight")]:
        key = name.replace("to_q", "to_k")
        old[name], old[key] = narrower_heads(old[name], old[key], heads, HEAD)
    missing, unexpected = unet.load_state_dict(old, strict=False)
    strange = [n for n in missing if not is_temporal(n)] + list(unexpected)
    if strange:
        raise SystemExit(f"layers that the still model and the video model do not share: {strange}")
    return unet


def new_text_encoder(vocabulary, end):
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=diffusion.TEXT_WIDTH, intermediate_size=4 * diffusion.TEXT_WIDTH, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=video_tokenizer.LENGTH, hidden_act="quick_gelu", projection_dim=diffusion.TEXT_WIDTH,
        bos_token_id=end - 1, eos_token_id=end, pad_token_id=end, attn_implementation="eager"))


class VideoDenoiser(torch.nn.Module):
    """Tokens [n, 24], noisy latents [n, 4, 8, 16, 16] and timesteps [n] in; v of the latents' shape out."""

    def __init__(self):
        super().__init__()
        tokenizer = video_tokenizer.load()
        self.text_encoder = new_text_encoder(len(tokenizer), tokenizer.eos_token_id)
        self.unet = new_unet()

    def forward(self, tokens, noisy, timesteps):
        return self.unet(noisy, timesteps, self.text_encoder(tokens).last_hidden_state, return_dict=False)[0]


def inflated():
    model = VideoDenoiser()
    model.unet = inflated_unet()
    text = {k: v.float() for k, v in load_file(MODEL / "text_encoder" / "model.safetensors").items()}
    name = next(k for k in text if k.endswith("token_embedding.weight"))
    text[name] = video_tokenizer.extended_embedding(text[name])
    model.text_encoder.load_state_dict(text, strict=True)
    return model
