"""Makes tiny random pipelines and the numbers that diffusers gets from them.

Run: python golden/diffusion/make.py   (versions in golden/requirements.txt)
"""

import pathlib
import shutil

import numpy
import safetensors.torch
import torch
import transformers

import tiny

HERE = pathlib.Path(__file__).parent
PROMPT = "a green dog"
NEGATIVE = {"sd1": "", "sd2": "the moon", "sdxl": "", "lcm": ""}
STEPS = {"sd1": 10, "sd2": 10, "sdxl": 10, "lcm": 1}
GUIDANCE = 5.0


def text_states(pipeline, name):
    ids = pipeline.tokenizer(PROMPT, padding="max_length", truncation=True, return_tensors="pt").input_ids
    output = pipeline.text_encoder(ids, output_hidden_states=True)
    states = {"ids": ids.float(), "text_hidden": output.last_hidden_state, "text_penultimate": output.hidden_states[-2]}
    if name == "sdxl":
        ids = pipeline.tokenizer_2(PROMPT, padding="max_length", truncation=True, return_tensors="pt").input_ids
        output = pipeline.text_encoder_2(ids, output_hidden_states=True)
        states |= {"ids_2": ids.float(), "text_embeds": output.text_embeds, "text_penultimate_2": output.hidden_states[-2]}
    else:
        states["pooled"] = output.pooler_output
    return states


def unet_call(pipeline, name, generator):
    x = torch.randn(2, 4, 8, 8, generator=generator)
    width = pipeline.unet.config.cross_attention_dim
    text = torch.randn(2, 12, width, generator=generator)
    arguments, extra = {}, {}
    if name == "sdxl":
        pooled = torch.randn(2, 20, generator=generator)
        time_ids = torch.tensor([[16.0, 24.0, 1.0, 2.0, 8.0, 32.0]] * 2)
        arguments["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": time_ids}
        extra = {"unet_pooled": pooled}
    if name == "lcm":
        scale = torch.tensor([GUIDANCE - 1.0] * 2)
        arguments["timestep_cond"] = pipeline.get_guidance_scale_embedding(scale, embedding_dim=8)
    output = pipeline.unet(x, 621, encoder_hidden_states=text, **arguments).sample
    return {"unet_input": x, "unet_text": text, "unet_output": output, **extra}


def whole_run(pipeline, name, generator):
    noise = torch.randn(2, 4, 8, 8, generator=generator)
    run = lambda kind: pipeline(
        [PROMPT] * 2,
        num_inference_steps=STEPS[name],
        guidance_scale=GUIDANCE,
        latents=noise.clone(),
        output_type=kind,
        **({} if name == "lcm" else {"negative_prompt": [NEGATIVE[name]] * 2 if NEGATIVE[name] else None}),
    ).images
    pictures = numpy.asarray(run("np"))
    return {"noise": noise, "latents": run("latent"), "pictures": torch.from_numpy(pictures).permute(0, 3, 1, 2)}


def decode_call(pipeline, generator):
    latents = torch.randn(2, 4, 5, 3, generator=generator)
    return {"vae_input": latents, "vae_output": pipeline.vae.decode(latents).sample}


@torch.no_grad()
def clip():
    """A tiny CLIPModel with the sizes that published ones have in common."""
    folder = HERE / "clip"
    tokenizer, vocab = tiny.write_tokenizer(folder, tiny.END, with_json=True, length=12)
    text = dict(vocab_size=vocab, hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2)
    vision = dict(hidden_size=24, intermediate_size=48, num_attention_heads=3, num_hidden_layers=2)
    config = transformers.CLIPConfig(
        text_config=dict(text, max_position_embeddings=12, hidden_act="gelu", eos_token_id=2, projection_dim=20),
        vision_config=dict(vision, image_size=20, patch_size=6, hidden_act="quick_gelu", projection_dim=20),
        projection_dim=20,
    )
    model = tiny.randomise(transformers.CLIPModel(config), 20)
    model.half().save_pretrained(folder)
    model = model.float()
    pixels = torch.randn(2, 3, 20, 20, generator=torch.Generator().manual_seed(21))
    ids = tokenizer(["a dog", PROMPT], padding="max_length", return_tensors="pt").input_ids
    image = model.get_image_features(pixel_values=pixels)
    text = model.get_text_features(input_ids=ids)
    pick = lambda output: output if torch.is_tensor(output) else output.pooler_output
    tensors = {"pixels": pixels, "ids": ids.float(), "image_features": pick(image), "text_features": pick(text)}
    tensors["logit_scale"] = model.logit_scale.detach().reshape(1)
    save(tensors, "clip")


def save(tensors, name):
    tensors = {key: tensor.detach().float().contiguous() for key, tensor in tensors.items()}
    path = HERE / f"{name}.safetensors"
    safetensors.torch.save_file(tensors, path)
    print(path.name, path.stat().st_size)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    for name in STEPS:
        pipeline = tiny.build(name, HERE)
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(100)
        tensors = text_states(pipeline, name)
        tensors |= unet_call(pipeline, name, generator)
        tensors |= decode_call(pipeline, generator)
        tensors |= whole_run(pipeline, name, generator)
        save(tensors, name)
    shutil.rmtree(HERE / "clip", ignore_errors=True)
    clip()


if __name__ == "__main__":
    main()
