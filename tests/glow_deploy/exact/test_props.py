from __future__ import annotations

from dataclasses import replace

from glow_deploy.exact.props import exact_id, exact_props


def test_spacings_are_read_back_to_the_last_digit(made):
    props = exact_props(made.built.model)
    read = tuple(map(float, props["glow_deploy.exact.spacings"].split()))
    assert read == made.built.model.spacings
    assert int(props["glow_deploy.exact.grid_bits"]) == made.folded.n_bits + made.built.model.fraction_bits


def test_the_id_tells_other_integers_apart(rgb):
    model = rgb.built.model
    assert exact_id(model) == exact_id(replace(model))
    assert exact_id(replace(model, limit=model.limit // 2)) != exact_id(model)
