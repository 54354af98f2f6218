"""A tiny random HPSv2 file and what the reference computes with it, stage by stage: `hps/`.

open_clip's towers are written out below from PyTorch's own layers, under open_clip's names; the preprocessing is that of
HPSv2 under the current torchvision (antialiased). Usage: python golden/rewards/hps.py   (needs torch, transformers 5,
pillow and numpy; reads the tokenizer of `clip/`)
"""

import json
import pathlib
import shutil

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTokenizer

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "hps"
PROMPTS = ["a green dog", "Four pandas, on the moon!", ""]
SIDE, PATCH, WIDTH, TEXT, EMBEDDING, CONTEXT = 32, 8, 128, 64, 24, 24
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, width // 64, batch_first=True)
        self.mlp = nn.ModuleDict(dict(c_fc=nn.Linear(width, 4 * width), c_proj=nn.Linear(4 * width, width)))

    def forward(self, x, mask):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp["c_proj"](nn.functional.gelu(self.mlp["c_fc"](self.ln_2(x))))


class Transformer(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, x, mask=None):
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn((SIDE // PATCH) ** 2 + 1, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = Transformer(WIDTH, 1)
        self.proj = nn.Parameter(torch.randn(WIDTH, EMBEDDING))

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj


class Model(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.visual, self.transformer = Visual(), Transformer(TEXT, 2)
        self.token_embedding, self.ln_final = nn.Embedding(vocab, TEXT), nn.LayerNorm(TEXT)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, TEXT))
        self.text_projection = nn.Parameter(torch.randn(TEXT, EMBEDDING))
        self.logit_scale = nn.Parameter(torch.tensor(4.6))

    def encode_text(self, ids):
        mask = torch.full((CONTEXT, CONTEXT), -torch.inf).triu(1)
        x = self.transformer(self.token_embedding(ids) + self.positional_embedding, mask)
        return self.ln_final(x)[torch.arange(len(ids)), ids.argmax(-1)] @ self.text_projection


def preprocess(picture):
    x = torch.from_numpy(numpy.asarray(picture).copy()).permute(2, 0, 1).float() / 255
    scale = SIDE / max(x.shape[1:])
    size = [round(length * scale) for length in x.shape[1:]]
    x = nn.functional.interpolate(x[None], size, mode="bicubic", antialias=True)[0]
    rows, columns = SIDE - size[0], SIDE - size[1]
    x = nn.functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    torch.manual_seed(9)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(HERE / "clip" / name, FOLDER / name)
    tokenizer = CLIPTokenizer(str(FOLDER / "vocab.json"), str(FOLDER / "merges.txt"))
    model = Model(len(tokenizer)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger than at initialisation, so that every layer matters in the result.
            parameter.add_(0.1 * torch.randn_like(parameter))
    # The file holds halves, and the reference computes with the same numbers.
    torch.save({"epoch": 1, "state_dict": model.half().state_dict()}, FOLDER / "HPS_v2_compressed.pt")
    model = model.float()
    generator = numpy.random.default_rng(7)
    sizes = [(32, 32), (45, 61), (80, 51)]
    pictures = [Image.fromarray(generator.integers(0, 256, (*size, 3), numpy.uint8)) for size in sizes]
    for at, picture in enumerate(pictures):
        picture.save(FOLDER / f"picture-{at}.png")
    golden = {}
    with torch.no_grad():
        pixels = torch.stack([preprocess(picture) for picture in pictures])
        golden["pixel_values"] = pixels.permute(0, 2, 3, 1).contiguous()
        golden["image_features"] = model.visual(pixels)
        image = nn.functional.normalize(golden["image_features"], dim=-1)
        for at, prompt in enumerate(PROMPTS):
            ids = tokenizer(prompt)["input_ids"]
            golden[f"ids.{at}"] = torch.tensor(ids)
            text = model.encode_text(torch.tensor([ids + [0] * (CONTEXT - len(ids))]))
            golden[f"text_features.{at}"] = text[0]
            golden[f"scores.{at}"] = (image * nn.functional.normalize(text, dim=-1)).sum(-1)
            print(prompt, golden[f"scores.{at}"].tolist())
    save_file(golden, FOLDER / "golden.safetensors")
    (FOLDER / "prompts.json").write_text(json.dumps(PROMPTS) + "\n")


main()
