from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.engines.example import example_pair
from glow_deploy.errors import DataError, UsageError
from glow_deploy.scoring.surprise import default_patch, join_surprise, measure_surprise, smoothed


def ramp(height=8, width=12):
    """Brightness that rises evenly to the right and below: what is smoothed away comes back as it was."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([np.stack([rows + 2 * columns, 3 * rows - columns]) / 64] * 2)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_a_patch_is_filled_in_from_its_surroundings(patch):
    x = ramp()
    seen = set()
    for row, column, filled in smoothed(x, patch):
        seen.add((row, column))
        place = np.zeros(x.shape[2:], bool)
        place[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] = True
        np.testing.assert_array_equal(filled[:, :, ~place], x[:, :, ~place])
        inside = 0 < row < 8 // patch - 1 and 0 < column < 12 // patch - 1
        if inside:
            np.testing.assert_allclose(filled, x, atol=1e-6)
        else:  # at an edge one side alone is known
            low, high = x.min(), x.max()
            assert low <= filled.min()
            assert filled.max() <= high
    assert seen == {(row, column) for row in range(8 // patch) for column in range(12 // patch)}


def test_what_does_not_belong_shows_where_it_is():
    encoder, _ = example_pair(size=(8, 16), channels=3)
    flat = np.full((3, 3, 8, 16), 120, np.uint8)
    spoilt = flat.copy()
    spoilt[1, :, 2:4, 10:12] = 255
    raw = measure_surprise(encoder, spoilt, patch=2)
    assert raw.gains.shape == (3, 4, 8)
    assert np.unravel_index(raw.gains[1].argmax(), (4, 8)) == (1, 5)
    assert raw.gains[1].max() > 0.1
    np.testing.assert_allclose(raw.gains[0], 0, atol=1e-6)
    first = raw.energies[0]
    assert first.shape == (3, 4, 8)
    assert np.unravel_index((first[1] - first[0]).argmax(), (4, 8)) == (1, 5)


def test_batches_join_to_the_same():
    encoder, _ = example_pair()
    values = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4), dtype=np.uint8)
    whole = measure_surprise(encoder, values, patch=2)
    joined = join_surprise([measure_surprise(encoder, values[rows], patch=2) for rows in (slice(0, 2), slice(2, 5))])
    np.testing.assert_allclose(joined.gains, whole.gains, atol=1e-6)
    for one, other in zip(joined.energies, whole.energies, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    with pytest.raises(DataError):
        join_surprise([])


def test_what_does_not_fit_is_refused():
    encoder, decoder = example_pair()
    values = np.zeros((1, 1, 4, 4), np.uint8)
    for patch in (0, 3, 4):
        with pytest.raises(UsageError, match="patch="):
            measure_surprise(encoder, values, patch=patch)
    with pytest.raises(UsageError):
        measure_surprise(decoder, values, patch=2)
    with pytest.raises(DataError):
        measure_surprise(encoder, values[:, :, :2], patch=2)
    with pytest.raises(UsageError, match="class-conditional"):
        measure_surprise(encoder, values, patch=2, labels=[0])


def test_the_default_patch_divides_both_sides():
    for height, width in ((4, 4), (16, 16), (30, 42), (64, 48), (7, 14)):
        patch = default_patch(height, width)
        assert height % patch == width % patch == 0
