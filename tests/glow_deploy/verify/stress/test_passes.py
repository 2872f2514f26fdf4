from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.verify.stress.passes import measure_passes


def drift(backend, images, **options):
    rows = measure_passes([backend], images, None, **{"passes": (1, 9), "n_bits": 8, "batch": 3, **options})
    return {row.passes: row for row in rows}


def test_an_expanding_round_trip_grows_geometrically(stand_in, images):
    rows = drift(stand_in(decode=lambda z: z * np.float32(1.5)), images)
    x_rms = float(np.sqrt(np.square(images).mean()))
    assert rows[1].rms == pytest.approx(0.5 * x_rms, rel=1e-5)
    assert rows[9].rms == pytest.approx((1.5**9 - 1) * x_rms, rel=1e-5)
    assert rows[9].growth == pytest.approx((1.5**9 - 1) / 0.5 / 9, rel=1e-5)
    assert rows[9].geometric
    assert not rows[1].geometric


def test_a_contracting_round_trip_drifts_without_growing(stand_in, images):
    rows = drift(stand_in(decode=lambda z: z * np.float32(0.9)), images)
    assert rows[9].rms > 5 * rows[1].rms
    assert rows[9].growth < 1
    assert not rows[9].geometric
    assert rows[9].images_exact == 0


def test_an_equal_error_each_pass_is_linear(stand_in, images):
    rows = drift(stand_in(decode=lambda z: z + np.float32(2**-10)), images)
    assert rows[9].growth == pytest.approx(1.0, rel=1e-3)
    assert (rows[1].images_exact, rows[9].images_exact) == (8, 0)


def test_a_perfect_round_trip_has_no_growth_to_speak_of(stand_in, images):
    rows = drift(stand_in(), images)
    assert rows[9].rms == 0
    assert rows[9].to_dict()["growth"] is None
    assert not rows[9].geometric


def test_overflow_on_the_way_is_counted(stand_in, images):
    with np.errstate(over="ignore", invalid="ignore"):
        rows = drift(stand_in(decode=lambda z: z * np.float32(1e8)), images)
    assert rows[1].non_finite == 0
    assert rows[9].non_finite == 8


def test_a_small_glow_keeps_its_images(perturbed_glow, small_config, torch_backend):
    x = ((np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8)) + 0.5) / 256).astype(np.float32)
    rows = drift(torch_backend(perturbed_glow(small_config())), x, passes=(1, 3, 9))
    assert list(rows) == [1, 3, 9]
    assert rows[9].rms < 1e-4
    assert rows[9].images_exact == 4
    assert not rows[9].geometric
