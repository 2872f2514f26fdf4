"""Images in an .npy file, mapped into memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from glow_deploy.errors import DataError

from .arrays import array_images
from .fit import Fit
from .image_set import ImageSet
from .opened import Part
from .reading import Reading

__all__ = ["NPY", "npy_parts"]

NPY = b"\x93NUMPY"
"""How such a file begins."""


def npy_parts(path: Path, *, fit: Fit, reading: Reading) -> dict[Part, Callable[[], ImageSet]]:
    """Map an .npy file; it is one whole, without labels.

    Raises:
        DataError: damaged, Python objects in it, or images that do not fit.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} is damaged, or holds Python objects, which are never loaded ({reason})") from error
    images = array_images(array, fit=fit, description=str(path), reading=reading)
    return {"whole": lambda: images}
