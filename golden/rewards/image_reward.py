"""A tiny random ImageReward folder and what the reference computes with it, stage by stage: `image_reward/`.

BLIP's text encoder is that of transformers (BERT with cross-attention); its vision transformer is written out below under
timm's names. Usage: python golden/rewards/image_reward.py   (needs torch, transformers 5, pillow < 13 and numpy)
"""

import json
import pathlib
import shutil

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import BertTokenizer, BlipTextConfig
from transformers.models.blip.modeling_blip_text import BlipTextModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

FOLDER = pathlib.Path(__file__).with_name("image_reward")
PROMPTS = ["a green rabbit", "A GREEN, coloured rabbit's Café!", "你好 unknownword 😀 ab\tc\u00a0d", "", "rabbit " * 60]
WIDTH, HEADS, SIDE, PATCH, DEPTH, HIDDEN = 128, 2, 32, 8, 1, 32
MEAN, STD = 0.16717362830052426, 1.0333394966054072


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        linear = torch.nn.Linear
        self.norm1, self.norm2 = torch.nn.LayerNorm(WIDTH, 1e-6), torch.nn.LayerNorm(WIDTH, 1e-6)
        self.attn = torch.nn.ModuleDict(dict(qkv=linear(WIDTH, 3 * WIDTH), proj=linear(WIDTH, WIDTH)))
        self.mlp = torch.nn.ModuleDict(dict(fc1=linear(WIDTH, 4 * WIDTH), fc2=linear(4 * WIDTH, WIDTH)))

    def forward(self, x):
        split = self.attn["qkv"](self.norm1(x)).unflatten(-1, (3, HEADS, WIDTH // HEADS))
        q, k, v = split.permute(2, 0, 3, 1, 4)
        seen = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.attn["proj"](seen)
        return x + self.mlp["fc2"](torch.nn.functional.gelu(self.mlp["fc1"](self.norm2(x))))


class Vision(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = torch.nn.ModuleDict(dict(proj=torch.nn.Conv2d(3, WIDTH, PATCH, PATCH)))
        self.cls_token = torch.nn.Parameter(torch.randn(1, 1, WIDTH))
        self.pos_embed = torch.nn.Parameter(torch.randn(1, (SIDE // PATCH) ** 2 + 1, WIDTH))
        self.blocks = torch.nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = torch.nn.LayerNorm(WIDTH, 1e-6)

    def forward(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def head():
    widths = [HIDDEN, 1024, 128, 64, 16, 1]
    linears = [torch.nn.Linear(a, b) for a, b in zip(widths, widths[1:])]
    layers = [linears[0], torch.nn.Dropout(), linears[1], torch.nn.Dropout(), linears[2], torch.nn.Dropout(), *linears[3:]]
    return torch.nn.Sequential(*layers)


def vocabulary():
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "!", ",", "'", "你", "rabbit", "green", "color", "##ed"]
    return words + letters + ["##" + letter for letter in letters]


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    torch.manual_seed(8)
    words = vocabulary()
    (FOLDER / "vocab.txt").write_text("".join(word + "\n" for word in words))
    # Two more embeddings than words, as in the published model, for [DEC] and [ENC].
    sizes = dict(hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
    sizes |= dict(max_position_embeddings=40, vocab_size=len(words) + 2, layer_norm_eps=1e-12)
    (FOLDER / "med_config.json").write_text(json.dumps(sizes | dict(hidden_act="gelu"), indent=1) + "\n")
    config = BlipTextConfig(**sizes, encoder_hidden_size=WIDTH, is_decoder=True, hidden_act="gelu")
    text, vision, mlp = BlipTextModel(config, add_pooling_layer=False).eval(), Vision().eval(), head().eval()
    with torch.no_grad():
        for module in (text, vision):
            for parameter in module.parameters():
                # Larger than at initialisation, so that every layer matters in the result.
                parameter.add_(0.1 * torch.randn_like(parameter))
        for parameter in mlp.parameters():
            parameter.mul_(2)
        for module in (text, vision, mlp):
            # The file holds halves, and the reference computes with the same numbers.
            module.half().float()

    state = {f"blip.visual_encoder.{name}": tensor for name, tensor in vision.state_dict().items()}
    state |= {f"blip.text_encoder.{name}": tensor for name, tensor in text.state_dict().items()}
    state |= {f"mlp.layers.{name}": tensor for name, tensor in mlp.state_dict().items()}
    state |= {"blip.text_encoder.embeddings.position_ids": torch.arange(40)[None]}
    state |= {"blip.vision_proj.weight": torch.zeros(4, WIDTH), "blip.text_proj.weight": torch.zeros(4, HIDDEN)}
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    torch.save(state, FOLDER / "ImageReward.pt")

    generator = numpy.random.default_rng(6)
    pictures = [Image.fromarray(generator.integers(0, 256, shape, numpy.uint8)) for shape in ((32, 32, 3), (32, 44, 3))]
    for at, picture in enumerate(pictures):
        picture.save(FOLDER / f"picture-{at}.png")
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    tokenizer = BertTokenizer(str(FOLDER / "vocab.txt"))
    golden = {}
    with torch.no_grad():
        pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        tokens = vision(pixels)
        golden |= {"pixel_values": pixels.permute(0, 2, 3, 1), "picture_tokens": tokens}
        for at, prompt in enumerate(PROMPTS):
            ids = tokenizer(prompt, padding="max_length", truncation=True, max_length=35, return_tensors="pt")
            both = {name: ids[name].expand(len(pictures), -1) for name in ("input_ids", "attention_mask")}
            states = text(**both, encoder_hidden_states=tokens, is_decoder=False).last_hidden_state
            rewards = (mlp(states[:, 0])[:, 0] - MEAN) / STD
            golden[f"ids.{at}"] = ids["input_ids"][0][: int(ids["attention_mask"].sum())]
            golden[f"first_token.{at}"] = states[:, 0]
            golden[f"rewards.{at}"] = rewards
            print(prompt[:20], golden[f"ids.{at}"].tolist()[:12], rewards.tolist())
    save_file({name: tensor.contiguous() for name, tensor in golden.items()}, FOLDER / "golden.safetensors")
    expected = {f"picture-{at}.png": reward for at, reward in enumerate(golden["rewards.0"].tolist())}
    (FOLDER / "self-test.json").write_text(json.dumps({"prompt": PROMPTS[0], "rewards": expected}) + "\n")
    (FOLDER / "prompts.json").write_text(json.dumps(PROMPTS, ensure_ascii=False) + "\n")


main()
