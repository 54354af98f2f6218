"""Random models of the published sizes with their published configs, and what diffusers gets from them.

Run: python golden/diffusion/full_size.py sd15|sd21|sdxl|modelscope FOLDER   (needs up to 15 GB of memory; nothing of it is kept in
the repository). Then: cargo run --release -p noisefind-diffusion --example agree -- FOLDER/NAME FOLDER/NAME.safetensors
"""

import pathlib
import sys
import time

import diffusers
import safetensors.torch
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import tiny

PROMPT = "a green dog"
TIMESTEP = 621
BLOCKS = dict(
    down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    block_out_channels=[320, 640, 1280, 1280],
)
UNETS = {
    "sd15": dict(BLOCKS, attention_head_dim=8, cross_attention_dim=768, sample_size=64),
    "sd21": dict(
        BLOCKS,
        attention_head_dim=[5, 10, 20, 20],
        cross_attention_dim=1024,
        sample_size=96,
        use_linear_projection=True,
        upcast_attention=True,
    ),
    "sdxl": dict(
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        attention_head_dim=[5, 10, 20],
        block_out_channels=[320, 640, 1280],
        cross_attention_dim=2048,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        projection_class_embeddings_input_dim=2816,
        sample_size=128,
        transformer_layers_per_block=[1, 2, 10],
        use_linear_projection=True,
    ),
}
CLIP = dict(vocab_size=49408, max_position_embeddings=77, eos_token_id=2)
CLIP_L = dict(CLIP, hidden_act="quick_gelu", hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12)
CLIP_H = dict(CLIP, hidden_act="gelu", hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_hidden_layers=23)
CLIP_G = dict(
    CLIP, hidden_act="gelu", hidden_size=1280, intermediate_size=5120, num_attention_heads=20, num_hidden_layers=32, projection_dim=1280
)
# A clip is small and has few steps, because a frame costs as much as an image.
FRAMES = 4
STABLE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def random_vae(name):
    return diffusers.AutoencoderKL(
        block_out_channels=[128, 256, 512, 512],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=2,
        sample_size=1024 if name == "sdxl" else 512,
        scaling_factor=0.13025 if name == "sdxl" else 0.18215,
    )


def make(name, folder):
    """The pipeline in single precision, or for the largest in half precision, as it is published."""
    if name == "sdxl":
        torch.set_default_dtype(torch.float16)
    torch.manual_seed(5)
    tokenizer, _ = tiny.write_tokenizer(folder / "tokenizer", "!" if name in ("sd21", "modelscope") else tiny.END, False, 77)
    if name == "modelscope":
        # The defaults of the class are the config of text-to-video-ms-1.7b.
        unet = diffusers.UNet3DConditionModel(sample_size=32)
    else:
        unet = diffusers.UNet2DConditionModel.from_config(UNETS[name])
    vae = random_vae(name)
    text = CLIPTextModel(CLIPTextConfig(**(CLIP_H if name in ("sd21", "modelscope") else CLIP_L)))
    if name == "sdxl":
        tokenizer_2, _ = tiny.write_tokenizer(folder / "tokenizer_2", "!", False, 77)
        text_2 = CLIPTextModelWithProjection(CLIPTextConfig(**CLIP_G))
        scheduler = diffusers.EulerDiscreteScheduler(**STABLE, timestep_spacing="leading", steps_offset=1)
        pipeline = diffusers.StableDiffusionXLPipeline(
            vae, text, text_2, tokenizer, tokenizer_2, unet, scheduler, force_zeros_for_empty_prompt=True, add_watermarker=False
        )
    elif name == "modelscope":
        scheduler = diffusers.DDIMScheduler(**STABLE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
        pipeline = diffusers.TextToVideoSDPipeline(vae, text, tokenizer, unet, scheduler)
    else:
        settings = dict(STABLE, set_alpha_to_one=False, steps_offset=1)
        if name == "sd15":
            scheduler = diffusers.PNDMScheduler(**settings, skip_prk_steps=True)
        else:
            scheduler = diffusers.DDIMScheduler(**settings, clip_sample=False, prediction_type="v_prediction")
        pipeline = diffusers.StableDiffusionPipeline(
            vae, text, tokenizer, unet, scheduler, None, None, requires_safety_checker=False
        )
    pipeline.save_pretrained(folder, variant="fp16" if name == "sdxl" else None, max_shard_size="40GB")
    torch.set_default_dtype(torch.float32)


@torch.no_grad()
def clip_reference(folder):
    """One call of the denoiser, and a clip of two steps."""
    start = time.time()
    pipeline = diffusers.TextToVideoSDPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    print(f"diffusers loaded in {time.time() - start:.1f} s, {sum(p.numel() for p in pipeline.unet.parameters())} parameters")
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    out = {"unet_input": draw(1, 4, FRAMES, 16, 16), "unet_text": draw(1, 77, 1024)}
    start = time.time()
    out["unet_output"] = pipeline.unet(out["unet_input"], TIMESTEP, encoder_hidden_states=out["unet_text"]).sample
    print(f"one call of the denoiser took {time.time() - start:.1f} s")
    out["noise"] = draw(1, 4, FRAMES, 16, 16)
    arguments = dict(num_inference_steps=2, guidance_scale=9.0, height=128, width=128, num_frames=FRAMES)
    start = time.time()
    out["latents"] = pipeline(PROMPT, latents=out["noise"].clone(), output_type="latent", **arguments).frames
    print(f"diffusers drew two steps in {time.time() - start:.1f} s")
    frames = out["latents"][0].transpose(0, 1) / pipeline.vae.config.scaling_factor
    pictures = pipeline.vae.decode(frames).sample.transpose(0, 1)[None]
    out["pictures"] = (pictures / 2 + 0.5).clamp(0, 1)
    tensors = {key: value.float().contiguous() for key, value in out.items()}
    safetensors.torch.save_file(tensors, folder.with_suffix(".safetensors"))


@torch.no_grad()
def reference(name, folder):
    is_xl = name == "sdxl"
    kind = diffusers.StableDiffusionXLPipeline if is_xl else diffusers.StableDiffusionPipeline
    start = time.time()
    pipeline = kind.from_pretrained(folder, torch_dtype=torch.float32, variant="fp16" if is_xl else None)
    print(f"diffusers loaded in {time.time() - start:.1f} s")
    pipeline.set_progress_bar_config(disable=True)
    size = 16 if is_xl else 32
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    out = {"unet_input": draw(1, 4, size, size), "unet_text": draw(1, 77, UNETS[name]["cross_attention_dim"])}
    extra = {}
    if is_xl:
        out["unet_pooled"] = draw(1, 1280)
        time_ids = torch.tensor([[128.0, 128.0, 0.0, 0.0, 128.0, 128.0]])
        extra["added_cond_kwargs"] = {"text_embeds": out["unet_pooled"], "time_ids": time_ids}
    out["unet_output"] = pipeline.unet(out["unet_input"], TIMESTEP, encoder_hidden_states=out["unet_text"], **extra).sample
    out["noise"] = draw(1, 4, size, size)
    arguments = dict(num_inference_steps=4, guidance_scale=5.0, height=8 * size, width=8 * size)
    start = time.time()
    out["latents"] = pipeline(PROMPT, latents=out["noise"].clone(), output_type="latent", **arguments).images
    print(f"diffusers drew four steps in {time.time() - start:.1f} s")
    pictures = pipeline.vae.decode(out["latents"] / pipeline.vae.config.scaling_factor).sample
    out["pictures"] = (pictures / 2 + 0.5).clamp(0, 1)
    tensors = {key: value.float().contiguous() for key, value in out.items()}
    safetensors.torch.save_file(tensors, folder.with_suffix(".safetensors"))


if __name__ == "__main__":
    name, root = sys.argv[1], pathlib.Path(sys.argv[2])
    torch.set_num_threads(1)
    if not (root / name / "model_index.json").exists():
        make(name, root / name)
    if name == "modelscope":
        clip_reference(root / name)
    else:
        reference(name, root / name)
