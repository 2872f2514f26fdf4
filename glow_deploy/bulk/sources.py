"""What a bulk run reads: folders of pictures, Parquet files and WebDataset shards, found and looked at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from glow_deploy.artifact.files import sha256_file
from glow_deploy.errors import BundleError, DataError, UsageError
from glow_deploy.images import PICTURE_SUFFIXES

from .folder_rows import FolderRows
from .parquet_rows import ParquetRows
from .rows import Rows
from .tar_rows import TarRows

__all__ = [
    "MOST_ROWS",
    "Kind",
    "Source",
    "Survey",
    "find_sources",
    "open_rows",
    "parse_kind",
    "size_of",
    "stamp",
    "survey",
]

Kind = Literal["folder", "parquet", "tar"]

MOST_ROWS = 1 << 32
"""Rows of one source: row r of source s has the number s * 2^32 + r."""

_SUFFIXES: Mapping[str, Kind] = {".parquet": "parquet", ".tar": "tar"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """One input shard.

    Attributes:
        name: as it was given, which its rows are named after.
        path: where it is, from anywhere.
        kind: `folder`, `parquet` or `tar`.
        column: of pictures, in a Parquet file; None for the only one that can be.
    """

    name: str
    path: str
    kind: Kind
    column: str | None = None


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a look at a whole source told.

    Attributes:
        rows: pictures in it.
        sha256: of its bytes; of a folder, of the names and the sha256 of its pictures.
        stamp: sha256 of names, sizes and times of change: while it is the same, the bytes need not be read again.
    """

    rows: int
    sha256: str
    stamp: str


def find_sources(paths: Sequence[Path], *, column: str | None = None) -> tuple[Source, ...]:
    """Tell what each path is; a folder that holds shards stands for them, in the order of their names.

    Raises:
        DataError: nothing there, neither pictures nor shards, or both in one folder.
        UsageError: a column is named, and no path is a Parquet file.
    """
    found: list[Source] = []
    for path in paths:
        if path.is_dir():
            found += _in_folder(path, column)
        elif not path.exists():
            raise DataError(f"{path}: no such file or folder")
        elif path.suffix.lower() in _SUFFIXES:
            found.append(_source(path, str(path), _SUFFIXES[path.suffix.lower()], column))
        else:
            raise DataError(f"{path} is no source of a bulk run; give folders of pictures, .parquet or .tar files")
    names = [source.name for source in found]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise DataError(f"{twice} is given twice")
    if column is not None and all(source.kind != "parquet" for source in found):
        raise UsageError("column= is for .parquet files, and there are none among the inputs")
    return tuple(found)


def _in_folder(folder: Path, column: str | None) -> list[Source]:
    shards = [path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()]
    shards = sorted(path for path in shards if not any(part[0] == "." for part in path.relative_to(folder).parts))
    pictures = any(path.suffix.lower() in PICTURE_SUFFIXES for path in _walk(folder))
    if shards and pictures:
        raise DataError(f"{folder} holds both pictures and shards ({shards[0].name}); name the shards one by one")
    if shards:
        return [_source(path, str(path), _SUFFIXES[path.suffix.lower()], column) for path in shards]
    if not pictures:
        raise DataError(f"{folder} holds neither pictures nor .parquet or .tar shards")
    return [_source(folder, str(folder), "folder", None)]


def _walk(folder: Path) -> Sequence[Path]:
    return FolderRows(folder, name="").paths


def _source(path: Path, name: str, kind: Kind, column: str | None) -> Source:
    return Source(name=name, path=str(path.absolute()), kind=kind, column=column if kind == "parquet" else None)


def open_rows(source: Source) -> Rows:
    """List the rows of a source.

    Raises:
        DataError: it is missing, damaged or cut short.
        MissingDependencyError: a Parquet file, and the package `pyarrow` is not installed.
    """
    path = Path(source.path)
    if source.kind == "parquet":
        return ParquetRows(path, name=source.name, column=source.column)
    return TarRows(path, name=source.name) if source.kind == "tar" else FolderRows(path, name=source.name)


def survey(source: Source, *, told: Callable[[int], None] | None = None) -> Survey:
    """Read a source once from end to end: how many rows it has, and what it is known by.

    Args:
        source: what is read.
        told: called with the bytes of each piece.

    Raises:
        DataError: it is missing, damaged, cut short, empty or too large.
    """
    before = stamp(source)
    rows = open_rows(source)
    if not 0 < rows.count < MOST_ROWS:
        raise DataError(f"{source.name} holds {rows.count:,} pictures; 1 to {MOST_ROWS - 1:,} are needed in a source")
    found = Survey(rows=rows.count, sha256=_digest(source, rows, told), stamp=before)
    if stamp(source) != before:
        raise DataError(f"{source.name} was changed while it was read; start again once it is complete")
    return found


def stamp(source: Source) -> str:
    """Digest names, sizes and times of change, without reading a file.

    Raises:
        DataError: a file is gone.
    """
    digest = hashlib.sha256()
    for name, found in _stats(source):
        digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode(*_SAFE))
    return digest.hexdigest()


def size_of(source: Source) -> int:
    """Bytes of all its files, without reading one.

    Raises:
        DataError: a file is gone.
    """
    return sum(found.st_size for _, found in _stats(source))


def _stats(source: Source) -> Iterator[tuple[str, os.stat_result]]:
    path = Path(source.path)
    try:
        for file in _walk(path) if source.kind == "folder" else (path,):
            yield _below(file, path), file.stat()
    except OSError as error:
        raise DataError(f"{source.name}: {error.strerror or error}; it must stay as it is during a run") from error


_SAFE = ("utf-8", "surrogateescape")


def _digest(source: Source, rows: Rows, told: Callable[[int], None] | None) -> str:
    path = Path(source.path)
    try:
        if not isinstance(rows, FolderRows):
            return sha256_file(path, told=told)
        digest = hashlib.sha256()
        for file in rows.paths:
            digest.update(f"{_below(file, path)}\0{sha256_file(file, told=told)}\n".encode(*_SAFE))
        return digest.hexdigest()
    except (OSError, BundleError) as error:
        raise DataError(f"{source.name} cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _below(file: Path, top: Path) -> str:
    return "" if file == top else file.relative_to(top).as_posix()


def parse_kind(text: str) -> Kind:
    """Take a kind of source out of a file.

    Raises:
        ValueError: it is none.
    """
    if text not in get_args(Kind):
        raise ValueError(f"kind {text[:40]!r} is not known")
    kind: Any = text
    return kind  # type: ignore[no-any-return]  # it is one of them
