"""Pictures one after the other, as an animated GIF or PNG."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError, UsageError

from .grid import grid

__all__ = ["AnimationKind", "animation_bytes", "there_and_back", "write_animation"]

AnimationKind = Literal["gif", "apng"]
"""`apng` keeps every pixel; `gif` has 256 colours for all its frames together."""

_FASTEST = 50.0  # frames a second; browsers slow down what claims to be faster
_PALETTE = 256


def there_and_back(count: int) -> npt.NDArray[np.int64]:
    """Order of frames that runs to the last of `count` and back, so that the animation repeats without a jump.

    Examples:
        >>> there_and_back(4).tolist()
        [0, 1, 2, 3, 2, 1]
    """
    forth = np.arange(count, dtype=np.int64)
    return np.concatenate([forth, forth[-2:0:-1]])


def animation_bytes(
    values: npt.NDArray[np.uint8],
    *,
    kind: AnimationKind = "apng",
    fps: float = 12.0,
    hold: float = 0.0,
    scale: int | None = None,
) -> bytes:
    """Frames as the bytes of an animation that repeats for ever.

    Args:
        values: uint8 [N, C, H, W], C = 1 or 3, N >= 1, in the order they are shown.
        kind: a GIF has one palette for all frames: exact up to 256 colours, the nearest of 256 beyond, not dithered.
        fps: frames a second, above 0 and at most 50. A GIF counts in hundredths of a second.
        hold: seconds that the first and the middle frame are shown longer, which are the ends of `there_and_back`.
        scale: whole-number enlargement without smoothing; None enlarges small pictures as `grid` does.

    Raises:
        DataError: `values` is not uint8 [N, C, H, W].
        UsageError: an option is out of range.

    Examples:
        >>> import numpy as np
        >>> frames = np.zeros((3, 1, 4, 4), np.uint8)
        >>> frames[1:] = np.array([100, 200], np.uint8)[:, None, None, None]
        >>> animation_bytes(frames, kind="gif")[:6]
        b'GIF89a'
    """
    from PIL import Image

    if not 0 < fps <= _FASTEST:
        raise UsageError(f"frames a second must be above 0 and at most {_FASTEST:g}, not {fps}")
    if not 0 <= hold <= 60:
        raise UsageError(f"the ends can be held for 0 to 60 seconds, not {hold}")
    if values.dtype != np.uint8 or values.ndim != 4 or values.shape[1] not in (1, 3) or 0 in values.shape:
        raise DataError(f"an animation needs uint8 [N,C,H,W] with C = 1 or 3, not {values.dtype} {values.shape}")
    palette = None
    if kind == "gif" and values.shape[1] == 3:
        values, palette = _with_palette(values)
    images = []
    for value in values:
        frame = grid(value[None], scale=scale, padding=0)
        image = Image.fromarray(frame[0] if len(frame) == 1 else np.ascontiguousarray(frame.transpose(1, 2, 0)))
        if palette is not None:
            image.putpalette(palette)
        images.append(image)
    durations = np.full(len(images), 1000 / fps)
    durations[[0, len(images) // 2]] += 1000 * hold
    stream = io.BytesIO()
    images[0].save(
        stream,
        format="GIF" if kind == "gif" else "PNG",
        save_all=True,
        append_images=images[1:],
        duration=[round(duration) for duration in durations],
        loop=0,
        **({"optimize": False} if kind == "gif" else {}),
    )
    return stream.getvalue()


def write_animation(
    path: str | os.PathLike[str],
    values: npt.NDArray[np.uint8],
    *,
    fps: float = 12.0,
    hold: float = 0.0,
    scale: int | None = None,
) -> None:
    """Write frames as an animation, whole or not at all; an existing file is replaced.

    The suffix says which kind: `.gif`, or `.png` and `.apng`, which are the same. For the rest see `animation_bytes`.

    Raises:
        UsageError: another suffix, or an option is out of range.
        DataError: `values` is not uint8 [N, C, H, W].
    """
    from glow_deploy.artifact.files import atomic_write

    suffix = Path(path).suffix.lower()
    if suffix not in (".gif", ".png", ".apng"):
        raise UsageError(f"{path}: an animation is written as .gif, .apng or .png")
    kind: AnimationKind = "gif" if suffix == ".gif" else "apng"
    atomic_write(Path(path), animation_bytes(values, kind=kind, fps=fps, hold=hold, scale=scale))


def _with_palette(values: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], bytes]:
    """Colour frames [N, 3, H, W] as numbers [N, 1, H, W] into one palette for all of them, and the palette."""
    from PIL import Image

    count, _, height, width = values.shape
    pixels = np.ascontiguousarray(values.transpose(0, 2, 3, 1)).reshape(-1, 3)
    packed = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    colours, numbers = np.unique(packed, return_inverse=True)
    if len(colours) <= _PALETTE:
        table = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8)
    else:
        # All frames as one picture, so that a colour does not change from frame to frame.
        every = Image.fromarray(pixels.reshape(count * height, width, 3))
        indexed = every.quantize(_PALETTE, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        numbers, table = np.asarray(indexed), np.asarray(indexed.getpalette(), np.uint8).reshape(-1, 3)
    return numbers.reshape(count, 1, height, width).astype(np.uint8), table.tobytes()
