"""A tiny random Flux pipeline in FOLDER/flux. Usage: python tiny_flux.py FOLDER   (needs diffusers and transformers)"""

import json
import pathlib
import sys

import tokenizers
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerFast, T5Config, T5EncoderModel

folder = pathlib.Path(sys.argv[1])
torch.manual_seed(0)

letters = [chr(code) + end for code in range(ord("a"), ord("z") + 1) for end in ("", "</w>")]
pieces = [*letters, "<|startoftext|>", "<|endoftext|>"]
(folder / "vocab.json").write_text(json.dumps({piece: at for at, piece in enumerate(pieces)}))
(folder / "merges.txt").write_text("#version: 0.2\n")
tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
words = {word: at for at, word in enumerate(["<pad>", "</s>", "<unk>", "a", "dog"])}
split = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "<unk>"))
split.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
special = dict(pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=16)
tokenizer_2 = PreTrainedTokenizerFast(tokenizer_object=split, **special)

sizes = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, projection_dim=32)
sizes |= dict(vocab_size=len(pieces), max_position_embeddings=16)
ends = dict(bos_token_id=len(pieces) - 2, eos_token_id=len(pieces) - 1, pad_token_id=len(pieces) - 1)
text_encoder = CLIPTextModel(CLIPTextConfig(**sizes, **ends))
text_encoder_2 = T5EncoderModel(T5Config(vocab_size=len(words), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2))
sizes = dict(patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2)
sizes |= dict(joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=[4, 4, 8])
transformer = FluxTransformer2DModel(**sizes)
sizes = dict(block_out_channels=(4,), layers_per_block=1, latent_channels=1, norm_num_groups=1, sample_size=32)
sizes |= dict(use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609, scaling_factor=1.5035)
vae = AutoencoderKL(**sizes)
parts = (FlowMatchEulerDiscreteScheduler(), vae, text_encoder, tokenizer, text_encoder_2, tokenizer_2, transformer)
FluxPipeline(*parts).save_pretrained(folder / "flux")
