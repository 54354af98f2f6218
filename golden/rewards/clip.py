"""A tiny random CLIPModel folder and what transformers computes with it, stage by stage: `clip/`.

Usage: python golden/rewards/clip.py   (needs torch, transformers 5, pillow < 13 and numpy)
"""

import json
import pathlib
import shutil

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

FOLDER = pathlib.Path(__file__).with_name("clip")
PROMPTS = ["a green dog", "Four pandas, on the moon!", "Café — 你好 😀 don't STOP 2024", "", "dog " * 40]


def bytes_to_letters():
    """The printable stand-ins of byte-level BPE for all 256 bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return {**{byte: chr(byte) for byte in kept}, **{byte: chr(256 + at) for at, byte in enumerate(others)}}


def write_tokenizer():
    letters = [bytes_to_letters()[byte] for byte in range(256)]
    merges = [("d", "o"), ("do", "g</w>"), ("g", "r"), ("e", "e"), ("gr", "ee"), ("gree", "n</w>"), ("o", "n</w>")]
    tokens = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (FOLDER / "vocab.json").write_text(json.dumps({token: at for at, token in enumerate(tokens)}) + "\n")
    (FOLDER / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    return len(tokens)


def pictures():
    generator = numpy.random.default_rng(5)
    sides = [(40, 32), (32, 32), (45, 61)]
    return [Image.fromarray(generator.integers(0, 256, (height, width, 3), numpy.uint8)) for width, height in sides]


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    vocab = write_tokenizer()
    torch.manual_seed(3)
    text = dict(vocab_size=vocab, hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=3)
    text |= dict(max_position_embeddings=20, hidden_act="quick_gelu", bos_token_id=vocab - 2, eos_token_id=vocab - 1)
    vision = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, hidden_act="gelu")
    vision |= dict(image_size=32, patch_size=8)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger than at initialisation, so that every layer matters in the result.
            parameter.add_(0.15 * torch.randn_like(parameter))
        model.logit_scale.fill_(4.6)
    model.save_pretrained(FOLDER)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(FOLDER)
    tokenizer = CLIPTokenizer(str(FOLDER / "vocab.json"), str(FOLDER / "merges.txt"), model_max_length=20)

    tensors = {}
    made = pictures()
    for at, picture in enumerate(made):
        picture.save(FOLDER / f"picture-{at}.png")
    with torch.no_grad():
        pixels = processor(made, return_tensors="pt")["pixel_values"]
        tensors["pixel_values"] = pixels.permute(0, 2, 3, 1).contiguous()
        image = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        tensors["image_features"] = image
        for at, prompt in enumerate(PROMPTS):
            ids = tokenizer(prompt, truncation=True, return_tensors="pt")["input_ids"]
            features = model.text_projection(model.text_model(input_ids=ids).pooler_output)
            tensors[f"ids.{at}"] = ids[0]
            tensors[f"text_features.{at}"] = features[0]
            tensors[f"logits.{at}"] = model(input_ids=ids, pixel_values=pixels).logits_per_image[:, 0]
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, FOLDER / "golden.safetensors")
    (FOLDER / "prompts.json").write_text(json.dumps(PROMPTS, ensure_ascii=False) + "\n")


main()
