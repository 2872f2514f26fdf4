"""Real pictures of a kind that a model was not trained on: the embedded faces, resized."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from glow_deploy.images import pixels_to_x, values_to_pixels

from .load import load_images

__all__ = ["foreign_faces"]

_FACES = (3, 16, 16)


def foreign_faces(shape: tuple[int, int, int], *, n_bits: int, n: int) -> Mapping[str, npt.NDArray[np.float32]]:
    """Resize embedded faces to a model's images.

    They are left out for a model of their own size, which may have been trained on them, and for models of other than
    1 or 3 channels.

    Args:
        shape: (C, H, W).
        n_bits: bit depth of the pixels, 1 to 8.
        n: images at most.

    Returns:
        `faces`: float32 [n, C, H, W] in [0, 1) at bin centres; or nothing.
    """
    if shape == _FACES or shape[0] not in (1, 3):
        return {}
    faces = load_images("faces", split="test", size=shape[1:], channels=shape[0], resize=True, limit=n)
    pixels = values_to_pixels(faces.batch(np.arange(min(n, len(faces)))), n_bits)
    return {"faces": pixels_to_x(pixels, n_bits)}
