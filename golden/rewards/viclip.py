"""A tiny random ViCLIP file and what the reference computes with it, stage by stage: `viclip/`.

The towers are written out below from the published description, with PyTorch's own layers under ViCLIP's names; frames
are resized by OpenCV. Usage: python golden/rewards/viclip.py   (needs torch, transformers 5, pillow, numpy and
opencv-python-headless 4; reads the tokenizer of `clip/`)
"""

import json
import pathlib
import shutil

import cv2
import numpy
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTokenizer

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "viclip"
PROMPTS = ["a red car moving from right to left", "Four pandas &amp; a dog, on the moon!", ""]
FRAMES, SIDE, PATCH, WIDTH, TEXT, EMBEDDING, CONTEXT = 4, 16, 4, 128, 64, 24, 12
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, width // 64, batch_first=True)
        self.mlp = nn.ModuleDict(dict(c_fc=nn.Linear(width, 4 * width), c_proj=nn.Linear(4 * width, width)))
        self.gelu = QuickGELU()

    def forward(self, x, mask):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp["c_proj"](self.gelu(self.mlp["c_fc"](self.ln_2(x))))


class Transformer(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, x, mask=None):
        for block in self.resblocks:
            x = block(x, mask)
        return x


class VisionEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv3d(3, WIDTH, (1, PATCH, PATCH), (1, PATCH, PATCH), bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn((SIDE // PATCH) ** 2 + 1, WIDTH))
        self.temporal_positional_embedding = nn.Parameter(torch.randn(1, FRAMES, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = Transformer(WIDTH, 2)
        self.proj = nn.Parameter(torch.randn(WIDTH, EMBEDDING))

    def tokens(self, x):
        """`[1, frames, 3, side, side]` to the class token and the patches, those of one position side by side."""
        x = self.conv1(x.transpose(1, 2))[0].permute(1, 2, 3, 0).flatten(1, 2)
        x = torch.cat([self.class_embedding.expand(FRAMES, 1, -1), x], 1) + self.positional_embedding
        patches = x[:, 1:].transpose(0, 1) + self.temporal_positional_embedding
        return torch.cat([x[0, :1], patches.flatten(0, 1)])[None]

    def forward(self, x):
        return self.ln_post(self.transformer(self.ln_pre(self.tokens(x))))[:, 0] @ self.proj


class TextEncoder(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.transformer = Transformer(TEXT, 2)
        self.token_embedding, self.ln_final = nn.Embedding(vocab, TEXT), nn.LayerNorm(TEXT)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, TEXT))
        self.text_projection = nn.Parameter(torch.randn(TEXT, EMBEDDING))

    def forward(self, ids):
        mask = torch.full((CONTEXT, CONTEXT), -torch.inf).triu(1)
        x = self.transformer(self.token_embedding(ids) + self.positional_embedding, mask)
        return self.ln_final(x)[torch.arange(len(ids)), ids.argmax(-1)] @ self.text_projection


class ViCLIP(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.vision_encoder, self.text_encoder = VisionEncoder(), TextEncoder(vocab)
        self.temp = nn.Parameter(torch.tensor(0.01))


def preprocess(clip):
    """`[frames, height, width, 3]` bytes to `[1, frames, 3, side, side]`."""
    clip = clip[:: len(clip) // FRAMES][:FRAMES]
    frames = [(cv2.resize(frame, (SIDE, SIDE)) / 255.0 - MEAN) / STD for frame in clip]
    return torch.from_numpy(numpy.stack(frames)).permute(0, 3, 1, 2).float()[None]


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    torch.manual_seed(11)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(HERE / "clip" / name, FOLDER / name)
    tokenizer = CLIPTokenizer(str(FOLDER / "vocab.json"), str(FOLDER / "merges.txt"))
    model = ViCLIP(len(tokenizer)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger than at initialisation, so that every layer matters in the result.
            parameter.add_(0.1 * torch.randn_like(parameter))
    # The file holds halves, and the reference computes with the same numbers.
    torch.save({"model": model.half().state_dict()}, FOLDER / "ViClip-InternVid-10M-FLT.pth")
    model = model.float()
    generator = numpy.random.default_rng(7)
    clips = [generator.integers(0, 256, size + (3,), numpy.uint8) for size in [(4, 16, 16), (9, 30, 45), (8, 21, 11)]]
    golden = {}
    with torch.no_grad():
        features = []
        for at, clip in enumerate(clips):
            Image.fromarray(clip.reshape(-1, *clip.shape[2:])).save(FOLDER / f"clip-{at}.png")
            pixels = preprocess(clip)
            features.append(model.vision_encoder(pixels))
            golden[f"frames.{at}"] = torch.tensor([len(clip)])
            golden[f"pixel_values.{at}"] = pixels[0].permute(0, 2, 3, 1).contiguous()
            golden[f"tokens.{at}"] = model.vision_encoder.tokens(pixels)
            golden[f"clip_features.{at}"] = features[-1]
        clip_features = nn.functional.normalize(torch.cat(features), dim=-1)
        for at, prompt in enumerate(PROMPTS):
            ids = tokenizer(prompt.replace("&amp;", "&"))["input_ids"]
            if len(ids) > CONTEXT:
                ids = ids[: CONTEXT - 1] + ids[-1:]
            golden[f"ids.{at}"] = torch.tensor(ids)
            text = model.text_encoder(torch.tensor([ids + [0] * (CONTEXT - len(ids))]))
            golden[f"text_features.{at}"] = text[0]
            golden[f"scores.{at}"] = (clip_features * nn.functional.normalize(text, dim=-1)).sum(-1)
            print(prompt, golden[f"scores.{at}"].tolist())
    save_file(golden, FOLDER / "golden.safetensors")
    (FOLDER / "prompts.json").write_text(json.dumps(PROMPTS) + "\n")


main()
