"""The run's records: `log.csv`, a row per logged step, and TensorBoard event files."""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from glow_core.errors import TrainingError
from glow_core.temporaries import create_new, temporary_name

from .folder import open_own, refuse_link

__all__ = ["LOG_COLUMNS", "CsvLog", "TensorBoardLog"]

LOG_COLUMNS = (
    "step", "epoch", "seconds", "bits_per_dim", "grad_norm", "learning_rate", "validation_bits_per_dim",
    "inverse_penalty", "conditioning_penalty",
)  # fmt: skip
"""Of `log.csv`. A new one is added at the end, so that the log of an older run can be widened."""


_STEP = re.compile(rb"[0-9]{1,18}")


class CsvLog:
    """Append-only table. Every row reaches the operating system in one write, so that a killed run loses none.

    Args:
        path: of the file. One that an earlier release began gets the columns it lacks, with nothing in them.
        keep_steps: rows of later steps, and a last row cut short, are dropped; 0 starts the file anew.

    Raises:
        TrainingError: what bears the name is a link or no plain file.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path, *, keep_steps: int) -> None:
        self.path = path
        header = (",".join(LOG_COLUMNS) + "\n").encode()
        old = _read(path) if keep_steps > 0 else b""
        found, _, rows = old.partition(b"\n")
        missing = len(LOG_COLUMNS) - len(found.split(b","))
        if missing > 0 and header.startswith(found + b","):
            old = header + rows.replace(b"\n", b"," * missing + b"\n")
            _replace(path, old)
        end = _end_of_step(old, header, keep_steps)
        self._file = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.ftruncate(self._file, end)
        if end == 0:
            self._write(header)

    def row(self, **values: float | None) -> None:
        """Append a row; floats are written so that they read back exactly, None and what is not given as nothing.

        Raises:
            OSError: the disk is full or the file cannot be written.
        """
        cells = (values.get(name) for name in LOG_COLUMNS)
        line = ",".join("" if cell is None else repr(cell) for cell in cells) + "\n"
        self._write(line.encode())

    def sync(self) -> None:
        """Force the rows to the disk, which has to happen before the checkpoint that counts on them."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]


def _read(path: Path) -> bytes:
    try:
        with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: killed on the way, the old one is still there."""
    temporary = path.with_name(temporary_name(path.name))
    create_new(temporary)
    try:
        with os.fdopen(open_own(temporary, os.O_WRONLY), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _end_of_step(content: bytes, header: bytes, last_step: int) -> int:
    """Return how many bytes of the table belong to steps up to `last_step`."""
    if not content.startswith(header):
        return 0
    end = len(header)
    for line in content[end:].splitlines(keepends=True):
        step = line.split(b",", 1)[0]
        if not line.endswith(b"\n") or _STEP.fullmatch(step) is None or int(step) > last_step:
            break
        end += len(line)
    return end


class TensorBoardLog:
    """Scalars and sample grids as TensorBoard event files.

    Args:
        folder: for the event files.
        first_step: events of this and later steps, left by a killed session, are hidden.

    Raises:
        TrainingError: the package tensorboard is not installed; or the folder is a link.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        refuse_link(folder)
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise TrainingError(
                "TensorBoard logs need the package tensorboard: install glow-deploy[train], or switch them off"
            ) from error
        self._excepthook = threading.excepthook
        threading.excepthook = self._quiet
        self._writer: Any = SummaryWriter(log_dir=str(folder), purge_step=first_step if first_step > 1 else None)

    def _quiet(self, found: Any) -> None:
        """Leave a full disk, which its thread meets first, to the calls that follow: they raise it."""
        if not isinstance(found.exc_value, OSError):
            self._excepthook(found)

    def scalars(self, step: int, **values: float | None) -> None:
        """Write named values of a step."""
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)

    def images(self, step: int, pixels: np.ndarray, *, n_bits: int) -> None:
        """Write a grid of n_bits-deep pixels, uint8 [N,C,H,W]."""
        shown = np.rint(pixels.astype(np.float32) * (255 / (2**n_bits - 1))).astype(np.uint8)
        self._writer.add_images("samples", shown, step)

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        try:
            with suppress(OSError):  # told already by what wrote last
                self._writer.close()
        finally:
            threading.excepthook = self._excepthook
