from __future__ import annotations

import math

import numpy as np
import pytest

from glow_deploy.numerics.worst import WorstImages


def keeper(keep=3, *, n_bits=8):
    return WorstImages(keep, images="golden", encode="a", decode="b", n_bits=n_bits)


def pictures(errors, *, n_bits=8):
    """Images of zeros and reconstructions whose largest error is the one given, in pixel steps."""
    x = np.zeros((len(errors), 1, 2, 2), dtype=np.float32)
    x_hat = x.copy()
    x_hat[:, 0, 1, 0] = np.asarray(errors) / 2**n_bits
    return x_hat, x


def walk(kept, x_hat, x, sizes):
    first = 0
    for size in sizes:
        kept.add(x_hat[first : first + size], x[first : first + size], first=first)
        first += size
    return kept.images()


@pytest.mark.parametrize("sizes", [[200], [1] * 200, [7, 150, 43]])
def test_the_worst_are_found_whatever_the_batches(sizes):
    errors = np.random.default_rng(0).permutation(200) / 16
    found = walk(keeper(), *pictures(errors), sizes)
    assert [image.index for image in found] == np.argsort(-errors)[:3].tolist()
    assert [image.error_steps for image in found] == [199 / 16, 198 / 16, 197 / 16]


def test_the_sign_of_an_error_does_not_matter():
    found = walk(keeper(1), *pictures([0.5, -2.0, 1.0]), [3])
    assert (found[0].index, found[0].error_steps) == (1, 2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_images_are_the_worst(bad):
    x_hat, x = pictures([1.0, 900.0, 0.0, 2.0])
    x_hat[2, 0, 0, 0] = bad
    x_hat[3, 0, 0, :] = bad
    found = walk(keeper(), x_hat, x, [2, 2])
    assert [(image.index, image.non_finite) for image in found] == [(3, 2), (2, 1), (1, 0)]
    assert found[0].error_steps == math.inf
    assert found[2].error_steps == 900.0


def test_of_equals_the_first_is_kept():
    found = walk(keeper(2), *pictures([1.0] * 6), [2, 4])
    assert [image.index for image in found] == [0, 1]


def test_pictures_are_copies_in_float32_with_their_cell():
    x_hat, x = (array.astype(np.float64) for array in pictures([1.0, 3.0], n_bits=5))
    (found,) = walk(keeper(1, n_bits=5), x_hat, x, [2])
    x_hat[:] = 7.0
    assert (found.images, found.encode, found.decode) == ("golden", "a", "b")
    assert found.x.dtype == found.x_hat.dtype == np.float32
    assert found.x_hat.base is None
    assert found.x_hat[0, 1, 0] == np.float32(3 / 32)


def test_no_more_is_kept_than_asked_for():
    kept = keeper(2)
    for first in range(0, 400, 4):
        kept.add(*pictures(np.arange(first, first + 4)), first=first)
        assert len(kept.images()) == 2
    assert [image.index for image in kept.images()] == [399, 398]


def test_a_value_beyond_float32_becomes_infinite_without_a_warning():
    x_hat, x = (array.astype(np.float64) for array in pictures([1.0]))
    x_hat[0, 0, 0, 0] = 1e300
    (found,) = walk(keeper(1), x_hat, x, [1])
    assert math.isinf(found.x_hat[0, 0, 0])
    assert found.error_steps == 1e300 * 256


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        keeper(0)
    with pytest.raises(ValueError, match="cannot compare"):
        keeper().add(np.zeros((2, 1, 2, 2)), np.zeros((1, 1, 2, 2)), first=0)
