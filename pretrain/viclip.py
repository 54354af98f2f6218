"""ViCLIP's two towers at the size of the default video model, with the tensor names of the published files.

Reference: `OpenGVLab/InternVideo`, `Data/InternVid/viclip`. Heads have 64 channels; patches of all frames attend to each other.
"""

import torch
import torch.nn.functional as F
from torch import nn

from . import video_tokenizer, world
from .clips import FRAMES

PATCH, WIDTH, HEAD, EMBEDDING, VISION_LAYERS, TEXT_LAYERS = 8, 256, 64, 128, 6, 3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        # Holds the weights under their published names; the attention is computed below.
        self.attn = nn.MultiheadAttention(WIDTH, WIDTH // HEAD, batch_first=True)
        self.mlp = nn.ModuleDict(dict(c_fc=nn.Linear(WIDTH, 4 * WIDTH), c_proj=nn.Linear(4 * WIDTH, WIDTH)))

    def forward(self, x, causal=False, first=False):
        """With `first`, only the first token's output is computed."""
        y = self.ln_1(x)
        queries = y[:, :1] if first else y
        split = lambda v: v.unflatten(-1, (-1, HEAD)).transpose(1, 2)
        weight, bias = self.attn.in_proj_weight, self.attn.in_proj_bias
        query = split(F.linear(queries, weight[:WIDTH], bias[:WIDTH]))
        key, value = (split(v) for v in F.linear(y, weight[WIDTH:], bias[WIDTH:]).chunk(2, -1))
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=causal).transpose(1, 2).flatten(2)
        x = (x[:, :1] if first else x) + self.attn.out_proj(attended)
        y = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](y * torch.sigmoid(1.702 * y))


class Transformer(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.resblocks = nn.ModuleList(Block() for _ in range(layers))


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        patches = (world.SIDE // PATCH) ** 2
        self.conv1 = nn.Conv3d(3, WIDTH, (1, PATCH, PATCH), (1, PATCH, PATCH), bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(WIDTH))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + patches, WIDTH))
        self.temporal_positional_embedding = nn.Parameter(torch.zeros(1, FRAMES, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = Transformer(VISION_LAYERS)
        self.proj = nn.Parameter(torch.zeros(WIDTH, EMBEDDING))

    def forward(self, frames, keep=1.0):
        """Normalised frames [n, 8, 3, 64, 64] -> [n, 128]; of the patches a random share `keep` is looked at."""
        n = len(frames)
        patches = F.conv2d(frames.flatten(0, 1), self.conv1.weight[:, :, 0], stride=PATCH).flatten(2).transpose(1, 2)
        patches = patches.view(n, FRAMES, -1, WIDTH) + self.positional_embedding[1:] + self.temporal_positional_embedding[0][:, None]
        patches = patches.flatten(1, 2)
        if keep < 1:
            patches = patches[:, torch.randperm(patches.shape[1])[:int(keep * patches.shape[1])]]
        first = self.class_embedding + self.positional_embedding[0]
        x = self.ln_pre(torch.cat([first.expand(n, 1, -1), patches], 1))
        blocks = self.transformer.resblocks
        for block in blocks[:-1]:
            x = block(x)
        return self.ln_post(blocks[-1](x, first=True)[:, 0]) @ self.proj


class Text(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.transformer, self.token_embedding, self.ln_final = Transformer(TEXT_LAYERS), nn.Embedding(vocabulary, WIDTH), nn.LayerNorm(WIDTH)
        self.positional_embedding = nn.Parameter(torch.zeros(video_tokenizer.LENGTH, WIDTH))
        self.text_projection = nn.Parameter(torch.zeros(WIDTH, EMBEDDING))

    def forward(self, tokens):
        """[n, 24] -> [n, 128]; the end of text has the largest number, and padding after it is not seen."""
        x = self.token_embedding(tokens) + self.positional_embedding
        for block in self.transformer.resblocks:
            x = block(x, causal=True)
        return self.ln_final(x[torch.arange(len(tokens)), tokens.argmax(1)]) @ self.text_projection


class ViClip(nn.Module):
    def __init__(self):
        super().__init__()
        self.vision_encoder, self.text_encoder = Vision(), Text(len(video_tokenizer.load()))
        self.temp = nn.Parameter(torch.tensor(0.07))

    def see(self, frames, keep=1.0):
        """Frames in 0..1, [n, 8, 3, 64, 64] -> [n, 128]"""
        mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
        return self.vision_encoder((frames - mean) / std, keep)

    def read(self, tokens):
        return self.text_encoder(tokens)
