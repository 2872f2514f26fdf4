"""Pictures, n-bit pixels and the float32 `x` that a model reads, and the ways between them.

Three kinds of array, all NCHW (or CHW for one picture):

- *values*: uint8, 0..255, what picture files hold;
- *pixels*: uint8, 0..2^n_bits-1, what the model is trained on;
- *x*: float32 in [0, 1), `(pixel + u) / 2^n_bits`, with u = 0.5 (the bin centre) for files.
"""

from __future__ import annotations

from .captions import CAPTION_HEIGHT, caption_columns, caption_rows
from .files import PICTURE_SUFFIXES, highest_value, png_bytes, read_picture, write_png
from .folders import FolderPictures, find_in_folder, kinds_note
from .grid import grid
from .headers import Header, read_header
from .pixels import bits_per_dim, pixels_to_values, pixels_to_x, values_to_pixels, values_to_x, x_to_pixels, x_to_values

__all__ = [
    "CAPTION_HEIGHT",
    "PICTURE_SUFFIXES",
    "FolderPictures",
    "Header",
    "bits_per_dim",
    "caption_columns",
    "caption_rows",
    "find_in_folder",
    "grid",
    "highest_value",
    "kinds_note",
    "pixels_to_values",
    "pixels_to_x",
    "png_bytes",
    "read_header",
    "read_picture",
    "values_to_pixels",
    "values_to_x",
    "write_png",
    "x_to_pixels",
    "x_to_values",
]
