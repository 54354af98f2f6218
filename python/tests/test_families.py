"""Every family's adapter against interception of its noise, and against what the pipeline samples by itself."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import tiny_pipelines
from noisefind import diffusers as adapters

CASES = [
    pytest.param(name, build, call, id=build.__name__)
    for name, builds in tiny_pipelines.FAMILIES.items()
    for build, call in builds
]


def output(pipe, call, count, **more):
    drawn = pipe(prompt=["a dog"] * count, num_inference_steps=2, output_type="pt", **call, **more)
    return drawn.frames if hasattr(drawn, "frames") else drawn.images


def noise(pipe, call, count=2):
    shape = adapters.noise_shape(pipe, "a dog", num_inference_steps=2, **call)
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(1))


def test_every_family_is_tested():
    assert [family.name for family in adapters.FAMILIES] == list(tiny_pipelines.FAMILIES)


@pytest.mark.parametrize("name, build, call", CASES)
def test_adapter_equals_interception(name, build, call):
    pipe = tiny_pipelines.made(build)
    given = noise(pipe, call)
    assert adapters.family_of(pipe).name == name
    adapted = output(pipe, call, 2, latents=adapters.latents(pipe, given))
    with adapters.intercepted(pipe, given):
        intercepted = output(pipe, call, 2)
    assert torch.equal(adapted, intercepted)
    # Noise matters to what is drawn, so equality is no accident.
    assert not torch.equal(adapted[0], adapted[1])
    assert torch.isfinite(adapted).all()


def test_a_pipeline_without_adapter_is_intercepted():
    pipe = tiny_pipelines.made(tiny_pipelines.latent_consistency)
    call = tiny_pipelines.IMAGE
    given = noise(pipe, call)
    assert adapters.family_of(pipe) is None
    with pytest.raises(ValueError, match="intercepted"):
        adapters.latents(pipe, given)
    # This one takes latents= as Stable Diffusion does, which noisefind cannot know.
    expected = output(pipe, call, 2, latents=given, generator=torch.Generator().manual_seed(3))
    with adapters.intercepted(pipe, given):
        assert torch.equal(output(pipe, call, 2, generator=torch.Generator().manual_seed(3)), expected)


def test_noise_of_another_shape_is_refused_with_both_shapes():
    pipe = tiny_pipelines.made(tiny_pipelines.stable_diffusion)
    with pytest.raises(ValueError, match=r"wants noise of \[2, 4, 16, 16\], found \[2, 4, 8, 16\]"):
        with adapters.intercepted(pipe, torch.zeros(2, 4, 8, 16)):
            output(pipe, tiny_pipelines.IMAGE, 2)


def test_the_pipeline_samples_by_itself_again_afterwards():
    pipe = tiny_pipelines.made(tiny_pipelines.stable_diffusion)
    before = output(pipe, tiny_pipelines.IMAGE, 1, generator=torch.Generator().manual_seed(5))
    adapters.noise_shape(pipe, "a dog", **tiny_pipelines.IMAGE)
    after = output(pipe, tiny_pipelines.IMAGE, 1, generator=torch.Generator().manual_seed(5))
    assert torch.equal(before, after)


def test_generator_uses_keys_for_what_else_is_sampled():
    pipe = tiny_pipelines.made(tiny_pipelines.latent_consistency)
    generator = adapters.PipelineGenerator(pipe, "a dog", num_inference_steps=2, output_type="pt", **tiny_pipelines.IMAGE)
    given = noise(pipe, tiny_pipelines.IMAGE, 1).numpy()
    first, again, other = (generator.generate("a dog", given, [key])[0] for key in [(7, 0, 0), (7, 0, 0), (7, 0, 1)])
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_an_argument_that_the_pipeline_does_not_take_is_named():
    with pytest.raises(TypeError, match="takes no argument 'hieght'"):
        adapters.PipelineGenerator(tiny_pipelines.made(tiny_pipelines.stable_diffusion), hieght=32)
