"""Data sets of images, one kind a file. No torch here."""

from __future__ import annotations

from .classes import class_rounds
from .foreign import foreign_faces
from .image_set import ImageSet, LeftOut
from .load import EMBEDDED, load_images, open_images
from .opened import OpenedImages
from .splits import Split

__all__ = [
    "EMBEDDED",
    "ImageSet",
    "LeftOut",
    "OpenedImages",
    "Split",
    "class_rounds",
    "foreign_faces",
    "load_images",
    "open_images",
]
