"""The still scorer as a ViCLIP of 256 channels: what it computes of a clip is at first what it computes of the frames.

Its 192 channels are the first of the 256. Its four heads of 48 become heads of 64: of the 16 new channels of queries and keys, eight let
a patch attend to its own frame, which the temporal embedding marks. The other new channels carry smooth codes of column, row and
frame; the new hidden units read them and start silent. In the last layers two heads of the class token look more at late frames and
two at early ones, and bring it the column and row of what they look at: their difference is the motion.
"""

import math

import numpy as np
import torch
from safetensors.torch import load_file

from . import clips, pictures, video_tokenizer, viclip, world
from .clips import FRAMES
from .common import MODEL
from .viclip import HEAD, PATCH, WIDTH, ViClip

OLD, OLD_HEAD = 192, 48
# New channels by what they carry; the last one marks the class token.
TIME, COLUMN, ROW, CLASS = slice(OLD, OLD + 8), slice(OLD + 8, OLD + 16), slice(OLD + 16, OLD + 24), OLD + 24
# Where the class token keeps the column and row that each head found.
FOUND = OLD + 32
# How much more a patch attends to its own frame, and the class token to the last or first frame than to the middle, in logits.
OWN_FRAME, LATE = 4.0, 2.0
LOOKING_LAYERS = (3, 4, 5)
GAIN = 1.0
CODE = 0.5


def smooth_codes(count):
    """Orthonormal cosines, [count, count]: every row has the same norm, and near rows are alike."""
    at, order = torch.arange(count) + 0.5, torch.arange(count)[:, None]
    basis = torch.cos(math.pi * order * at / count) * math.sqrt(2 / count)
    basis[0] /= math.sqrt(2)
    return basis.T


def padded(values, shape):
    made = torch.zeros(shape)
    made[tuple(slice(0, n) for n in values.shape)] = values
    return made


def widen_norm(norm, weight, bias):
    """A norm over 192 channels beside 64 that are small: its variance is that of three quarters of the channels."""
    norm.weight.fill_(0.25)
    norm.bias.zero_()
    norm.weight[:OLD], norm.bias[:OLD] = weight * math.sqrt(OLD / WIDTH), bias


def widen_block(block, old, prefix, generator):
    of = lambda name: old[f"{prefix}.{name}"]
    for mine, theirs in (("ln_1", "layer_norm1"), ("ln_2", "layer_norm2")):
        widen_norm(getattr(block, mine), of(f"{theirs}.weight"), of(f"{theirs}.bias"))
    weight, bias = torch.zeros(3, WIDTH, WIDTH), torch.zeros(3, WIDTH)
    out = torch.zeros(WIDTH, WIDTH)
    centred = lambda w: w - w.mean(0)
    heads = OLD // OLD_HEAD
    for at, name in enumerate(("q_proj", "k_proj", "v_proj")):
        # Scores are divided by the root of the head's width.
        scale = math.sqrt(HEAD / OLD_HEAD) if name == "q_proj" else 1
        w, b = of(f"self_attn.{name}.weight") * scale, of(f"self_attn.{name}.bias") * scale
        for head in range(heads):
            new, was = slice(head * HEAD, head * HEAD + OLD_HEAD), slice(head * OLD_HEAD, (head + 1) * OLD_HEAD)
            weight[at, new, :OLD], bias[at, new] = w[was], b[was]
            if name == "v_proj":
                out[:OLD, new] = centred(of("self_attn.out_proj.weight"))[:, was]
    # The means of what is added to the stream are nothing to the norms that read it, but would be to wider ones.
    block.attn.in_proj_weight.copy_(weight.flatten(0, 1))
    block.attn.in_proj_bias.copy_(bias.flatten())
    block.attn.out_proj.weight.copy_(out)
    block.attn.out_proj.bias.copy_(padded(centred(of("self_attn.out_proj.bias")), (WIDTH,)))
    hidden = torch.randn(4 * WIDTH, WIDTH, generator=generator) / math.sqrt(WIDTH)
    hidden[:4 * OLD] = padded(of("mlp.fc1.weight"), (4 * OLD, WIDTH))
    block.mlp["c_fc"].weight.copy_(hidden)
    block.mlp["c_fc"].bias.copy_(padded(of("mlp.fc1.bias"), (4 * WIDTH,)))
    block.mlp["c_proj"].weight.copy_(padded(centred(of("mlp.fc2.weight")), (WIDTH, 4 * WIDTH)))
    block.mlp["c_proj"].bias.copy_(padded(centred(of("mlp.fc2.bias")), (WIDTH,)))


def widen_vision(vision, old, generator):
    stem = "vision_model.embeddings"
    patch = old[f"{stem}.patch_embedding.weight"]
    mean, std = (torch.tensor(v) for v in (viclip.MEAN, viclip.STD))
    old_mean, old_std = (torch.tensor(v) for v in (pictures.MEAN, pictures.STD))
    # Of pixels that are normalised otherwise: the scale goes into the convolution, the shift into the positions.
    shift = (patch * ((mean - old_mean) / old_std)[:, None, None]).sum((1, 2, 3))
    vision.conv1.weight.copy_(padded((patch * (std / old_std)[:, None, None])[:, :, None], vision.conv1.weight.shape))
    positions = old[f"{stem}.position_embedding.weight"].clone()
    positions[1:] += shift
    vision.positional_embedding.copy_(padded(positions, vision.positional_embedding.shape))
    vision.class_embedding.copy_(padded(old[f"{stem}.class_embedding"], (WIDTH,)))
    # The codes are as large as the patches are, so that the first norm makes them `CODE` large.
    typical = positions[1:].square().mean().sqrt() * 1.5
    side = int(math.sqrt(len(positions) - 1))
    codes = smooth_codes(side) * math.sqrt(side)
    for i in range(side * side):
        vision.positional_embedding[1 + i, COLUMN], vision.positional_embedding[1 + i, ROW] = typical * codes[i % side], typical * codes[i // side]
    vision.temporal_positional_embedding[0, :, TIME] = typical * smooth_codes(FRAMES) * math.sqrt(FRAMES)
    vision.class_embedding[CLASS] = typical * 3
    widen_norm(vision.ln_pre, old["vision_model.pre_layrnorm.weight"], old["vision_model.pre_layrnorm.bias"] - old["vision_model.pre_layrnorm.bias"].mean())
    vision.ln_pre.weight[OLD:] = CODE
    widen_norm(vision.ln_post, old["vision_model.post_layernorm.weight"], old["vision_model.post_layernorm.bias"])
    vision.proj.copy_(padded(old["visual_projection.weight"].T, vision.proj.shape))
    directions = torch.randn(2, vision.proj.shape[1], generator=generator)
    for head in range(WIDTH // HEAD):
        # Late less early, of columns and of rows.
        vision.proj[FOUND + 2 * head:FOUND + 2 * head + 2] = (-1 if head % 2 else 1) * directions
    for at, block in enumerate(vision.transformer.resblocks):
        widen_block(block, old, f"vision_model.encoder.layers.{at}", generator)


@torch.no_grad()
def attend_to_own_frame(vision, frames):
    """Sets the new channels of queries and keys, by how large the codes are in the stream of these clips, layer by layer.

    A patch's query finds the keys of its own frame and of the class token; the class token finds itself again among eight times
    as many patches.
    """
    n = len(frames)
    patches = torch.nn.functional.conv2d(frames.flatten(0, 1), vision.conv1.weight[:, :, 0], stride=PATCH).flatten(2).transpose(1, 2)
    patches = (patches.view(n, FRAMES, -1, WIDTH) + vision.positional_embedding[1:] + vision.temporal_positional_embedding[0][:, None]).flatten(1, 2)
    x = vision.ln_pre(torch.cat([(vision.class_embedding + vision.positional_embedding[0]).expand(n, 1, -1), patches], 1))
    for layer, block in enumerate(vision.transformer.resblocks):
        y = block.ln_1(x)
        time, mark = y[:, 1:, TIME].norm(dim=-1).mean(), y[:, 0, CLASS].mean()
        weight = block.attn.in_proj_weight
        size = math.sqrt(OWN_FRAME * math.sqrt(HEAD))
        for head in range(WIDTH // HEAD):
            free = head * HEAD + OLD_HEAD
            for at in range(FRAMES):
                weight[free + at, OLD + at] = size / time
                weight[WIDTH + free + at, OLD + at] = size / time
            # The sum of the frames' codes, which have the norm `time`.
            weight[WIDTH + free:WIDTH + free + FRAMES, CLASS] = size * smooth_codes(FRAMES).sum(0) / mark
            itself = math.sqrt(math.log(FRAMES) * math.sqrt(HEAD))
            weight[free + FRAMES, CLASS] = itself / mark
            weight[WIDTH + free + FRAMES, CLASS] = itself / mark
            if layer in LOOKING_LAYERS:
                # The second cosine falls from the first frame, column or row to the last.
                code, side = free + FRAMES + 1, (-1 if head % 2 else 1) * math.sqrt(LATE * math.sqrt(HEAD))
                weight[code, CLASS], weight[WIDTH + code, OLD + 1] = -side / mark, abs(side) / (time * smooth_codes(FRAMES)[0, 1])
                for at, channel in enumerate((COLUMN.start + 1, ROW.start + 1)):
                    # From -1 to 1 across the picture, and as large as what the class token holds.
                    weight[2 * WIDTH + free + at, channel] = -1 / y[:, 1:, channel].abs().max()
                    block.attn.out_proj.weight[FOUND + 2 * head + at, free + at] = GAIN * x[:, 0].std()
        x = block(x)


@torch.no_grad()
def widened():
    """-> ViClip"""
    generator, model = torch.Generator().manual_seed(62), ViClip()
    old = {k: v.float() for k, v in load_file(MODEL / "scorer" / "model.safetensors").items()}
    widen_vision(model.vision_encoder, old, generator)
    text, rng, painter = model.text_encoder, np.random.default_rng(62), world.Painter()
    text.token_embedding.weight.copy_(padded(video_tokenizer.extended_embedding(old["text_model.embeddings.token_embedding.weight"]), text.token_embedding.weight.shape))
    text.positional_embedding.copy_(padded(old["text_model.embeddings.position_embedding.weight"], text.positional_embedding.shape))
    for table in (text.token_embedding.weight, text.positional_embedding):
        table[:, :OLD] -= table[:, :OLD].mean(1, keepdim=True)
    widen_norm(text.ln_final, old["text_model.final_layer_norm.weight"], old["text_model.final_layer_norm.bias"])
    text.text_projection.copy_(padded(old["text_projection.weight"].T, text.text_projection.shape))
    for at, block in enumerate(text.transformer.resblocks):
        widen_block(block, old, f"text_model.encoder.layers.{at}", generator)
    model.temp.fill_(math.exp(-old["logit_scale"].item()))
    some = np.stack([clips.draw(painter, clips.sample(rng, uniform=True), rng) for _ in range(8)])
    frames = torch.from_numpy(some).permute(0, 1, 4, 2, 3).float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (viclip.MEAN, viclip.STD))
    attend_to_own_frame(model.vision_encoder, (frames - mean) / std)
    return model
