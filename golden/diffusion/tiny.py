"""Tiny random pipelines of each family, in the folder layout that diffusers writes.

Weights are stored in half precision, and the reference runs in single precision on exactly those numbers.
"""

import json
import pathlib
import shutil

import safetensors.torch
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

MERGES = ["t h", "a n", "e n</w>", "th e</w>", "g r", "e en</w>", "gr een</w>", "a</w> b", "d o", "do g</w>"]
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
STABLE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def byte_alphabet():
    """The 256 printable stand-ins of byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = iter(range(256, 512))
    order = printable + [byte for byte in range(256) if byte not in printable]
    return [chr(byte if byte in printable else next(shifted)) for byte in order]


def write_tokenizer(folder, pad, with_json, length):
    folder.mkdir(parents=True)
    alphabet = byte_alphabet()
    tokens = alphabet + [token + "</w>" for token in alphabet] + [merge.replace(" ", "") for merge in MERGES]
    vocab = {token: at for at, token in enumerate(tokens + [BEGIN, END])}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    config = dict(
        tokenizer_class="CLIPTokenizer",
        model_max_length=length,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=END,
        pad_token={"__type": "AddedToken", "content": END},
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(
        json.dumps(dict(bos_token=BEGIN, eos_token=END, unk_token=END, pad_token=pad))
    )
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    if with_json:
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer, len(vocab)


def randomise(module, seed):
    """Random numbers in every tensor, so that no bias or scale hides behind its default, rounded to half precision."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            noise = torch.randn(tensor.shape, generator=generator)
            if tensor.dim() <= 1:
                value = 0.1 * noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
            elif "embedding" in name and "time_embedding" not in name and "add_embedding" not in name:
                value = 0.5 * noise
            else:
                value = noise / tensor[0].numel() ** 0.5
            tensor.copy_(value.half().float())
    return module.eval()


def text_encoder(kind, vocab, width, seed, **settings):
    config = CLIPTextConfig(
        vocab_size=vocab,
        hidden_size=width,
        intermediate_size=2 * width,
        num_attention_heads=2,
        max_position_embeddings=settings.pop("length"),
        bos_token_id=vocab - 2,
        pad_token_id=vocab - 1,
        **settings,
    )
    return randomise(kind(config), seed)


def kl_decoder(seed, **settings):
    sizes = dict(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=16,
    )
    return randomise(AutoencoderKL(**{**sizes, **settings}), seed)


def unet(seed, **settings):
    return randomise(UNet2DConditionModel(sample_size=8, in_channels=4, out_channels=4, **settings), seed)


ATTENDING_OUTSIDE = dict(
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")
)
ATTENDING_INSIDE = dict(
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D")
)


def sd1(folder):
    tokenizer, vocab = write_tokenizer(folder / "tokenizer", END, with_json=False, length=12)
    text = text_encoder(CLIPTextModel, vocab, 16, 1, length=12, num_hidden_layers=2, hidden_act="quick_gelu", eos_token_id=2)
    denoiser = unet(
        2,
        block_out_channels=(32, 32),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=32,
        **ATTENDING_OUTSIDE,
    )
    scheduler = PNDMScheduler(**STABLE, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)
    return StableDiffusionPipeline(kl_decoder(3), text, tokenizer, denoiser, scheduler, None, None, requires_safety_checker=False)


def sd2(folder):
    tokenizer, vocab = write_tokenizer(folder / "tokenizer", "!", with_json=True, length=12)
    text = text_encoder(
        CLIPTextModel, vocab, 24, 4, length=12, num_hidden_layers=3, hidden_act="gelu", eos_token_id=vocab - 1
    )
    denoiser = unet(
        5,
        block_out_channels=(16, 32),
        layers_per_block=2,
        cross_attention_dim=24,
        attention_head_dim=(2, 4),
        norm_num_groups=8,
        use_linear_projection=True,
        upcast_attention=True,
        **ATTENDING_OUTSIDE,
    )
    scheduler = DDIMScheduler(
        **STABLE, prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )
    return StableDiffusionPipeline(kl_decoder(6), text, tokenizer, denoiser, scheduler, None, None, requires_safety_checker=False)


def sdxl(folder):
    first, vocab = write_tokenizer(folder / "tokenizer", END, with_json=False, length=12)
    second, _ = write_tokenizer(folder / "tokenizer_2", "!", with_json=False, length=12)
    settings = dict(length=12, num_hidden_layers=2, eos_token_id=2)
    text = text_encoder(CLIPTextModel, vocab, 16, 7, hidden_act="quick_gelu", **settings)
    text_2 = text_encoder(CLIPTextModelWithProjection, vocab, 24, 8, hidden_act="gelu", projection_dim=20, **settings)
    denoiser = unet(
        9,
        block_out_channels=(16, 32),
        layers_per_block=1,
        cross_attention_dim=40,
        attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 2),
        norm_num_groups=8,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=20 + 6 * 8,
        **ATTENDING_INSIDE,
    )
    scheduler = EulerDiscreteScheduler(**STABLE, timestep_spacing="leading", steps_offset=1)
    vae = kl_decoder(
        10,
        use_post_quant_conv=False,
        use_quant_conv=False,
        mid_block_add_attention=False,
        scaling_factor=0.13025,
        shift_factor=0.1,
    )
    return StableDiffusionXLPipeline(
        vae, text, text_2, first, second, denoiser, scheduler, force_zeros_for_empty_prompt=True, add_watermarker=False
    )


def lcm(folder):
    tokenizer, vocab = write_tokenizer(folder / "tokenizer", END, with_json=False, length=12)
    text = text_encoder(CLIPTextModel, vocab, 16, 11, length=12, num_hidden_layers=1, eos_token_id=2)
    denoiser = unet(
        12,
        block_out_channels=(16, 32),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=8,
        time_cond_proj_dim=8,
        **ATTENDING_INSIDE,
    )
    sizes = dict(encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8))
    blocks = dict(num_encoder_blocks=(1, 1), num_decoder_blocks=(2, 1))
    vae = randomise(AutoencoderTiny(**sizes, **blocks), 13)
    scheduler = LCMScheduler(**STABLE, original_inference_steps=50)
    return LatentConsistencyModelPipeline(vae, text, tokenizer, denoiser, scheduler, None, None, requires_safety_checker=False)


def halve(folder):
    """Stores all weights of a folder in half precision."""
    for path in sorted(folder.rglob("*.safetensors")):
        tensors = safetensors.torch.load_file(path)
        halves = {name: tensor.half() for name, tensor in tensors.items()}
        safetensors.torch.save_file(halves, path, metadata={"format": "pt"})


def age(folder):
    """Older spellings that published checkpoints have: attention names of the decoder, a prefix of the text encoder."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    renamed = {}
    for name, tensor in tensors.items():
        if "attentions" in name:
            for new, before in old.items():
                name = name.replace(f".{new}.", f".{before}.")
        renamed[name] = tensor
    safetensors.torch.save_file(renamed, path, metadata={"format": "pt"})
    path = folder / "text_encoder" / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    prefixed = {name if name.startswith("text_model.") else f"text_model.{name}": t for name, t in tensors.items()}
    prefixed["text_model.embeddings.position_ids"] = torch.arange(12).unsqueeze(0)
    safetensors.torch.save_file(prefixed, path.with_name("model.fp16.safetensors"), metadata={"format": "pt"})
    path.unlink()


def shard(folder):
    """The denoiser in two files with an index."""
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    names = sorted(tensors)
    parts, weight_map = [names[: len(names) // 2], names[len(names) // 2 :]], {}
    for at, part in enumerate(parts):
        file = f"diffusion_pytorch_model-{at + 1:05}-of-{len(parts):05}.safetensors"
        safetensors.torch.save_file({name: tensors[name] for name in part}, path.with_name(file))
        weight_map.update(dict.fromkeys(part, file))
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    path.with_name("diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    path.unlink()


def build(name, root):
    """Writes the folder `root/name` and gives the pipeline that it holds."""
    folder = pathlib.Path(root) / name
    shutil.rmtree(folder, ignore_errors=True)
    pipeline = {"sd1": sd1, "sd2": sd2, "sdxl": sdxl, "lcm": lcm}[name](folder)
    pipeline.save_pretrained(folder)
    halve(folder)
    if name != "sd2":
        # Published folders of these families have the vocabulary and the merges only.
        for path in folder.glob("tokenizer*/tokenizer.json"):
            path.unlink()
    if name == "sd2":
        age(folder)
    if name == "sdxl":
        shard(folder)
    return pipeline
