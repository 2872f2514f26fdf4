"""Images that are valid inputs and surely not what a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError

from . import pixels_to_x

__all__ = ["stress_images"]

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]


def stress_images(
    shape: Shape,
    *,
    n_bits: int,
    n: int,
    seed: int,
    golden: npt.NDArray[np.float32] | None = None,
) -> Mapping[str, npt.NDArray[np.float32]]:
    """Make images of many kinds; the same arguments give the same images.

    Constants, checkerboards of one and two pixels, uniform noise, Rademacher noise (every value at one end of the
    range), Gaussian noise of a quarter of the range, clipped; images with a tenth of their pixels at one end (salt and
    pepper), with a single pixel moved to the far end (hot pixel), and negatives; smooth gradients, and strokes like
    those of handwriting. `glow_deploy.data.foreign_faces` adds pictures of something that was photographed.

    Args:
        shape: (C, H, W).
        n_bits: bit depth of the pixels, 1 to 8.
        n: images of each kind; constants are one image, checkerboards two.
        seed: 0 .. 2^64-1.
        golden: images [N, C, H, W] at bin centres that salt and pepper, hot pixels and negatives are made from,
            repeated where there are fewer than n. None makes them from the gradients.

    Returns:
        By name, float32 [n, C, H, W] in [0, 1) at bin centres.

    Raises:
        DataError: `golden` is not of this shape, or empty.
    """
    if golden is not None and (golden.shape[1:] != shape or len(golden) == 0):
        raise DataError(f"golden images have the shape {list(golden.shape)}; [N, {', '.join(map(str, shape))}] wanted")
    top = 2**n_bits - 1

    def stream(kind: int) -> np.random.Generator:
        return np.random.default_rng([seed, kind])

    gradients = _gradients(shape, n=n, top=top, rng=stream(0))
    base = gradients
    if golden is not None:
        base = np.floor(golden[np.arange(n) % len(golden)].astype(np.float64) * 2**n_bits).astype(np.uint8)
    pixels: dict[str, Pixels] = {
        "constant-0": np.full((1, *shape), 0, np.uint8),
        "constant-mid": np.full((1, *shape), (top + 1) // 2, np.uint8),
        "constant-max": np.full((1, *shape), top, np.uint8),
        "checkerboard-1": _checkerboard(shape, side=1, top=top),
        "checkerboard-2": _checkerboard(shape, side=2, top=top),
        "uniform": stream(1).integers(0, top, (n, *shape), dtype=np.uint8, endpoint=True),
        "rademacher": (stream(2).integers(0, 2, (n, *shape)) * top).astype(np.uint8),
        "gaussian": _quantise(0.5 + 0.25 * stream(3).standard_normal((n, *shape)), top),
        "salt-and-pepper": _salt_and_pepper(base, top=top, rng=stream(4)),
        "hot-pixel": _hot_pixel(base, top=top, rng=stream(5)),
        "negative": (top - base).astype(np.uint8),
        "gradients": gradients,
        "strokes": _strokes(shape, n=n, top=top, rng=stream(6)),
    }
    return {name: pixels_to_x(values, n_bits) for name, values in pixels.items()}


def _quantise(unit: npt.NDArray[np.float64], top: int) -> Pixels:
    """Values of [0, 1] to pixels, what lies outside to the ends."""
    return np.asarray(np.clip(np.floor(unit * (top + 1)), 0, top).astype(np.uint8))


def _checkerboard(shape: Shape, *, side: int, top: int) -> Pixels:
    """Both phases, all channels alike."""
    _, height, width = shape
    rows, columns = np.indices((height, width)) // side
    board = ((rows + columns) % 2 * top).astype(np.uint8)
    return np.stack([np.broadcast_to(phase, shape) for phase in (board, (top - board).astype(np.uint8))])


def _salt_and_pepper(base: Pixels, *, top: int, rng: np.random.Generator) -> Pixels:
    """A tenth of the pixels, all channels of one together, black or white."""
    place = (len(base), 1, *base.shape[2:])
    hit = rng.random(place) < 0.1
    ends = (rng.integers(0, 2, place) * top).astype(np.uint8)
    return np.where(hit, ends, base)


def _hot_pixel(base: Pixels, *, top: int, rng: np.random.Generator) -> Pixels:
    """One pixel of each image to whichever end of the range is further away."""
    hot = base.copy()
    count, _, height, width = base.shape
    images, rows, columns = np.arange(count), rng.integers(0, height, count), rng.integers(0, width, count)
    pixel = hot[images, :, rows, columns]
    hot[images, :, rows, columns] = np.where(pixel > top // 2, 0, top)
    return hot


def _gradients(shape: Shape, *, n: int, top: int, rng: np.random.Generator) -> Pixels:
    """Linear ramps over the whole range, of any direction, another in every channel."""
    channels, height, width = shape
    rows, columns = np.indices((height, width), dtype=np.float64)
    angle = rng.uniform(0.0, 2 * np.pi, (n, channels, 1, 1))
    ramp = np.cos(angle) * rows + np.sin(angle) * columns
    low, high = ramp.min(axis=(2, 3), keepdims=True), ramp.max(axis=(2, 3), keepdims=True)
    return _quantise((ramp - low) / np.maximum(high - low, 1e-9), top)


def _strokes(shape: Shape, *, n: int, top: int, rng: np.random.Generator) -> Pixels:
    """A few thin straight strokes; dark on light and light on dark by turns."""
    _, height, width = shape
    rows, columns = np.indices((height, width), dtype=np.float64)
    grid = np.stack((rows, columns), axis=-1)
    images = np.zeros((n, *shape), np.uint8)
    for image in range(n):
        ink = np.zeros((height, width), bool)
        for _ in range(int(rng.integers(3, 8))):
            start, end = rng.random((2, 2)) * (height - 1, width - 1)
            ink |= _distance(grid, start, end) < 0.7
        images[image] = np.where(ink, top if image % 2 else 0, 0 if image % 2 else top)
    return images


def _distance(
    grid: npt.NDArray[np.float64], start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Distance of every point to the line from start to end."""
    along = end - start
    share = np.clip(((grid - start) @ along) / max(float(along @ along), 1e-9), 0.0, 1.0)
    return np.asarray(np.linalg.norm(grid - start - share[..., None] * along, axis=-1))
