from __future__ import annotations

import math

import numpy as np
import pytest
from linear_flow import IMAGE, SHAPES, LinearFlow, flat

from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.latents import (
    SampleSettings,
    concatenate_samples,
    decode_latents,
    encode_images,
    noise,
    sample,
)


@pytest.mark.parametrize("batch", [1, 3, 8, 100])
def test_samples_do_not_depend_on_the_batch_size(batch):
    reference = concatenate_samples(sample(LinearFlow("decoder"), count=8, settings=SampleSettings(batch=8)))
    engine = LinearFlow("decoder")
    got = concatenate_samples(sample(engine, count=8, settings=SampleSettings(batch=batch)))
    assert max(engine.batches) <= batch
    np.testing.assert_array_equal(flat(got.z), flat(reference.z))
    np.testing.assert_allclose(got.x, reference.x, atol=1e-6)
    tail = concatenate_samples(sample(LinearFlow("decoder"), count=3, start=5))
    np.testing.assert_array_equal(flat(tail.z), flat(reference.z)[5:])
    assert tail.indices.tolist() == [5, 6, 7]


def test_temperature_scales_every_latent_once():
    def draw(temperature):
        settings = SampleSettings(temperature=temperature, seed=3)
        return flat(concatenate_samples(sample(LinearFlow("decoder"), count=4, settings=settings)).z)

    np.testing.assert_array_equal(draw(1.0), flat(noise(3, np.arange(4), SHAPES)))
    np.testing.assert_array_equal(draw(0.5), np.float32(0.5) * draw(1.0))
    assert not draw(0.0).any()
    for bad in (-0.1, math.nan, math.inf):
        with pytest.raises(UsageError, match="temperature"):
            SampleSettings(temperature=bad)


def test_non_finite_decodes_are_counted_and_redrawn():
    def spoil(z):
        return z[:, 0] > 0.4

    settings = SampleSettings(temperature=1.0, batch=16)
    got = concatenate_samples(sample(LinearFlow("decoder", spoil=spoil), count=200, settings=settings))
    assert np.isfinite(got.x).all()
    assert not spoil(flat(got.z)).any()
    first = spoil(flat(noise(0, np.arange(200), SHAPES)))
    assert got.redrawn == first.sum() > 40
    np.testing.assert_array_equal(got.attempts > 0, first)
    assert got.nonfinite == got.attempts.sum() > got.redrawn
    # x belongs to the z that is handed out, and a redraw depends on (seed, i) alone as well.
    again = decode_latents(LinearFlow("decoder"), got.z).x
    np.testing.assert_allclose(again, got.x, atol=1e-6)
    other = concatenate_samples(
        sample(LinearFlow("decoder", spoil=spoil), count=200, settings=SampleSettings(temperature=1.0, batch=7))
    )
    np.testing.assert_array_equal(flat(other.z), flat(got.z))
    # Control: without spoiling nothing is redrawn.
    assert concatenate_samples(sample(LinearFlow("decoder"), count=200, settings=settings)).redrawn == 0


def test_sampling_gives_up():
    engine = LinearFlow("decoder", spoil=lambda z: np.ones(len(z), bool))
    with pytest.raises(UnsoundModelError, match=r"sample 0 decodes to non-finite values at temperature 0\.7 in 6 of 6"):
        list(sample(engine, count=3, settings=SampleSettings(max_redraws=5)))
    with pytest.raises(UnsoundModelError, match="1 of 1"):
        list(sample(engine, count=3, settings=SampleSettings(temperature=0)))


def test_sampling_is_lazy_and_reports_progress():
    engine, seen = LinearFlow("decoder"), []
    batches = sample(
        engine, count=10**9, settings=SampleSettings(batch=4), progress=lambda done, total: seen.append((done, total))
    )
    next(batches)
    next(batches)
    assert engine.batches == [4, 4]
    assert seen == [(4, 10**9), (8, 10**9)]


def test_float64_engines_get_the_same_latents():
    double = concatenate_samples(sample(LinearFlow("decoder", dtype="float64"), count=4))
    single = concatenate_samples(sample(LinearFlow("decoder"), count=4))
    assert double.x.dtype == np.float64
    np.testing.assert_array_equal(flat(double.z), flat(single.z))


def test_class_labels():
    engine = LinearFlow("decoder", classes=True)
    got = concatenate_samples(sample(engine, count=5, settings=SampleSettings(labels=(2, 7), batch=3)))
    assert got.labels.tolist() == [2, 7, 2, 7, 2]
    same = concatenate_samples(sample(engine, count=5, settings=SampleSettings(labels=(2,), batch=3)))
    assert np.abs(same.x - got.x).max(axis=(1, 2, 3)).astype(bool).tolist() == [False, True, False, True, False]
    with pytest.raises(UsageError, match="is class-conditional"):
        sample(engine, count=5)
    with pytest.raises(UsageError, match="not class-conditional"):
        sample(LinearFlow("decoder"), count=5, settings=SampleSettings(labels=(1,)))
    for label in (9, 2**62):
        with pytest.raises(DataError, match=f"no class {label}: this model knows 0 to 8"):
            sample(engine, count=1, settings=SampleSettings(labels=(0, label)))
    with pytest.raises(UsageError, match="each of labels must be a whole number of at least 0, not -1"):
        SampleSettings(labels=(0, -1))
    assert engine.batches == [3, 2] * 2  # nothing ran for those


def test_wrong_role():
    with pytest.raises(UsageError, match="sampling needs a decoder, this engine is the encoder"):
        sample(LinearFlow("encoder"), count=1)
    with pytest.raises(UsageError, match="encoding needs an encoder"):
        encode_images(LinearFlow("decoder"), np.zeros((1, *IMAGE), np.uint8))
    with pytest.raises(UsageError, match="decoding needs a decoder"):
        decode_latents(LinearFlow("encoder"), noise(0, [0], SHAPES))
    with pytest.raises(UsageError, match="count must be a whole number of at least 1, not 0"):
        sample(LinearFlow("decoder"), count=0)
