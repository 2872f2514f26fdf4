"""Rows of pixels: the neighbours of each, and the sums of what neighbours say."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from glow_core.flows.rows import from_rows, gathered, neighbours, to_rows


def test_channels_last_pictures_are_rows_without_a_copy() -> None:
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    rows = to_rows(x)
    assert rows.data_ptr() == x.data_ptr()
    assert torch.equal(rows[1 * 20 + 2 * 5 + 3], x[1, :, 2, 3])
    assert torch.equal(from_rows(rows, (2, 4, 5)), x)
    assert torch.equal(to_rows(x.contiguous()), rows)


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 1, 2), (2, 4, 5)])
def test_neighbours_are_those_of_unfold_and_gathering_is_their_transpose(size: tuple[int, int, int]) -> None:
    batch, height, width = size
    x = torch.randn(batch, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = neighbours(x)
    unfolded = F.unfold(x, 3, padding=1).view(batch, 3, 9, height * width)
    assert torch.equal(found, unfolded.permute(0, 3, 2, 1).reshape(found.shape))
    places = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose((found * places).sum(), (to_rows(x) * gathered(places, size)).sum(), rtol=1e-12)


def test_the_ring_is_one_outside_the_image_alone() -> None:
    x = torch.randn(2, 1, 3, 4)
    found = neighbours(x, ring=True).view(2, 3, 4, 9, 2)
    assert torch.equal(found[..., 0].reshape(-1, 9), neighbours(x))
    expected = F.unfold(F.pad(torch.zeros(1, 1, 3, 4), (1, 1, 1, 1), value=1.0), 3).view(9, 3, 4)
    assert torch.equal(found[1, ..., 1].permute(2, 0, 1), expected)
