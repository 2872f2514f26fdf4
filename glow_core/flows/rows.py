"""Pictures as rows of pixels, on which convolutions are matrix products: what a CPU does fastest.

A tensor [N,C,H,W] in channels-last memory is a matrix [N*H*W,C] already. A 3x3 convolution to more channels multiplies
the nine neighbours of each pixel (`neighbours`). One to fewer channels multiplies each pixel first, and then each pixel
takes the results that its neighbours have for it (`gathered`). The two are each other's transposes.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["from_rows", "gathered", "neighbours", "to_rows"]


def to_rows(x: Tensor) -> Tensor:
    """[N,C,H,W] -> [N*H*W,C], a view of channels-last memory and else a copy."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def from_rows(rows: Tensor, size: tuple[int, int, int]) -> Tensor:
    """[N*H*W,C] -> [N,C,H,W] in channels-last memory, a view of contiguous rows; `size` is (N,H,W)."""
    batch, height, width = size
    return rows.reshape(batch, height, width, rows.shape[1]).permute(0, 3, 1, 2)


def neighbours(x: Tensor, *, ring: bool = False) -> Tensor:
    """[N,C,H,W] -> the 3x3 neighbourhoods [N*H*W,9*C], the places slowest; zero outside the image.

    Args:
        x: N may not be 0.
        ring: there is one channel more, which is 1 outside the image and 0 inside.
    """
    batch, channels, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, int(ring), 1, 1, 1, 1))
    if ring:
        channels += 1
        padded[..., -1] = 1
        padded[:, 1:-1, 1:-1, -1] = 0
    image, row, pixel, channel = padded.stride()
    places = padded.as_strided((batch, height, width, 3, 3, channels), (image, row, pixel, row, pixel, channel))
    return places.reshape(batch * height * width, 9 * channels)


def gathered(places: Tensor, size: tuple[int, int, int]) -> Tensor:
    """[N*H*W,9*C] -> [N*H*W,C]: what the neighbourhoods that a pixel is in say of it, summed.

    Transposed `neighbours`. Sums of 16-bit values are formed in float32 and returned in 16 bit.
    """
    batch, height, width = size
    pixels, starts = _members(height, width)
    if batch > 1:
        images = torch.arange(batch, dtype=pixels.dtype, device=pixels.device)[:, None]
        pixels = (pixels + 9 * height * width * images).reshape(-1)
        starts = (starts + pixels.numel() // batch * images).reshape(-1)
    rows = places.reshape(9 * batch * height * width, -1)
    summed: Tensor = F.embedding_bag(pixels, rows, starts, mode="sum")
    return summed


@lru_cache(maxsize=32)
def _members(height: int, width: int) -> tuple[Tensor, Tensor]:
    """For one image: the places that speak of each pixel, pixel after pixel, and where each pixel's begin."""
    # Kept for later calls, so not on the default device of this one, nor of its inference mode.
    with torch.device("cpu"), torch.inference_mode(mode=False):
        return _listed(height, width)


def _listed(height: int, width: int) -> tuple[Tensor, Tensor]:
    number = torch.arange(height * width).view(height, width)
    outside = -1
    found = torch.full((height, width, 3, 3), outside)
    for i in range(3):
        for j in range(3):
            # The pixel at (y, x) is in place (i, j) of the neighbourhood of (y - i + 1, x - j + 1).
            there = F.pad(number, (1, 1, 1, 1), value=outside)[2 - i : 2 - i + height, 2 - j : 2 - j + width]
            found[:, :, i, j] = torch.where(there == outside, outside, 9 * there + 3 * i + j)
    flat = found.view(height * width, 9)
    inside = flat != outside
    ends = inside.sum(dim=1).cumsum(0)
    return flat[inside], torch.cat((ends.new_zeros(1), ends[:-1]))
