"""The worst images side by side: the original, what came back, and the difference enlarged until it can be seen."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np

from glow_deploy.numerics.worst import WorstImage

from .blocks import Picture, PictureBlock, Reproduce, Strip
from .formats import count, number

__all__ = ["worst_pictures"]

_SHOWN = 6  # a set; more of them say nothing new
_SIDE = 144  # pixels on the page that the longer side is enlarged to at least
_LOST = (255, 0, 255)  # no picture has large areas of it


def worst_pictures(pictures: Sequence[WorstImage], *, n_bits: int, reproduce: Reproduce) -> tuple[PictureBlock, ...]:
    """Lay out the worst images of each set, every image once, from the pair of backends where it came back worst."""
    sets: dict[str, dict[int, WorstImage]] = {}
    for picture in pictures:
        known = sets.setdefault(picture.images, {})
        if picture.index not in known or _badness(picture) > _badness(known[picture.index]):
            known[picture.index] = picture
    blocks = []
    for name, images in sets.items():
        worst = sorted(images.values(), key=_badness, reverse=True)[:_SHOWN]
        blocks.append(
            PictureBlock(
                title=f"{name}: the {len(worst)} worst" if len(worst) > 1 else f"{name}: the worst",
                strips=tuple(_strip(picture, n_bits=n_bits) for picture in worst),
                caption="In the difference, grey is no error, lighter is too bright, darker is too dark; each picture "
                "has a factor of its own. Magenta pixels are not finite.",
                reproduce=reproduce,
            )
        )
    return tuple(blocks)


def _badness(picture: WorstImage) -> tuple[int, float, int]:
    return picture.non_finite, picture.error_steps, -picture.index


def _strip(picture: WorstImage, *, n_bits: int) -> Strip:
    with np.errstate(invalid="ignore", over="ignore"):
        error = picture.x_hat.astype(np.float64) - picture.x.astype(np.float64)
    lost = ~np.isfinite(error)
    factor = _factor(error)
    largest = (
        f"{count(picture.non_finite)} non-finite values"
        if picture.non_finite
        else f"largest error {number(picture.error_steps)} pixel steps"
    )
    if factor is None:
        enlarged, label = np.zeros_like(error), "difference"
        note = "No finite difference." if lost.any() else "No difference that float32 resolves."
    else:
        enlarged, label = np.where(lost, 0.0, error) * factor, f"difference x {number(factor, digits=1)}"
        note = f"In the difference, black and white are {number(0.5 / factor * 2**n_bits)} pixel steps."
    where = f"image {picture.index}"
    pictures = (
        _picture(picture.x, np.zeros_like(lost), label="original", description=f"{where}, as it was encoded"),
        _picture(picture.x_hat, lost, label="reconstruction", description=f"{where}, decoded again"),
        _picture(0.5 + enlarged, lost, label=label, description=f"{where}, reconstruction minus original"),
    )
    return Strip(
        heading=f"Image {picture.index}: {largest}",
        note=f"Encode {picture.encode}, decode {picture.decode}. {note}",
        pictures=pictures,
    )


def _factor(error: np.ndarray) -> float | None:
    """Find the largest factor of 1, 2 or 5 times a power of ten that keeps every finite error within the grey scale."""
    finite = np.abs(error[np.isfinite(error)])
    largest = float(finite.max()) if finite.size else 0.0
    if not largest > 0.0:
        return None
    exact = 0.5 / largest
    power = 10.0 ** math.floor(math.log10(exact))
    return next(step * power for step in (5.0, 2.0, 1.0) if step * power <= exact * (1 + 1e-9))


def _picture(x: np.ndarray, lost: np.ndarray, *, label: str, description: str) -> Picture:
    """Encode values [C, H, W], shown as black at 0 and white at 1, with what is lost in magenta."""
    from glow_deploy.images import png_bytes

    bad = lost.any(axis=0)
    values = np.clip(np.where(np.isfinite(x), x, 0.0), 0.0, 1.0)
    plane = np.minimum(np.floor(values * 256.0), 255.0).astype(np.uint8)
    if bad.any():
        plane = plane if len(plane) == 3 else plane[:1].repeat(3, axis=0)
        plane = np.where(bad, np.array(_LOST, dtype=np.uint8)[:, None, None], plane)
    elif len(plane) not in (1, 3):
        plane = plane[:1]
    height, width = plane.shape[1:]
    scale = max(1, math.ceil(_SIDE / max(height, width)))
    return Picture(
        uri=f"data:image/png;base64,{base64.b64encode(png_bytes(plane)).decode('ascii')}",
        width=width * scale,
        height=height * scale,
        label=label,
        description=description,
    )
