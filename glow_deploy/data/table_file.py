"""Pictures in Parquet and Arrow files, through the package `datasets`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glow_deploy.errors import DataError, MissingDependencyError
from glow_deploy.progress import CountProgress

from .fit import Fit
from .hub import row_images
from .image_set import ImageSet
from .opened import Part
from .reading import Reading

__all__ = ["ARROW", "PARQUET", "table_parts"]

PARQUET = b"PAR1"
"""How a Parquet file begins."""

ARROW = (b"ARROW1", b"\xff\xff\xff\xff")
"""How Arrow files begin: those of the file format, and streams, as `datasets` keeps them."""


def table_parts(
    path: Path, *, fit: Fit, reading: Reading | None = None, progress: CountProgress | None = None
) -> dict[Part, Callable[[], ImageSet]]:
    """Open a table with an image column; it is one whole. A column of class labels gives the labels.

    Raises:
        DataError: damaged, or without an image column.
        MissingDependencyError: the package `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: reading tables needs the package datasets: pip install 'glow-deploy[train]'"
        ) from error
    try:
        rows: Any
        with path.open("rb") as stream:
            parquet = stream.read(len(PARQUET)) == PARQUET
        if parquet:
            # Kept in memory: a cache in the home folder would double every set.
            with tempfile.TemporaryDirectory() as cache:
                rows = datasets.Dataset.from_parquet(str(path), cache_dir=cache, keep_in_memory=True)
        else:
            rows = datasets.Dataset.from_file(str(path))
    except Exception as error:  # pyarrow and datasets raise many unrelated types
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} cannot be opened as a table ({reason})") from error
    return {"whole": lambda: row_images(rows, fit=fit, reading=reading, description=str(path), progress=progress)}
