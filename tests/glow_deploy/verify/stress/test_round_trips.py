from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.images.artificial import stress_images
from glow_deploy.verify.stress import StressSettings, measure_stress
from glow_deploy.verify.stress.round_trips import measure_inputs

QUICK = StressSettings(images=4, temperatures=(1.0,), draws=2, passes=(1,), attack_images=0, runs=2, processes=0)


def nan_on_constants(x):
    z = x.copy()
    z[x.reshape(len(x), -1).std(axis=1) == 0] = np.nan
    return z


def test_a_perfect_flow_is_sound(stand_in, images):
    report = measure_stress([stand_in()], x=images, y=None, n_bits=8, bounded=True, settings=QUICK)
    assert report.failures == ()
    assert set(report.verdicts.values()) == {"sound"}
    assert all(row.rms == 0 and row.images_exact == row.n for row in report.inputs)


def test_an_encoder_that_fails_on_constant_images_is_found(stand_in, images):
    bad, good = stand_in(nan_on_constants, name="bad"), stand_in(name="good")
    report = measure_stress([good, bad], x=images, y=None, n_bits=8, bounded=True, settings=QUICK)
    assert {(f.backend, f.input, f.non_finite) for f in report.failures} == {
        ("bad", f"constant-{word}", 1) for word in ("0", "mid", "max")
    }
    assert report.verdicts["inputs"] == "unsound"
    text = str(report.failures[0])
    assert "bad, stress input constant-0: 1 of 1 images are non-finite in their latents" in text
    assert "good keeps them finite" in text


def test_without_bounded_scales_it_is_reported_only(stand_in, images):
    report = measure_stress([stand_in(nan_on_constants)], x=images, y=None, n_bits=8, bounded=False, settings=QUICK)
    assert report.failures == ()
    assert report.verdicts["inputs"] == "reported"
    assert sum(row.non_finite for row in report.inputs) == 3


def test_the_trained_model_is_blamed_where_it_fails_too(stand_in, images):
    backends = [stand_in(nan_on_constants, name=name) for name in ("pytorch-fp32", "onnxruntime-cpu")]
    report = measure_stress(backends, x=images, y=None, n_bits=8, bounded=True, settings=QUICK)
    assert len(report.failures) == 6
    assert all("the trained model itself" in failure.cause for failure in report.failures)


@pytest.mark.parametrize("spoilt", ["latents", "log_prob", "decode"])
def test_the_stage_that_breaks_first_is_named(stand_in, spoilt):
    huge = np.float32(3e38)
    encode = {"latents": lambda x: x * np.nan, "log_prob": lambda x: x * 0 + huge, "decode": lambda x: x}[spoilt]
    decode = {"latents": lambda z: z, "log_prob": lambda z: z, "decode": lambda z: z * np.inf}[spoilt]
    x = stress_images((1, 4, 4), n_bits=8, n=3, seed=0)
    with np.errstate(over="ignore"):
        rows = measure_inputs([stand_in(encode, decode)], {"uniform": x["uniform"]}, None, n_bits=8, batch=2)
    assert [(row.stage, row.non_finite, row.n) for row in rows] == [(spoilt, 3, 3)]


def test_errors_are_measured_whatever_the_batch(stand_in, images):
    backend = stand_in(decode=lambda z: z + np.float32(2**-8))
    rows = [measure_inputs([backend], {"golden": images}, None, n_bits=8, batch=size)[0] for size in (3, 8)]
    assert rows[0] == rows[1]
    assert rows[0].rms == pytest.approx(2**-8)
    assert rows[0].max == pytest.approx(2**-8)
    assert rows[0].images_exact == 0
