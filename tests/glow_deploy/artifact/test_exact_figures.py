from __future__ import annotations

import json

import pytest

from glow_deploy.artifact.exact_figures import ExactFigures, ExactProof

FOUND = ExactFigures(
    proof=ExactProof(
        limit=2**19,
        largest_sum=16_000_000,
        where_sum="level1/step01/coupling/conv1",
        largest_value=7_000_000,
        where_value="level2/step02",
        largest_operand=2047,
        normal_limit=2**19,
    ),
    bits=8,
    fraction_bits=8,
    spacings=(0.001, 0.002),
    images=128,
    largest=10_000,
    bits_per_dim_change=0.001,
    change_band=0.0002,
    change_images=128,
    outside=1,
)


def test_figures_are_read_back_from_json():
    values = json.loads(json.dumps(FOUND.to_dict()))
    assert ExactFigures.from_dict(values, levels=2, where="exact") == FOUND


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("bits",), "8"),
        (("spacings",), [0.001]),
        (("spacings",), [0.001, 0.0]),
        (("spacings",), [0.001, float("inf")]),
        (("proof", "limit"), -1),
        (("proof", "where_sum"), 3),
        (("change_band",), "small"),
        (("proof",), None),
    ],
)
def test_what_is_malformed_is_refused(place, wrong):
    values = json.loads(json.dumps(FOUND.to_dict()))
    held = values
    for name in place[:-1]:
        held = held[name]
    held[place[-1]] = wrong
    with pytest.raises(ValueError, match="exact"):
        ExactFigures.from_dict(values, levels=2, where="exact")
