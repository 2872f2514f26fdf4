from __future__ import annotations

import numpy as np
import pytest
import torch
from exact_models import CONFIGS, pictures

from glow_deploy.exact.arrays import ExactPrior


def labels(made, count):
    return None if made.folded.num_classes is None else np.arange(count) % made.folded.num_classes


def test_images_come_back_from_integers_and_from_normal_numbers(made):
    x = pictures(made.folded.image_shape, made.folded.n_bits, 7, seed=1)
    y = labels(made, 7)
    found = made.run.encode(x, y)
    assert found.in_range.all()
    for z, normal in ((found.z, False), ([part.astype(np.float32) for part in found.normal], True)):
        back, in_range = made.run.decode(z, y, normal=normal)
        np.testing.assert_array_equal(back, x)
        assert in_range.all()


def test_integers_drawn_at_random_come_back(made):
    generator = np.random.default_rng(4)
    z = [generator.integers(-2000, 2000, (5, *shape)) for shape in made.built.model.latent_shapes]
    x, in_range = made.run.decode(z, labels(made, 5))
    assert in_range.all()
    again = made.run.encode(x, labels(made, 5))
    for part, wanted in zip(again.z, z, strict=True):
        np.testing.assert_array_equal(part, wanted)


def test_latents_and_likelihood_are_near_the_trained_models(rgb, perturbed_glow):
    x = pictures(rgb.folded.image_shape, rgb.folded.n_bits, 16)
    glow = perturbed_glow(CONFIGS["rgb"], seed=3).double()
    with torch.inference_mode():
        z, log_prob = glow.encode(torch.from_numpy(x).double())
    found = rgb.run.encode(x)
    for part, wanted in zip(found.normal, z, strict=True):
        assert np.corrcoef(part.ravel(), wanted.numpy().ravel())[0, 1] > 0.999
    bits = (found.log_prob - log_prob.numpy()) / rgb.folded.dims / np.log(2)
    assert np.abs(bits).max() < 0.05


def test_an_image_beyond_the_limit_is_flagged(rgb):
    x = pictures(rgb.folded.image_shape, rgb.folded.n_bits, 3)
    x[1] += 2.0 * rgb.built.model.limit / 2**rgb.built.model.grid_bits
    np.testing.assert_array_equal(rgb.run.encode(x).in_range, [True, False, True])


def test_a_shear_that_clips_is_still_undone(rgb):
    """Beyond the limit a step is no longer near the trained one, and still a bijection."""
    step = rgb.built.model.levels[0].steps[0]
    q = np.random.default_rng(0).integers(-4 * rgb.built.model.limit, 4 * rgb.built.model.limit, (2, 12, 4, 4))
    np.testing.assert_array_equal(rgb.run.unstep(rgb.run.step(q, step), step), q)


def test_log_prob_counts_cells(rgb):
    """The density of x is that of its cell: the prior's at the latent, times the cells' relative volume."""
    model = rgb.built.model
    x = pictures(rgb.folded.image_shape, rgb.folded.n_bits, 2)
    found = rgb.run.encode(x)
    total = np.zeros(2)
    for z, level in zip(found.normal, model.levels, strict=True):
        total += (-0.5 * z**2 - 0.5 * np.log(2 * np.pi)).sum(axis=(1, 2, 3))
        total += z[0].size * (np.log(level.steps[-1].spacing) + model.grid_bits * np.log(2))
    scales = []
    q = rgb.run.pixels(x)
    for level in model.levels:
        q = rgb.run.squeeze(q)
        for step in level.steps:
            q = rgb.run.step(q, step)
        kept = q[:, : q.shape[1] // 2]
        prior = model.prior if level.split is None else level.split
        scale = rgb.run._distribution(prior, kept, None)[1]
        count = level.shape[1] * level.shape[2] if isinstance(prior, ExactPrior) else 1
        scales.append(scale.sum(axis=(1, 2, 3)) * count)
        q = kept
    np.testing.assert_allclose(found.log_prob, total - sum(scales), rtol=1e-10)


def test_float64_loses_nothing_that_the_interpreter_adds_up(made):
    """Every partial sum of every convolution is an integer far below 2^53."""
    for _, conv, largest in made.built.model.convolutions():
        assert conv.largest_sums(largest).max() < 2**24


@pytest.mark.parametrize("wrong", ["weight", "bias", "shift"])
def test_a_weight_or_a_shift_off_by_one_and_a_bias_off_by_a_step_are_seen(rgb, wrong):
    from dataclasses import replace

    from glow_deploy.exact.interpret import ExactModel

    model = rgb.built.model
    level = model.levels[0]
    step = level.steps[1]
    conv = step.conditioner.conv2
    changed = getattr(conv, wrong).copy()
    # Of a hidden channel that the last convolution listens to.
    channel = int(np.argmax(np.abs(step.conditioner.conv3.weight).sum(axis=(0, 2, 3))))
    # A bias is in units of the sum, which is divided by 2^shift: less than one step of the activation may be lost.
    by = 2 ** int(conv.shift[channel]) if wrong == "bias" else 1
    changed[channel if changed.ndim == 1 else (channel, 0)] += by
    net = replace(step.conditioner, conv2=replace(conv, **{wrong: changed}))
    steps = (level.steps[0], replace(step, conditioner=net), *level.steps[2:])
    other = ExactModel(replace(model, levels=(replace(level, steps=steps), *model.levels[1:])))
    x = pictures(rgb.folded.image_shape, rgb.folded.n_bits, 64)
    differing = sum(int((a != b).sum()) for a, b in zip(rgb.run.encode(x).z, other.encode(x).z, strict=True))
    assert differing > 0


def test_a_log_scale_beyond_the_exponentials_range_leaves_integers_alone(rgb):
    """inf * 0 would be no number."""
    from dataclasses import replace

    from exact_models import feeds_of, ort_run

    from glow_deploy.exact.decoder import build_exact_decoder
    from glow_deploy.exact.interpret import ExactModel
    from glow_deploy.graphs.describe import describe

    level = rgb.built.model.levels[0]
    conv = level.split.conv
    bias = conv.bias.copy()
    bias[len(bias) // 2 :] = 200 * 2 ** conv.shift[len(bias) // 2 :]
    split = replace(level.split, conv=replace(conv, bias=bias))
    model = replace(rgb.built.model, levels=(replace(level, split=split), *rgb.built.model.levels[1:]))
    x = pictures(rgb.folded.image_shape, rgb.folded.n_bits, 3)
    found = ExactModel(model).encode(x)
    facts = describe(rgb.folded, role="decoder", precision="exact", model_id=rgb.folded.model_id())
    back = ort_run(build_exact_decoder(model, metadata=facts).to_model(), feeds_of(found.z, normal=False))
    np.testing.assert_array_equal(back["x"], x)
    np.testing.assert_array_equal(back["in_range"], np.ones(3))
