"""The figures of a verification that are compared with those of another, out of its JSON report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from .fields import Fields

__all__ = ["Exact", "Figures", "Kind", "Row", "batch_name", "cell_name", "read_rows", "reference_name"]

Kind = Literal["x", "z", "bits/dim"]
"""What an error is measured in; its floor depends on it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LEVEL = re.compile(r"z([1-9][0-9]?)")


def cell_name(*, encode: str, decode: str, images: str) -> str:
    """The name of a cell of the matrix, the same in tables and as a test."""
    return f"{encode}->{decode}[{images}]"


def reference_name(*, backend: str, images: str) -> str:
    """The name of a backend's comparison with the trained model in float64."""
    return f"{backend}-vs-float64[{images}]"


def batch_name(*, backend: str, role: str) -> str:
    """The name of an engine's comparison with itself at other batch sizes."""
    return f"{backend}-batches[{role}]"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One error over all values.

    Attributes:
        kind: what it is measured in.
        level: of the model, None where it belongs to all.
        n: values compared.
        non_finite: of which NaN or infinite.
        rms: of the others; None where it is no finite number.
        p999: their 99.9th percentile, likewise.
        scale: rms of what was expected, likewise.
    """

    kind: Kind
    level: int | None
    n: int
    non_finite: int
    rms: float | None
    p999: float | None
    scale: float | None


@dataclass(frozen=True, kw_only=True)
class Exact:
    """Images whose every pixel came back in its bin, of how many."""

    images: int
    images_exact: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """A cell, a backend against float64, or an engine against itself.

    Attributes:
        name: of `cell_name`, `reference_name` or `batch_name`.
        images: name of the image set that it was measured on.
        backends: that took part.
        measures: errors by name, named as the gates of `verify` name them.
        exact: of a cell.
        sizes: batch sizes tried, of an engine against itself.
    """

    name: str
    images: str
    backends: tuple[str, ...]
    measures: Mapping[str, Figures]
    exact: Exact | None = None
    sizes: tuple[int, ...] = ()


def read_rows(report: Fields, *, first_images: str) -> dict[str, Row]:
    """Take the rows out of a JSON report.

    Args:
        report: the whole of it.
        first_images: name of its first image set, which engines are compared with themselves on.

    Returns:
        Rows by name.

    Raises:
        ValueError: an entry is missing or malformed, or a row is there twice.
    """
    rows: dict[str, Row] = {}
    for row in _rows(report, first_images):
        if row.name in rows:
            raise ValueError(f"{row.name} is there twice")
        rows[row.name] = row
    return rows


def _rows(report: Fields, first_images: str) -> Iterator[Row]:
    for cell in report.children("cells"):
        images, encode, decode = (_name(cell, key) for key in ("images", "encode", "decode"))
        yield Row(
            name=cell_name(encode=encode, decode=decode, images=images),
            images=images,
            backends=(encode, decode),
            measures={
                "x -> z -> x": _figures(cell.child("x_z_x"), "x"),
                **{
                    f"z{level} -> x -> z{level}": figures
                    for level, figures in _levels(cell.child("z_x_z"), cell.place("z_x_z"))
                },
                "bits/dim between backends": _figures(cell.child("bits_per_dim_centre_between"), "bits/dim"),
                "bits/dim of the round trip": _figures(cell.child("bits_per_dim_centre_round_trip"), "bits/dim"),
            },
            exact=_exact(cell.child("exact")),
        )
    for reference in report.children("references"):
        images, backend = _name(reference, "images"), _name(reference, "backend")
        yield Row(
            name=reference_name(backend=backend, images=images),
            images=images,
            backends=(backend,),
            measures={
                **{f"z{level}": figures for level, figures in _levels(reference.child("z"), reference.place("z"))},
                "bits/dim": _figures(reference.child("bits_per_dim_centre"), "bits/dim"),
                "x from the reference's latents": _figures(reference.child("x_from_reference_z"), "x"),
            },
        )
    for batch in report.children("batches"):
        backend, role = _name(batch, "backend"), _name(batch, "role")
        yield Row(
            name=batch_name(backend=backend, role=role),
            images=first_images,
            backends=(backend,),
            measures={
                f"{output} of {words}": _figures(batch.child(key).child(output), kind)
                for key, words in (("equal_rows", "equal rows"), ("split", "split batch"))
                for output, kind in _outputs(batch.child(key))
            },
            sizes=batch.counts("sizes"),
        )


def _name(fields: Fields, key: str) -> str:
    name = fields.text(key)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{fields.place(key)} is no name of a backend, a role or an image set")
    return name


def _levels(fields: Fields, where: str) -> Iterator[tuple[int, Figures]]:
    if not fields.names():
        raise ValueError(f"{where} is empty")
    for name in fields.names():
        match = _LEVEL.fullmatch(name)
        if match is None:
            raise ValueError(f"{fields.place(name)} belongs to no level")
        level = int(match[1])
        yield level, _figures(fields.child(name), "z", level=level)


def _outputs(fields: Fields) -> Iterator[tuple[str, Kind]]:
    kinds: dict[str, Kind] = {"x": "x", "z": "z", "bits/dim": "bits/dim"}
    for name in fields.names():
        if name not in kinds:
            raise ValueError(f"{fields.place(name)} is no output of an engine")
        yield name, kinds[name]


def _figures(fields: Fields, kind: Kind, *, level: int | None = None) -> Figures:
    n = fields.count("n")
    return Figures(
        kind=kind,
        level=level,
        n=n,
        non_finite=fields.count("non_finite", most=n),
        rms=fields.figure("rms"),
        p999=fields.figure("p999"),
        scale=fields.figure("scale"),
    )


def _exact(fields: Fields) -> Exact:
    images = fields.count("images")
    return Exact(images=images, images_exact=fields.count("images_exact", most=images))
