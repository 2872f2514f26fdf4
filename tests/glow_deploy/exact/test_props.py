from __future__ import annotations

from dataclasses import replace

import pytest

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


@pytest.mark.parametrize("part", ["mean", "log_scale"])
def test_the_id_tells_other_priors_apart(rgb, part):
    model = rgb.built.model
    other = replace(model.prior, **{part: getattr(model.prior, part) + 1})
    assert exact_id(replace(model, prior=other)) != exact_id(model)


def test_the_id_tells_other_spacings_and_reading_of_splits_apart(rgb):
    model = rgb.built.model
    level = model.levels[0]
    last = replace(level.steps[-1], spacing=2 * level.steps[-1].spacing)
    read = replace(level.split, input=replace(level.split.input, shift=level.split.input.shift + 1))
    for other in (replace(level, steps=(*level.steps[:-1], last)), replace(level, split=read)):
        assert exact_id(replace(model, levels=(other, *model.levels[1:]))) != exact_id(model)
