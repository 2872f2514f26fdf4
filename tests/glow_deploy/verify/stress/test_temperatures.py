from __future__ import annotations

import math

import numpy as np
import pytest

from glow_deploy.verify.stress import StressReport
from glow_deploy.verify.stress.temperatures import measure_temperatures

SWEEP = (0.0, 0.5, 1.0, 2.0, 4.0, 100.0)


def report(rows):
    return StressReport(
        n_bits=8, bounded=True, inputs=(), temperatures=rows, passes=(), attack=None, determinism=(), failures=(),
        notes=(), seconds={},
    )  # fmt: skip


def sweep(backends, y=None, **options):
    return measure_temperatures(backends, y, **{"temperatures": SWEEP, "draws": 6, "seed": 0, "batch": 4, **options})


def test_an_unbounded_model_overflows_and_the_temperature_is_named(perturbed_glow, small_config, torch_backend):
    """Strong conditioners: their log-scales swing by tens."""
    backend = torch_backend(perturbed_glow(small_config(bounded_scale=False), strength=0.1))
    rows = sweep([backend])
    first = report(rows).first_non_finite["pytorch-fp32"]
    assert first in (1.0, 2.0, 4.0)
    lost = {row.temperature: row.non_finite for row in rows}
    assert lost[first] > 0
    assert all(lost[temperature] == 0 for temperature in SWEEP if temperature < first)
    assert report(rows).verdicts["temperatures"] == "reported"


def test_bounded_scales_survive_the_same_weights(perturbed_glow, small_config, torch_backend):
    backend = torch_backend(perturbed_glow(small_config(bounded_scale=True), strength=0.1))
    rows = sweep([backend], temperatures=SWEEP[:-1])
    assert report(rows).first_non_finite == {"pytorch-fp32": None}


def test_a_sound_model_stays_finite(perturbed_glow, small_config, torch_backend):
    rows = sweep([torch_backend(perturbed_glow(small_config()))], temperatures=(0.0, 0.5, 1.0))
    assert report(rows).first_non_finite == {"pytorch-fp32": None}
    assert report(rows).verdicts["temperatures"] == "sound"
    assert all(row.z_rms < 1e-4 and row.largest > 0 for row in rows)


def test_temperature_scales_the_draws(stand_in):
    rows = {
        row.temperature: row for row in sweep([stand_in(lambda x: x - np.float32(0.5), lambda z: z + np.float32(0.5))])
    }
    assert rows[0.0].largest == 0.0
    assert rows[2.0].largest == pytest.approx(2 * rows[1.0].largest, rel=1e-6)
    assert (rows[0.0].n, rows[1.0].n) == (1, 6)
    assert rows[1.0].z_rms < 1e-7


def test_every_class_is_decoded_at_temperature_zero(perturbed_glow, small_config, torch_backend):
    backend = torch_backend(perturbed_glow(small_config(num_classes=3)))
    rows = sweep([backend], np.array([2, 0, 1, 0], np.int64), temperatures=(0.0, 1.0))
    assert [row.n for row in rows] == [3, 6]


def test_latents_lost_on_the_way_back_are_counted_apart(stand_in):
    rows = sweep([stand_in(lambda x: x * np.nan)], temperatures=(1.0,))
    assert (rows[0].non_finite, rows[0].z_non_finite) == (0, 6)
    assert math.isnan(rows[0].z_rms)
    assert rows[0].to_dict()["z_rms"] is None
    assert report(rows).first_non_finite == {"stand-in": None}
    assert report(rows).first_not_recovered == {"stand-in": 1.0}
    assert report(rows).verdicts["temperatures"] == "reported"


def test_latents_that_come_back_as_others_are_not_recovered(stand_in):
    """Beyond 3 the encoder saturates: all is finite, and the latents are lost."""
    rows = sweep([stand_in(lambda x: np.clip(x, -3, 3))], temperatures=(0.5, 4.0))
    assert [row.recovered for row in rows] == [True, False]
    assert report(rows).first_not_recovered == {"stand-in": 4.0}
    assert report(rows).first_non_finite == {"stand-in": None}
    assert report(rows).verdicts["temperatures"] == "reported"
