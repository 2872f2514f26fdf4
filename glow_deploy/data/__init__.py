"""Data sets of images, one kind a file. No torch here."""

from __future__ import annotations

from .classes import class_rounds
from .foreign import foreign_faces
from .image_set import ImageSet
from .load import EMBEDDED, load_images
from .splits import Split

__all__ = ["EMBEDDED", "ImageSet", "Split", "class_rounds", "foreign_faces", "load_images"]
