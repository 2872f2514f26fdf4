from __future__ import annotations

import numpy as np
import pytest
from exact_models import make, pictures

from glow_core import GlowConfig
from glow_deploy.errors import UnsoundModelError, UsageError
from glow_deploy.exact.build import build_exact
from glow_deploy.exact.proof import prove
from glow_deploy.folding.fold import fold


def test_an_affine_model_is_refused_with_the_way_out(perturbed_glow):
    folded = fold(perturbed_glow(GlowConfig(image_size=(8, 8), levels=1, steps=1, width=8)))
    with pytest.raises(UsageError, match=r"--coupling additive.*do not carry over"):
        build_exact(folded, pictures((3, 8, 8), 8, 4))


@pytest.mark.parametrize("bits", [3, 12])
def test_widths_out_of_range_are_refused(rgb, bits):
    with pytest.raises(UsageError, match="4 to 11 bits"):
        build_exact(rgb.folded, pictures((3, 8, 8), 5, 4), bits=bits)


def test_building_twice_gives_the_same_integers(perturbed_glow, rgb):
    again = make(
        perturbed_glow(
            GlowConfig(image_size=(8, 8), levels=2, steps=2, width=16, coupling="additive", n_bits=5), seed=3
        )
    )
    assert again.encoder.to_model().SerializeToString() == rgb.encoder.to_model().SerializeToString()


def test_progress_is_told(rgb):
    seen = []
    build_exact(
        rgb.folded,
        pictures((3, 8, 8), 5, 4),
        levels=rgb.levels,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(done, 8) for done in range(5, 9)]


def test_values_that_grow_get_coarser_grids(rgb, monkeypatch):
    monkeypatch.setattr("glow_deploy.exact.build.limit_bits", lambda levels: 13)
    built = build_exact(rgb.folded, pictures((3, 8, 8), 5, 4), levels=rgb.levels)
    assert 4 <= built.model.fraction_bits < 8
    monkeypatch.setattr("glow_deploy.exact.build.limit_bits", lambda levels: 8)
    with pytest.raises(UsageError, match="no exact graphs"):
        build_exact(rgb.folded, pictures((3, 8, 8), 5, 4), levels=rgb.levels)


def test_couplings_that_may_add_much_get_coarser_grids_and_stay_proven(rgb, monkeypatch):
    from glow_deploy.exact import build

    x, tried = pictures((3, 8, 8), 5, 4), []

    def watched(model):
        tried.append((model.fraction_bits, model.limit))
        if model.fraction_bits > 7:
            raise UnsoundModelError("a value of the trunk may reach 20000000")
        return prove(model)

    monkeypatch.setattr(build, "prove", watched)
    built = build_exact(rgb.folded, x, levels=rgb.levels)
    assert tried == [(8, 2**19), (8, 2**18), (7, 2**19)]
    assert built.model.fraction_bits == 7
    monkeypatch.setattr(build, "_LEAST_FRACTION_BITS", 8)
    with pytest.raises(UsageError, match=r"may reach 20000000.*fewer hidden channels.*another precision"):
        build_exact(rgb.folded, x, levels=rgb.levels)


def test_an_operand_that_16_bit_cannot_hold_is_refused_with_the_way_out(edged, monkeypatch):
    """No coarser grid is tried, and no other model asked for: the same one goes without `native=`."""
    from glow_deploy.exact import build

    tried = []
    monkeypatch.setattr(build, "first_unfit", lambda model: tried.append(model) or "level1/step01/coupling/conv1: no")
    with pytest.raises(UsageError, match=r"step01/coupling/conv1: no: .*without native=") as caught:
        build_exact(edged.folded, pictures((1, 16, 8), 5, 4), levels=edged.levels, narrow="fp16")
    assert "hidden channels" not in str(caught.value)
    assert len(tried) == 1


def test_one_calibration_image_is_enough_to_be_exact(rgb):
    from glow_deploy.exact.interpret import ExactModel

    built = build_exact(rgb.folded, pictures((3, 8, 8), 5, 1), levels=rgb.levels)
    run, x = ExactModel(built.model), pictures((3, 8, 8), 5, 5, seed=9)
    found = run.encode(x)
    back, _ = run.decode(found.z)
    np.testing.assert_array_equal(back[found.in_range], x[found.in_range])


def test_what_bfloat16_cannot_hold_is_refused(rgb):
    with pytest.raises(UsageError, match="8 bits exactly"):
        build_exact(rgb.folded, pictures((3, 8, 8), 5, 4), bits=9, narrow="bf16", levels=rgb.levels)
