"""What the page shows, as PNG files inside text: pictures, differences made visible, and latents in colour."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.images import png_bytes

__all__ = ["LATENT_SCALE", "DifferencePicture", "data_uri", "difference_picture", "latent_picture", "picture_uri"]

LATENT_SCALE = 3.0
"""Latents at which the colours end: 99.7 % of what is standard normal lies within."""

_LOST = (255, 0, 255)  # no picture has large areas of it
_TILE = 64  # pixels that the longer side of a channel is enlarged to, about
_WIDEST = 720  # pixels of a montage
_GAP = 3
# From -LATENT_SCALE to LATENT_SCALE, zero in the colour of the page. Blue and orange differ for every kind of eye.
_MAPS = {
    "light": ((8, 64, 129), (102, 160, 214), (244, 245, 247), (236, 160, 90), (150, 66, 4)),
    "dark": ((150, 205, 255), (66, 122, 186), (34, 41, 50), (186, 106, 44), (255, 196, 130)),
}


@dataclass(frozen=True, kw_only=True)
class DifferencePicture:
    """A difference: its picture, and the error in pixel steps that black and white stand for; None: no difference."""

    uri: str
    full_scale: float | None


def picture_uri(values: npt.NDArray[np.uint8], lost: npt.NDArray[np.bool_] | None = None) -> str:
    """Put a picture, uint8 [C, H, W], into a data URI; pixels with something `lost` [C, H, W] are magenta."""
    if lost is not None and lost.any():
        colour = values if len(values) == 3 else values[:1].repeat(3, axis=0)
        values = np.where(lost.any(axis=0), np.array(_LOST, np.uint8)[:, None, None], colour)
    return data_uri(png_bytes(np.ascontiguousarray(values)))


def data_uri(png: bytes) -> str:
    """A PNG file as text that an `img` takes."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def difference_picture(
    x_hat: npt.NDArray[np.floating], x: npt.NDArray[np.floating], *, n_bits: int
) -> DifferencePicture:
    """Enlarge `x_hat - x` [C, H, W] until it can be seen: grey is none, lighter too bright, darker too dark.

    The full scale is the smallest of 1, 2 or 5 times a power of ten, in pixel steps, that holds every finite error.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        error = (x_hat.astype(np.float64) - x.astype(np.float64)) * 2**n_bits
    lost = ~np.isfinite(error)
    error = np.where(lost, 0.0, error)
    largest = float(np.abs(error).max())
    scale = _round_up(largest) if largest > 0 else None
    shown = np.full(error.shape, 0.5) if scale is None else 0.5 + 0.5 * error / scale
    values = np.minimum(np.floor(shown * 256), 255).astype(np.uint8)
    return DifferencePicture(uri=picture_uri(values, lost), full_scale=scale)


def latent_picture(z: npt.NDArray[np.floating], *, theme: str) -> tuple[str, int, int]:
    """Lay the channels of one level, [C, H, W], side by side, coloured around zero up to +-`LATENT_SCALE`.

    Args:
        z: finite.
        theme: `light` or `dark`: which ground the picture lies on; the gaps are transparent.

    Returns:
        A data URI, and the width and the height of the picture.
    """
    from PIL import Image

    channels, height, width = z.shape
    scale = max(1, round(_TILE / max(height, width)))
    cell_h, cell_w = height * scale + _GAP, width * scale + _GAP
    most = max(1, (_WIDEST + _GAP) // cell_w)
    # Rows as even as the width allows, so that none is left with one channel.
    columns = math.ceil(channels / math.ceil(channels / most))
    rows = math.ceil(channels / columns)
    out = np.zeros((rows * cell_h - _GAP, columns * cell_w - _GAP, 4), np.uint8)
    anchors = np.array(_MAPS[theme], dtype=np.float64)
    places = np.clip(z.astype(np.float64) / LATENT_SCALE, -1, 1)
    stops = np.linspace(-1, 1, len(anchors))
    colours = np.stack([np.interp(places, stops, anchors[:, part]) for part in range(3)], axis=-1).round()
    for channel in range(channels):
        top, left = channel // columns * cell_h, channel % columns * cell_w
        tile = colours[channel].astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)
        out[top : top + height * scale, left : left + width * scale, :3] = tile
        out[top : top + height * scale, left : left + width * scale, 3] = 255
    stream = io.BytesIO()
    Image.fromarray(out).save(stream, format="PNG")
    return data_uri(stream.getvalue()), out.shape[1], out.shape[0]


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value * (1 - 1e-9))
