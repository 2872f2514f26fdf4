from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.errors import UsageError
from glow_deploy.exact.shears import factor, is_lower, product, refine


def matrix(size, *, spread, seed=0):
    """A rotation, stretched, of determinant 1."""
    generator = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(generator.normal(size=(size, size)))
    stretched = rotation @ np.diag(np.exp(spread * generator.normal(size=size)))
    if np.linalg.det(stretched) < 0:
        stretched[0] *= -1
    return stretched / np.linalg.det(stretched) ** (1 / size)


@pytest.mark.parametrize("size", [2, 4, 12, 24])
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_shears_multiply_to_the_matrix(size, spread):
    wanted = matrix(size, spread=spread)
    shears = factor(wanted)
    assert len(shears) % 2 == 0
    assert is_lower(len(shears) - 1)
    np.testing.assert_allclose(product(shears), wanted, atol=2e-6)
    assert max(np.abs(shear).sum(axis=1).max() for shear in shears) < 25


def test_a_permutation_is_a_product_of_shears():
    wanted = np.eye(12)[np.random.default_rng(1).permutation(12)]
    wanted[0] *= np.linalg.det(wanted)
    np.testing.assert_allclose(product(factor(wanted)), wanted, atol=2e-6)


def test_a_singular_matrix_is_refused(monkeypatch):
    monkeypatch.setattr("glow_deploy.exact.shears._ROUNDS", 10)
    with pytest.raises(UsageError, match="condition number"):
        factor(np.zeros((4, 4)))


def test_another_matrix_is_no_product_of_these_shears():
    shears = factor(matrix(4, spread=0.2))
    assert np.abs(product(shears) - matrix(4, spread=0.2, seed=5)).max() > 0.1


def test_later_shears_make_up_for_a_rounded_one():
    wanted = matrix(12, spread=0.3)
    shears = factor(wanted)
    rounded = (np.rint(shears[0] * 64) / 64, *shears[1:])
    better = refine(wanted, rounded, first=1)
    np.testing.assert_array_equal(better[0], rounded[0])
    before, after = (np.abs(product(found) - wanted).max() for found in (rounded, better))
    assert after < 0.05 * before
    # The last one has few numbers to make up with, and never makes it worse.
    last = (*shears[:4], np.rint(shears[4] * 64) / 64, shears[5])
    before, after = (((product(found) - wanted) ** 2).sum() for found in (last, refine(wanted, last, first=5)))
    assert after < before
