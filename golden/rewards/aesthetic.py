"""A tiny random CLIP model of the aesthetic predictor's width, and what the predictor makes of it: `aesthetic/`.

The head of five linear layers has a million weights, so it is given by a formula that the test repeats.
Usage: python golden/rewards/aesthetic.py   (needs torch, transformers 5, pillow < 13 and numpy; reads the pictures and
the preprocessor of `clip/`)
"""

import json
import pathlib
import shutil

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "aesthetic"
WIDTHS = [768, 1024, 128, 64, 16, 1]


def numbers(count, seed):
    """Scrambled whole numbers as numbers in -1..1, the same in every language."""
    at = (numpy.arange(count, dtype=numpy.uint64) + seed * 1000003) * 2654435761 % 2**32
    at = (at ^ (at >> 15)) * 2246822519 % 2**32
    return (at ^ (at >> 13)) / 2**31 - 1


def linear(at):
    """Layer `at` with the spread kept from input to output."""
    fan_in, fan_out = WIDTHS[at], WIDTHS[at + 1]
    layer = torch.nn.Linear(fan_in, fan_out)
    with torch.no_grad():
        weight = numbers(fan_in * fan_out, 2 * at) * numpy.sqrt(3 / fan_in)
        layer.weight.copy_(torch.from_numpy(weight).view(fan_out, fan_in))
        layer.bias.copy_(torch.from_numpy(numbers(fan_out, 2 * at + 1) / 10))
    return layer


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    torch.manual_seed(12)
    text = dict(vocab_size=20, bos_token_id=0, eos_token_id=1, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    vision = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTHS[0])).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger than at initialisation, so that every layer matters in the result.
            parameter.add_(0.3 * torch.randn_like(parameter))
    # The file holds halves, and the reference computes with the same numbers.
    model.half().save_pretrained(FOLDER)
    model = model.float()
    shutil.copy(HERE / "clip" / "preprocessor_config.json", FOLDER)
    pictures = [Image.open(HERE / "clip" / f"picture-{at}.png") for at in range(3)]
    processor = CLIPImageProcessorPil.from_pretrained(FOLDER)
    with torch.no_grad():
        pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        features = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        head = torch.nn.Sequential(*[linear(at) for at in range(5)])
        scores = head(torch.nn.functional.normalize(features, dim=-1))[:, 0]
    print(json.dumps(scores.tolist()))
    save_file({"image_features": features.contiguous(), "scores": scores.contiguous()}, FOLDER / "golden.safetensors")


main()
