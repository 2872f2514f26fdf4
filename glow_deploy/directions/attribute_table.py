"""Tables that say which pictures have which attribute: CSV, CelebA's own text format, or .npz."""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glow_deploy.artifact.files import check_regular
from glow_deploy.artifact.npz import NpzArchive
from glow_deploy.errors import DataError, UsageError
from glow_deploy.printable import one_line, shown

__all__ = ["MOST_ATTRIBUTES", "AttributeTable", "check_names", "read_attribute_table"]

_TRUE = frozenset({"1", "true", "yes", "1.0"})
_FALSE = frozenset({"0", "-1", "false", "no", "0.0", "-1.0"})
_LONGEST_NAME = 100
MOST_ATTRIBUTES = 4096  # beyond it a file is not what it is taken for
_LONGEST_COUNT = 12  # digits
_MOST_BYTES = 1 << 29  # of text; CelebA's table has 27 MB


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeTable:
    """Who has what.

    Attributes:
        source: the file, for messages.
        names: of the K attributes, all different.
        files: name of each of the N pictures, all different; None where the rows go by the pictures' order.
        values: bool [N, K].
    """

    source: str
    names: tuple[str, ...]
    files: tuple[str, ...] | None
    values: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.values)


def read_attribute_table(path: str | os.PathLike[str], *, tags: Sequence[str] | None = None) -> AttributeTable:
    r"""Read a table of attributes.

    Three kinds are told apart by their content:

    - CSV (comma, semicolon or tab) with a header: file names in the first column, an attribute in each other one;
    - CelebA's `list_attr_celeba.txt`: the number of rows, a line of names, then file name and values between spaces;
    - .npz with `attributes` [N, K], `attribute_names` [K] and, unless the rows go by the pictures' order, `files` [N].

    An attribute is there for 1, true or yes, and is not for 0, -1, false or no.

    Args:
        path: the file; nothing in it is ever unpickled.
        tags: only these attributes, in this order; other columns may then hold anything.

    Raises:
        DataError: missing, damaged, or a value that is neither; the message names the line and the column.
        UsageError: a tag that is not there.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tags.csv"
        ...     _ = path.write_text("file,smiling,hat\na.png,1,-1\nb.png,0,1\n")
        ...     table = read_attribute_table(path)
        >>> table.names, table.files
        (('smiling', 'hat'), ('a.png', 'b.png'))
        >>> table.values.tolist()
        [[True, False], [False, True]]
    """
    path = Path(path)
    check_regular(path, error=DataError)
    if _is_zip(path):
        return _read_npz(path, tags)
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{path} is larger than {_MOST_BYTES >> 20} MiB; it is no table of attributes")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            # A longer number counts no rows, and Python itself refuses the longest.
            count = first.strip()
            if count.isascii() and count.isdecimal() and len(count) <= _LONGEST_COUNT:
                return _read_celeba(path, stream, int(first), tags)
            delimiter = max(",;\t", key=first.count)
            lines = csv.reader(_chain(first, stream), delimiter=delimiter)
            header = next(lines, [])
            rows = ((lines.line_num, row) for row in lines if row)
            return _table(path, [name.strip() for name in header[1:]], rows, tags)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a table of text ({' '.join(str(error).split())})") from error


def check_names(names: Sequence[str], source: str) -> None:
    """Refuse names of attributes that could not be asked for, or not told apart.

    Raises:
        DataError: none at all, too many, an empty, long, unprintable or repeated one.
    """
    if not names:
        raise DataError(f"{source} names no attributes")
    if len(names) > MOST_ATTRIBUTES:
        raise DataError(f"{source} names {len(names)} attributes; {MOST_ATTRIBUTES} at most are taken")
    for name in names:
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise DataError(
                f"{source}: {name[:40]!r} cannot name an attribute; 1 to {_LONGEST_NAME} printable letters are needed"
            )
    if len(set(names)) != len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"{source} names the attribute {twice!r} twice")


def _is_zip(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _chain(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _read_celeba(path: Path, stream: Iterable[str], count: int, tags: Sequence[str] | None) -> AttributeTable:
    lines = iter(stream)
    names = next(lines, "").split()
    rows = ((number, line.split()) for number, line in enumerate(lines, start=3) if line.strip())
    table = _table(path, names, rows, tags)
    if len(table) != count:
        raise DataError(f"{path} announces {count} rows and holds {len(table)}; it is cut short or damaged")
    return table


def _table(
    path: Path, names: Sequence[str], rows: Iterable[tuple[int, list[str]]], tags: Sequence[str] | None
) -> AttributeTable:
    columns = _columns(names, tags, str(path))
    files: dict[str, int] = {}
    values = []
    for line, row in rows:
        if len(row) != len(names) + 1:
            raise DataError(f"{path}, line {line}: {len(row)} values where the header names {len(names) + 1}")
        file = row[0].strip()
        if not file or file in files:
            what = f"{shown(file)!r} is there already, in line {files[file]}" if file else "there is no file name"
            raise DataError(f"{path}, line {line}: {what}")
        files[file] = line
        values.append(bytes(_value(row[1 + column], path, line, names[column]) for column in columns))
    if not values:
        raise DataError(f"{path} has a header and no rows")
    flat = np.frombuffer(b"".join(values), np.uint8).reshape(len(values), len(columns))
    return AttributeTable(
        source=str(path),
        names=tuple(names[column] for column in columns),
        files=tuple(files),
        values=flat.astype(np.bool_),
    )


def _value(text: str, path: Path, line: int, name: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise DataError(
        f"{path}, line {line}: {shown(name)} is {text.strip()[:32]!r}, neither 1, true nor 0, -1, false; if the column "
        "is no attribute, name those that are (tags=)"
    )


def _columns(names: Sequence[str], tags: Sequence[str] | None, source: str) -> list[int]:
    """Numbers of the columns asked for; what is wrong with the names of others does not matter."""
    for tag in tags or ():
        if tag not in names:
            raise UsageError(f"{source} has no attribute {tag!r}; it has {one_line(', '.join(names), longest=300)}")
    columns = [number for number, name in enumerate(names) if tags is None or name in tags]
    check_names([names[column] for column in columns], source)
    return columns if tags is None else sorted(columns, key=lambda column: list(tags).index(names[column]))


def _read_npz(path: Path, tags: Sequence[str] | None) -> AttributeTable:
    with NpzArchive(path) as archive:
        names = _texts(archive, "attribute_names", most=MOST_ATTRIBUTES)
        columns = _columns(names, tags, str(path))
        entry = archive.entries.get("attributes")
        if entry is None or len(entry.shape) != 2 or entry.shape[1] != len(names) or not entry.shape[0]:
            got = "is missing" if entry is None else f"has the shape {list(entry.shape)}"
            raise DataError(f"{path}: `attributes` {got}; [N, {len(names)}] is needed for {len(names)} names")
        held = archive.read("attributes")
        if held.dtype.kind not in "biuf" or not np.isin(held, (-1, 0, 1)).all():
            raise DataError(f"{path}: `attributes` hold other values than 0 and 1, or -1 and 1")
        files = _texts(archive, "files") if "files" in archive else None
    if files is not None and (len(files) != len(held) or len(set(files)) != len(files)):
        raise DataError(f"{path}: `files` holds {len(set(files))} different names for {len(held)} rows")
    return AttributeTable(
        source=str(path),
        names=tuple(names[column] for column in columns),
        files=files,
        values=np.asarray(held[:, columns] == 1),
    )


def _texts(archive: NpzArchive, key: str, *, most: int | None = None) -> tuple[str, ...]:
    entry = archive.entries.get(key)
    if entry is not None and most is not None and math.prod(entry.shape) > most:
        raise DataError(f"{archive.path}: `{key}` holds {math.prod(entry.shape)} texts; {most} at most are taken")
    if entry is None or len(entry.shape) != 1 or entry.dtype.kind != "U":
        got = "is missing" if entry is None else f"is {entry.dtype} {list(entry.shape)}"
        raise DataError(f"{archive.path}: `{key}` {got}; a list of texts is needed")
    return archive.texts(key)
