"""Scores as a CSV file, written batch by batch and put in place whole."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import numpy as np

from glow_deploy.artifact.files import atomic_path

from .score import HeldOut, Scores

__all__ = ["ScoreTable", "SortKey", "score_table"]

SortKey = Literal["bits_per_dim", "typicality"]
"""Which pictures come first: the least likely, or the least typical."""


class ScoreTable:
    """Takes scores and writes one row a picture; made by `score_table`.

    Args:
        stream: where the rows go.
        reference: adds the columns `typicality` and `typicality_p`.
        sort: keeps where each row lies and how it ranks, 16 bytes a row.
    """

    def __init__(self, stream: IO[bytes], *, reference: HeldOut | None, sort: SortKey | None) -> None:
        self._stream, self._reference, self._sort = stream, reference, sort
        self._header: bytes | None = None
        self._keys: list[np.ndarray] = []
        self._ends: list[np.ndarray] = []
        self._length = 0

    def add(self, scores: Scores, *, name: str) -> None:
        """Write the rows of one batch of the set `name`."""
        if self._header is None:
            self._header = _line(self._columns(scores))
            if self._sort is None:
                self._stream.write(self._header)
        figures = [scores.log_prob, scores.bits_per_dim, scores.bits_per_dim_centre, *scores.level_squares.T]
        if self._reference is not None:
            figures += [self._reference.typicality(scores.bits_per_dim), self._reference.p_value(scores.bits_per_dim)]
        labels = [] if scores.labels is None else [scores.labels]
        lines = [
            _line(
                [name, picture, *(str(label[row]) for label in labels), *(f"{figure[row]:.9g}" for figure in figures)]
            )
            for row, picture in enumerate(scores.names)
        ]
        self._stream.write(b"".join(lines))
        if self._sort is not None:
            by_typicality = self._sort == "typicality" and self._reference is not None
            key = figures[-2] if by_typicality else scores.bits_per_dim
            self._keys.append(np.where(np.isfinite(key), key, np.inf))
            self._ends.append(self._length + np.cumsum([len(line) for line in lines]))
            self._length = int(self._ends[-1][-1])

    def copy_sorted(self, target: IO[bytes]) -> None:
        """Write the header and all rows to `target`, the highest key first, equal ones in the order they came."""
        if self._header is None:
            return
        target.write(self._header)
        ends = np.concatenate(self._ends)
        starts = np.concatenate([[0], ends[:-1]])
        for row in np.argsort(-np.concatenate(self._keys), kind="stable"):
            self._stream.seek(starts[row])
            target.write(self._stream.read(int(ends[row] - starts[row])))

    def _columns(self, scores: Scores) -> list[str]:
        levels = [f"z{level}_square" for level in range(1, scores.level_squares.shape[1] + 1)]
        return [
            "set",
            "name",
            *([] if scores.labels is None else ["class"]),
            "log_prob",
            "bits_per_dim",
            "bits_per_dim_centre",
            *levels,
            *([] if self._reference is None else ["typicality", "typicality_p"]),
        ]


@contextmanager
def score_table(path: Path, *, reference: HeldOut | None = None, sort: SortKey | None = None) -> Iterator[ScoreTable]:
    """Open a table for a `with` block; at its end the file is in place, whole, and after an error none of it is.

    Columns: `set`, `name`, `class` (class-conditional models), `log_prob` (nats), `bits_per_dim`,
    `bits_per_dim_centre`, `z1_square` ... `zL_square` (mean of z^2), and with a reference `typicality` (bits/dim) and
    `typicality_p`. UTF-8, one header line, numbers with nine digits, `nan` and `inf` where a figure is not finite.

    Args:
        path: the .csv file; one that is there is replaced.
        reference: what typicality is measured against.
        sort: sort by this column, highest first; None keeps the order of the pictures.

    Raises:
        UsageError: the file cannot be written.

    Examples:
        >>> from glow_deploy.engines.example import example_pair
        >>> from glow_deploy.scoring.score import score_images
        >>> encoder, _ = example_pair()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with score_table(Path(folder) / "scores.csv") as table:
        ...         table.add(score_images(encoder, np.zeros((2, 1, 4, 4), np.uint8)), name="black")
        ...     print((Path(folder) / "scores.csv").read_text().splitlines()[0])
        set,name,log_prob,bits_per_dim,bits_per_dim_centre,z1_square,z2_square
    """
    with atomic_path(path) as temporary:
        if sort is None:
            with temporary.open("wb") as stream:
                yield ScoreTable(stream, reference=reference, sort=None)
            return
        with tempfile.TemporaryFile() as rows:
            table = ScoreTable(rows, reference=reference, sort=sort)
            yield table
            with temporary.open("wb") as stream:
                table.copy_sorted(stream)


def _line(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")  # file names need not be valid UTF-8
