"""What a program computed, told from what it was fed and from what was rounded on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from glow_deploy.errors import DataError
from glow_deploy.offline import golden_inputs
from glow_deploy.offline.echoes import refuse_echoes


@pytest.fixture(scope="module")
def look(bundle):
    inputs, golden = golden_inputs(bundle), bundle.golden()

    def run(**tensors):
        named = {name.replace("__", "."): array for name, array in tensors.items()}
        refuse_echoes(named, fed=inputs.tensors, golden=golden, places=dict.fromkeys(named, Path("out")))

    return run


def test_what_was_computed_passes_in_every_float_type(look, saved):
    for dtype in (np.float32, np.float64):
        look(**{name.replace(".", "__"): array.astype(dtype) for name, array in saved.items()})


def test_latents_that_were_fed_or_are_the_reference_are_refused(look, bundle, saved):
    fed, golden = golden_inputs(bundle).tensors, bundle.golden()
    for place in ("encoder", "round_trip"):
        for level in (1, 2):
            for echo in (fed[f"decoder.z{level}"], golden.z[level - 1], golden.z[level - 1][:1]):
                with pytest.raises(DataError, match=f"{place}.z{level} is bit for bit"):
                    look(**{f"{place}__z{level}": echo})
        with pytest.raises(DataError, match=f"{place}.log_prob is bit for bit the bundle's own"):
            look(**{f"{place}__log_prob": golden.log_prob.astype(np.float32)})
    with pytest.raises(DataError, match=r"decoder.x is bit for bit the bundle's own float64"):
        look(decoder__x=golden.x_hat)


def test_one_row_among_those_computed_is_refused(look, bundle, saved):
    mixed = saved["decoder.x"].copy()
    mixed[5] = golden_inputs(bundle).tensors["encoder.x"][5]
    with pytest.raises(DataError, match=r"decoder.x is bit for bit what was fed to the encoder, in part"):
        look(decoder__x=mixed)
    mixed = saved["encoder.z2"].copy()
    mixed[5] = golden_inputs(bundle).tensors["decoder.z2"][5]
    with pytest.raises(DataError, match=r"encoder.z2 is bit for bit"):
        look(encoder__z2=mixed)


@pytest.mark.parametrize("name", ["decoder.x", "round_trip.x"])
def test_pictures_that_were_rounded_are_refused_whatever_they_are_stored_in(look, saved, name):
    exact = saved[name] + np.float32(1e-3)  # off the centres of pixels, which bfloat16 need not hold
    look(**{name.replace(".", "__"): exact})
    bits = exact.view(np.uint32) & np.uint32(0xFFFF0000)
    for kind, rounded in (("float16", exact.astype(np.float16)), ("bfloat16", bits.view(np.float32))):
        for stored in (np.float32, np.float64):
            with pytest.raises(DataError, match=f"{name} holds {kind} values"):
                look(**{name.replace(".", "__"): rounded.astype(stored)})
