"""Tokens that are added to a vocabulary, textual-inversion files and long prompts, as transformers and diffusers read them:
`text_files/`.

Run: python golden/diffusion/text_files.py   (after make.py; versions in golden/requirements.txt)
"""

import json
import pathlib
import shutil
import tempfile

import diffusers
import safetensors.torch
import torch
from transformers import CLIPTokenizer

import formula
import make

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "text_files"
GENERATOR = torch.Generator().manual_seed(11)
TEXTS = [
    "a <my-toy> on the moon",
    "A <MY-TOY>",
    "a<my-toy>b",
    "<my-toy><my-toy> <my-toy>s",
    "x  <my-toy>  y",
    "red <my toy>",
    "a <Style>, dog",
    "a <style> dog",
    "pre <mark> post <mark>s",
    "a word and words, sword",
    "begin <|endoftext|> end",
]
PROMPT = "a green dog on the moon and a red cat"
LONG = "a green dog and a red cat on the moon " * 3 + "with a blue hat"


def added(texts=TEXTS):
    """Files beside the vocabulary of `sd1`, and the ids of the texts with them."""
    begin, end = "<|startoftext|>", "<|endoftext|>"
    size = len(json.loads((HERE / "sd1/tokenizer/vocab.json").read_text()))
    special = dict(bos_token=begin, eos_token=end, unk_token=end, pad_token=end)
    plain = dict(tokenizer_class="CLIPTokenizer", model_max_length=77, **special)
    entry = lambda content, **flags: dict(
        dict(content=content, lstrip=False, normalized=True, rstrip=False, single_word=False, special=False), **flags
    )
    setups = {
        "added_tokens.json": {
            "added_tokens.json": {"<Style>": size + 1, "<my-toy>": size},
            "special_tokens_map.json": dict(special, additional_special_tokens=["<mark>"]),
            "tokenizer_config.json": plain,
        },
        "added_tokens_decoder": {
            "special_tokens_map.json": special,
            "tokenizer_config.json": dict(
                plain,
                added_tokens_decoder={
                    str(size): entry("<my-toy>"),
                    str(size + 1): entry("<mark>", lstrip=True, rstrip=True, special=True, normalized=False),
                    str(size + 2): entry("word", single_word=True),
                },
            ),
        },
    }
    rows = []
    for name, files in setups.items():
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for file in ("vocab.json", "merges.txt"):
                shutil.copy(HERE / "sd1/tokenizer" / file, folder)
            for file, content in files.items():
                (folder / file).write_text(json.dumps(content))
            tokenizer = CLIPTokenizer.from_pretrained(folder)
            ids = [[text, tokenizer(text).input_ids] for text in texts]
            print(name, tokenizer.added_tokens_encoder)
        rows.append(dict(name=name, folder="sd1/tokenizer", files={file: json.dumps(content) for file, content in files.items()}, texts=ids))
    # A padding token is a token of its own wherever it stands in a text.
    tokenizer = CLIPTokenizer.from_pretrained(HERE / "sdxl/tokenizer_2")
    ids = [[text, tokenizer(text).input_ids] for text in ("a dog! hi", "!!", "hi!hi")]
    rows.append(dict(name="pad_token", folder="sdxl/tokenizer_2", files={}, texts=ids))
    (FOLDER / "added.json").write_text(json.dumps(rows, separators=(",", ":"), ensure_ascii=False) + "\n")


def pipeline(family):
    cls = diffusers.StableDiffusionXLPipeline if family == "sdxl" else diffusers.StableDiffusionPipeline
    loaded = cls.from_pretrained(HERE / family, torch_dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def latents(loaded, **arguments):
    noise = formula.tensor("noise", (1, 4, 8, 8)) * 14
    return loaded(num_inference_steps=2, guidance_scale=5.0, latents=noise.clone(), output_type="latent", **arguments).images


def random(*shape):
    return torch.randn(*shape, generator=GENERATOR) * 0.5


def embeddings(golden):
    width = 16
    safetensors.torch.save_file({"<cat>": random(3, width)}, FOLDER / "several.safetensors")
    torch.save({"<Dog>": random(width)}, FOLDER / "one.bin")
    older = {"string_to_token": {"*": 265}, "string_to_param": {"*": random(2, width)}, "name": "my-style", "step": 7}
    torch.save(older, FOLDER / "older.pt")
    loaded = pipeline("sd1")
    loaded.load_textual_inversion(FOLDER / "several.safetensors")
    loaded.load_textual_inversion(FOLDER / "one.bin")
    loaded.load_textual_inversion(FOLDER / "older.pt", token="<new>")
    golden["sd1.embedding"] = latents(loaded, prompt="a <cat> and a <dog> <new>", negative_prompt="<cat>")
    loaded = pipeline("sdxl")
    widths = [loaded.text_encoder.config.hidden_size, loaded.text_encoder_2.config.hidden_size]
    tensors = {"clip_l": random(2, widths[0]), "clip_g": random(2, widths[1])}
    safetensors.torch.save_file(tensors, FOLDER / "xl.safetensors")
    loaded.load_textual_inversion({"x": tensors["clip_l"]}, token="<cat>", text_encoder=loaded.text_encoder, tokenizer=loaded.tokenizer)
    loaded.load_textual_inversion({"x": tensors["clip_g"]}, token="<cat>", text_encoder=loaded.text_encoder_2, tokenizer=loaded.tokenizer_2)
    golden["sdxl.embedding"] = latents(loaded, prompt="a <cat>", negative_prompt="a dog")


def chunks(tokenizer, text, count):
    """Pieces of the encoder's length, each with begin and end."""
    room = tokenizer.model_max_length - 2
    ids = tokenizer(text, add_special_tokens=False).input_ids
    pieces = [ids[at * room : (at + 1) * room] for at in range(count or max(1, -(-len(ids) // room)))]
    whole = lambda piece: [tokenizer.bos_token_id, *piece, tokenizer.eos_token_id]
    return torch.tensor([whole(piece) + [tokenizer.pad_token_id] * (room - len(piece)) for piece in pieces])


def long_prompts(golden):
    for family in ("sd1", "sdxl"):
        loaded = pipeline(family)
        pairs = [(loaded.tokenizer, loaded.text_encoder)]
        if family == "sdxl":
            pairs.append((loaded.tokenizer_2, loaded.text_encoder_2))
        count = max(len(chunks(tokenizer, LONG, None)) for tokenizer, _ in pairs)
        print(family, count, "chunks")
        arguments = {}
        for prefix, text in (("", LONG), ("negative_", "a blue cat")):
            states = []
            for tokenizer, encoder in pairs:
                out = encoder(chunks(tokenizer, text, count), output_hidden_states=True)
                state = out.hidden_states[-2] if family == "sdxl" else out.last_hidden_state
                states.append(state.reshape(1, -1, state.shape[-1]))
                if family == "sdxl" and hasattr(out, "text_embeds"):
                    arguments[f"{prefix}pooled_prompt_embeds"] = out.text_embeds[:1]
            arguments[f"{prefix}prompt_embeds"] = torch.cat(states, -1)
        golden[f"{family}.long"] = latents(loaded, **arguments)
        golden[f"{family}.cut"] = latents(loaded, prompt=LONG, negative_prompt="a blue cat")


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    added()
    golden = {}
    embeddings(golden)
    long_prompts(golden)
    make.save(golden, "text_files")
    for name, value in golden.items():
        print(name, float(value.std()))


if __name__ == "__main__":
    main()
