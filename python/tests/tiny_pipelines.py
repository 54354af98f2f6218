"""A small pipeline with random weights for every family that has an adapter, and for one that has none.

The widths are the smallest that the classes accept; the parts are diffusers' and transformers' own, so noise takes the
same way through them as through the published models.
"""

import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLCogVideoX,
    AutoencoderKLFlux2,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLLTXVideo,
    AutoencoderKLQwenImage,
    AutoencoderKLWan,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    MotionAdapter,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    TextToVideoSDPipeline,
    UNet2DConditionModel,
    UNet3DConditionModel,
    WanPipeline,
    WanTransformer3DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

SPECIAL = ["<pad>", "<s>", "</s>"]
VOCABULARY = len(SPECIAL) + 256
CHAT = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
IMAGE = {"height": 32, "width": 32}
CLIP = {"height": 32, "width": 32, "num_frames": 9}


def tokenizer(length=77):
    """One token a byte, so that templates have as many tokens as their pipelines cut off."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: at for at, token in enumerate(SPECIAL + alphabet)}
    model = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=length,
        chat_template=CHAT,
    )


def clip_config(width=32):
    return CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=width,
        num_attention_heads=4,
        num_hidden_layers=3,
        projection_dim=width,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )


def t5(width=32):
    config = T5Config(vocab_size=VOCABULARY, d_model=width, d_ff=width, d_kv=8, num_heads=4, num_layers=2)
    return T5EncoderModel(config)


def decoder(channels, levels=2, **more):
    return AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=channels,
        norm_num_groups=2,
        **more,
    )


def unet(cross_attention_dim=32, **more):
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        cross_attention_dim=cross_attention_dim,
        **more,
    )


def stable_diffusion(kind=StableDiffusionPipeline, scheduler=None, **more):
    return kind(
        unet=unet(**more),
        vae=decoder(4),
        text_encoder=CLIPTextModel(clip_config()),
        tokenizer=tokenizer(),
        scheduler=scheduler or EulerDiscreteScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def latent_consistency():
    return stable_diffusion(LatentConsistencyModelPipeline, LCMScheduler(), time_cond_proj_dim=16)


def stable_diffusion_xl():
    return StableDiffusionXLPipeline(
        unet=unet(
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
        ),
        vae=decoder(4),
        text_encoder=CLIPTextModel(clip_config()),
        text_encoder_2=CLIPTextModelWithProjection(clip_config()),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        scheduler=EulerDiscreteScheduler(),
    )


def stable_diffusion_3():
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=32,
            patch_size=2,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=64,
            pooled_projection_dim=64,
            out_channels=4,
        ),
        vae=decoder(4, shift_factor=0.06),
        text_encoder=CLIPTextModelWithProjection(clip_config()),
        text_encoder_2=CLIPTextModelWithProjection(clip_config()),
        text_encoder_3=T5EncoderModel(T5Config(vocab_size=VOCABULARY, d_model=64, d_ff=32, num_layers=1, num_heads=4)),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        tokenizer_3=tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def flux():
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
        ),
        vae=decoder(4, shift_factor=0.06),
        text_encoder=CLIPTextModel(clip_config()),
        text_encoder_2=t5(),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def qwen3_config():
    return Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
    )


def flux_2():
    pipe = Flux2KleinPipeline(
        transformer=Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
        vae=AutoencoderKLFlux2(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=2,
        ),
        text_encoder=Qwen3ForCausalLM(qwen3_config()),
        tokenizer=tokenizer(512),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    return pipe


def qwen_image():
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
        },
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
    )
    return QwenImagePipeline(
        transformer=QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=3,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        ),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1],
            num_res_blocks=1,
            temperal_downsample=[False],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=tokenizer(512),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def z_image():
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 32, 32],
    )
    # These are made with torch.empty, so whatever was in memory would be in the images.
    with torch.no_grad():
        transformer.x_pad_token.fill_(1.0)
        transformer.cap_pad_token.fill_(1.0)
    return ZImagePipeline(
        transformer=transformer,
        vae=decoder(4, shift_factor=0.1),
        text_encoder=Qwen3Model(qwen3_config()),
        tokenizer=tokenizer(512),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def pixart(kind=PixArtAlphaPipeline):
    return kind(
        transformer=PixArtTransformer2DModel(
            sample_size=16,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=3,
            caption_channels=32,
            in_channels=4,
            cross_attention_dim=24,
            out_channels=8,
        ),
        vae=decoder(4),
        text_encoder=t5(),
        tokenizer=tokenizer(),
        scheduler=DDIMScheduler(),
    )


def pixart_sigma():
    return pixart(PixArtSigmaPipeline)


def sana():
    return SanaPipeline(
        transformer=SanaTransformer2DModel(
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=4,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=8,
            sample_size=32,
        ),
        vae=AutoencoderDC(
            in_channels=3,
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=("ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            encoder_qkv_multiscales=((), (5,)),
            decoder_qkv_multiscales=((), (5,)),
            encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
        ),
        text_encoder=Gemma2Model(
            Gemma2Config(
                vocab_size=VOCABULARY,
                hidden_size=8,
                intermediate_size=16,
                head_dim=8,
                num_attention_heads=2,
                num_key_value_heads=2,
                num_hidden_layers=1,
            )
        ),
        tokenizer=tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def wan():
    return WanPipeline(
        transformer=WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=16,
            out_channels=16,
            text_dim=32,
            freq_dim=32,
            ffn_dim=32,
            num_layers=1,
            rope_max_seq_len=32,
        ),
        vae=AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        text_encoder=t5(),
        tokenizer=tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def ltx():
    return LTXPipeline(
        transformer=LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=4,
            attention_head_dim=8,
            cross_attention_dim=32,
            num_layers=1,
            caption_channels=32,
        ),
        vae=AutoencoderKLLTXVideo(
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1, 1),
            spatio_temporal_scaling=(True, True, False, False),
            decoder_spatio_temporal_scaling=(True, True, False, False),
            decoder_inject_noise=(False,) * 5,
            upsample_residual=(False,) * 4,
            upsample_factor=(1,) * 4,
            patch_size=1,
            patch_size_t=1,
        ),
        text_encoder=t5(),
        tokenizer=tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def hunyuan_video():
    return HunyuanVideoPipeline(
        transformer=HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            patch_size=1,
            patch_size_t=1,
            text_embed_dim=16,
            pooled_projection_dim=32,
            rope_axes_dim=(2, 4, 4),
        ),
        vae=AutoencoderKLHunyuanVideo(
            latent_channels=4,
            down_block_types=("HunyuanVideoDownBlock3D",) * 4,
            up_block_types=("HunyuanVideoUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            norm_num_groups=4,
        ),
        text_encoder=LlamaModel(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=16,
                intermediate_size=16,
                num_attention_heads=4,
                num_hidden_layers=2,
            )
        ),
        text_encoder_2=CLIPTextModel(clip_config()),
        tokenizer=tokenizer(512),
        tokenizer_2=tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def cog_video_x():
    return CogVideoXPipeline(
        transformer=CogVideoXTransformer3DModel(
            num_attention_heads=4,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=32,
            num_layers=1,
            sample_width=4,
            sample_height=4,
            sample_frames=9,
            patch_size=2,
            max_text_seq_length=226,
        ),
        vae=AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
        ),
        text_encoder=t5(),
        tokenizer=tokenizer(),
        scheduler=DDIMScheduler(),
    )


def animate_diff():
    return AnimateDiffPipeline(
        unet=unet(),
        vae=decoder(4),
        text_encoder=CLIPTextModel(clip_config()),
        tokenizer=tokenizer(),
        motion_adapter=MotionAdapter(
            block_out_channels=(8, 8),
            motion_layers_per_block=1,
            motion_norm_num_groups=2,
            motion_num_attention_heads=2,
        ),
        scheduler=EulerDiscreteScheduler(),
    )


def model_scope():
    return TextToVideoSDPipeline(
        unet=UNet3DConditionModel(
            sample_size=16,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=2,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            cross_attention_dim=32,
            attention_head_dim=4,
        ),
        vae=decoder(4),
        text_encoder=CLIPTextModel(clip_config()),
        tokenizer=tokenizer(),
        scheduler=EulerDiscreteScheduler(),
    )


FAMILIES = {
    "Stable Diffusion 1 and 2": [(stable_diffusion, IMAGE)],
    "Stable Diffusion XL": [(stable_diffusion_xl, IMAGE)],
    "Stable Diffusion 3 and 3.5": [(stable_diffusion_3, IMAGE)],
    "Flux.1": [(flux, IMAGE)],
    "Flux.2": [(flux_2, IMAGE | {"text_encoder_out_layers": (1,)})],
    "Qwen-Image": [(qwen_image, IMAGE)],
    "Z-Image": [(z_image, IMAGE)],
    "PixArt": [(pixart, IMAGE | {"use_resolution_binning": False}), (pixart_sigma, IMAGE | {"use_resolution_binning": False})],
    "Sana": [(sana, IMAGE | {"use_resolution_binning": False, "complex_human_instruction": None})],
    "Wan": [(wan, CLIP)],
    "LTX-Video": [(ltx, CLIP)],
    "HunyuanVideo": [(hunyuan_video, CLIP)],
    "CogVideoX": [(cog_video_x, CLIP)],
    "AnimateDiff": [(animate_diff, CLIP | {"num_frames": 4})],
    "ModelScope": [(model_scope, CLIP | {"num_frames": 4})],
}
"""By the name of the family: small pipelines and the arguments of their calls."""


def made(build):
    """The pipeline that `build` makes, always with the same weights."""
    torch.manual_seed(0)
    pipe = build()
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    pipe.set_progress_bar_config(disable=True)
    return pipe
