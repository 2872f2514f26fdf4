from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.engines.example import example_pair
from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import x_to_values
from glow_deploy.latents import concatenate_samples, sample
from glow_deploy.serving.calls import sample_call, score_call


def test_numbers_left_out_are_those_of_the_commands():
    encoder, decoder = example_pair()
    found = sample_call(decoder, {"count": np.array([3])})
    same = concatenate_samples(sample(decoder, count=3))
    np.testing.assert_array_equal(found["image"], x_to_values(same.x, decoder.n_bits))
    warm = sample_call(decoder, {"count": np.array([3]), "temperature": np.array([1.0], np.float32)})
    assert (warm["image"] != found["image"]).any()
    grey = np.full((2, 1, 4, 4), 100, np.uint8)
    scored = score_call(encoder, {"image": grey})
    assert {name: array.dtype.name for name, array in scored.items()} == dict.fromkeys(scored, "float64")
    other = score_call(encoder, {"image": grey, "seed": np.array([1], np.uint64)})
    assert (scored["bits_per_dim"] != other["bits_per_dim"]).all()
    np.testing.assert_array_equal(scored["bits_per_dim_centre"], other["bits_per_dim_centre"])


def test_what_is_out_of_range_is_refused():
    encoder, decoder = example_pair()
    one = np.array([1])
    with pytest.raises(DataError, match="count"):
        sample_call(decoder, {"count": np.array([1, 2])})
    with pytest.raises(UsageError, match="class-conditional"):
        sample_call(decoder, {"count": one, "y": one})
    with pytest.raises(UsageError, match="class-conditional"):
        score_call(encoder, {"image": np.zeros((1, 1, 4, 4), np.uint8), "y": one})
    with pytest.raises(DataError, match="draws"):
        score_call(encoder, {"image": np.zeros((1, 1, 4, 4), np.uint8), "draws": np.array([5000])})
