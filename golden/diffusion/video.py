"""Makes tiny random text-to-video pipelines and the numbers that diffusers gets from them.

`modelscope` is a folder of `TextToVideoSDPipeline` with `UNet3DConditionModel`; `motion_adapter` and `motion_adapter_no_mid`
are adapters of AnimateDiff for the tiny Stable Diffusion 1 pipeline `sd1`; `animatediff` is a folder that
`AnimateDiffPipeline` saved; `motion_module.ckpt` has the names of AnimateDiff's own program, and `motion_lora` is a motion
LoRA for `motion_adapter` in the names of both programs. Run: python golden/diffusion/video.py   (versions in golden/requirements.txt)
"""

import pathlib
import shutil

import numpy
import safetensors.torch
import torch
from diffusers import (
    AnimateDiffPipeline,
    DDIMScheduler,
    MotionAdapter,
    StableDiffusionPipeline,
    TextToVideoSDPipeline,
    UNet3DConditionModel,
    UNetMotionModel,
)
from transformers import CLIPTextModel

import tiny

HERE = pathlib.Path(__file__).parent
PROMPT = "a green dog"
FRAMES = 3
STEPS = 4
GUIDANCE = 5.0


def record(module, key, states):
    """Keeps the input and output of a layer at its next call."""

    def hook(_, arguments, named, output):
        states[f"{key}.input"] = arguments[0] if arguments else named["hidden_states"]
        states[f"{key}.output"] = output if torch.is_tensor(output) else output[0]

    return module.register_forward_hook(hook, with_kwargs=True)


def halve(folder):
    """Stores all weights of a folder in half precision, but for positional encodings, which the reference has in f32."""
    for path in sorted(folder.rglob("*.safetensors")):
        tensors = safetensors.torch.load_file(path)
        halves = {name: tensor if name.endswith("pos_embed.pe") else tensor.half() for name, tensor in tensors.items()}
        safetensors.torch.save_file(halves, path, metadata={"format": "pt"})


def modelscope():
    folder = HERE / "modelscope"
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer, vocab = tiny.write_tokenizer(folder / "tokenizer", "!", with_json=False, length=12)
    text = tiny.text_encoder(CLIPTextModel, vocab, 16, 31, length=12, num_hidden_layers=2, hidden_act="gelu", eos_token_id=vocab - 1)
    denoiser = UNet3DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    scheduler = DDIMScheduler(**tiny.STABLE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    pipeline = TextToVideoSDPipeline(tiny.kl_decoder(33), text, tokenizer, tiny.randomise(denoiser, 32), scheduler)
    pipeline.save_pretrained(folder)
    halve(folder)
    for path in folder.glob("tokenizer*/tokenizer.json"):
        path.unlink()
    return pipeline


def adapter(name, seed, **settings):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    sizes = dict(block_out_channels=(32, 32), motion_layers_per_block=1, motion_num_attention_heads=4)
    model = MotionAdapter(**sizes, motion_norm_num_groups=8, motion_max_seq_length=6, **settings)
    tiny.randomise(model, seed).save_pretrained(folder)
    halve(folder)
    return model


def strip_positions(name):
    """Published adapters may lack the positional encodings, which can be computed."""
    path = HERE / name / "diffusion_pytorch_model.safetensors"
    tensors = {key: value for key, value in safetensors.torch.load_file(path).items() if not key.endswith("pos_embed.pe")}
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def unet_call(denoiser, generator, layers):
    states = {}
    hooks = [record(denoiser.get_submodule(path), path, states) for path in layers]
    x = torch.randn(2, 4, FRAMES, 8, 6, generator=generator)
    text = torch.randn(2, 12, denoiser.config.cross_attention_dim, generator=generator)
    # The motion model takes a text for each frame, the other one a text for each clip.
    each = FRAMES if isinstance(denoiser, UNetMotionModel) else 1
    output = denoiser(x, 621, encoder_hidden_states=text.repeat_interleave(each, 0)).sample
    for hook in hooks:
        hook.remove()
    return {"unet_input": x, "unet_text": text, "unet_output": output, **states}


def whole_run(pipeline, generator):
    noise = torch.randn(2, 4, FRAMES, 8, 8, generator=generator)
    clips, latents = [], []
    for one in noise:
        run = lambda kind: pipeline(
            PROMPT,
            num_frames=FRAMES,
            height=16,
            width=16,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            latents=one[None].clone(),
            output_type=kind,
        ).frames
        latents.append(run("latent")[0])
        clips.append(torch.from_numpy(numpy.asarray(run("np"))[0]).permute(3, 0, 1, 2))
    return {"noise": noise, "latents": torch.stack(latents), "frames": torch.stack(clips)}


def save(tensors, name):
    tensors = {key: tensor.detach().float().contiguous().clone() for key, tensor in tensors.items()}
    path = HERE / f"{name}.safetensors"
    safetensors.torch.save_file(tensors, path)
    print(path.name, path.stat().st_size)


def original_name(name):
    """What AnimateDiff's own program calls a tensor of a motion module."""
    names = [(".norm1.", ".norms.0."), (".norm2.", ".norms.1."), (".norm3.", ".ff_norm."), (".attn1.", ".attention_blocks.0."),
             (".attn2.", ".attention_blocks.1."), (".pos_embed.pe", ".attention_blocks.0.pos_encoder.pe")]
    level, module = name.split(".motion_modules.")
    at, rest = module.split(".", 1)
    rest = f".{rest}"
    for ours, theirs in names:
        rest = rest.replace(ours, theirs)
    return f"{level}.motion_modules.{at}.temporal_transformer{rest}"


def animated(still, scheduler, model):
    pipeline = AnimateDiffPipeline(still.vae, still.text_encoder, still.tokenizer, still.unet, model, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def original_module(still, scheduler):
    """A file as `mm_sd_v15_v2.ckpt` is one: original names, positional encodings twice in each block, eight heads."""
    sizes = dict(block_out_channels=(32, 32), motion_layers_per_block=1, motion_num_attention_heads=8)
    model = tiny.randomise(MotionAdapter(**sizes, motion_norm_num_groups=8, motion_max_seq_length=5), 43)
    tensors = {}
    for name, tensor in model.state_dict().items():
        encodes = name.endswith("pos_embed.pe")
        tensors[original_name(name)] = tensor.clone() if encodes else tensor.half()
        if encodes:
            tensors[original_name(name).replace("attention_blocks.0", "attention_blocks.1")] = tensor.clone()
    torch.save({"epoch": 5, "state_dict": tensors}, HERE / "motion_module.ckpt")
    model.load_state_dict({name: tensor.half().float() if "pos_embed" not in name else tensor for name, tensor in model.state_dict().items()})
    unet = animated(still, scheduler, model).unet
    save(unet_call(unet, torch.Generator().manual_seed(43), []), "motion_module")


def motion_lora(still, scheduler):
    """A file as `guoyww/animatediff-motion-lora-zoom-out` has it, and the same under the original names."""
    model = MotionAdapter.from_pretrained(HERE / "motion_adapter")
    pipeline = animated(still, scheduler, model)
    generator = torch.Generator().manual_seed(44)
    theirs, ours = {}, {}
    for name, module in pipeline.unet.named_modules():
        if "motion_modules" not in name or not name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            continue
        block, layer = name.removesuffix(".0").rsplit(".", 1) if name.endswith("to_out.0") else name.rsplit(".", 1)
        for side, shape in [("down", (2, module.in_features)), ("up", (module.out_features, 2))]:
            tensor = (0.3 * torch.randn(shape, generator=generator)).half()
            tail = f".processor.{layer}_lora.{side}.weight"
            theirs[f"unet.{block}{tail}"] = tensor
            ours[original_name(f"{block}.").removesuffix(".") + tail] = tensor
    folder = HERE / "motion_lora"
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(theirs, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    torch.save({"epoch": 5, "state_dict": ours}, folder / "original.ckpt")
    # load_lora_weights matches only the names of a folder; the weight is that of the test.
    pipeline.load_lora_weights(folder, weight_name="diffusion_pytorch_model.safetensors", adapter_name="motion")
    pipeline.set_adapters("motion", adapter_weights=0.7)
    save(unet_call(pipeline.unet, torch.Generator().manual_seed(44), []), "motion_lora")


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    pipeline = modelscope()
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(200)
    layers = ["transformer_in", "down_blocks.0.temp_convs.0", "down_blocks.0.temp_attentions.0", "down_blocks.0", "mid_block", "up_blocks.1"]
    save(unet_call(pipeline.unet, generator, layers) | whole_run(pipeline, generator), "modelscope")

    still = StableDiffusionPipeline.from_pretrained(HERE / "sd1", safety_checker=None)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False, steps_offset=1)
    for name, seed, with_mid in [("motion_adapter", 41, True), ("motion_adapter_no_mid", 42, False)]:
        model = adapter(name, seed, use_motion_mid_block=with_mid)
        if not with_mid:
            strip_positions(name)
        pipeline = animated(still, scheduler, model)
        generator = torch.Generator().manual_seed(seed)
        layers = ["down_blocks.0.motion_modules.0", "down_blocks.0", "up_blocks.1"]
        save(unet_call(pipeline.unet, generator, layers) | whole_run(pipeline, generator), name)
    # The last one once more as the whole folder that diffusers saves, of which the denoiser is what is new.
    folder = HERE / "animatediff"
    shutil.rmtree(folder, ignore_errors=True)
    pipeline.save_pretrained(folder)
    halve(folder)
    for part in ["vae", "text_encoder", "tokenizer", "motion_adapter", "image_encoder", "feature_extractor"]:
        shutil.rmtree(folder / part, ignore_errors=True)
    original_module(still, scheduler)
    motion_lora(still, scheduler)


if __name__ == "__main__":
    main()
