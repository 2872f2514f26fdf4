"""The pictures of a Parquet file: a column of encoded pictures, as the data sets of the Hugging Face hub store them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glow_deploy.artifact.files import open_regular
from glow_deploy.errors import DataError
from glow_deploy.printable import one_line, shown

from .arrow import import_arrow
from .rows import LARGEST_PICTURE, SourceRow

__all__ = ["ParquetRows"]

_MAGIC = b"PAR1"
_LONGEST_FOOTER = 256 << 20  # bytes
_LARGEST_GROUP = 8 << 30  # bytes that the column of one row group claims to unpack to
_MOST_TEXT, _MOST_ENTRIES = 64 << 20, 1 << 24  # of one text and one list in the footer
_AT_ONCE = 64  # rows


class ParquetRows:
    """The pictures of one file, row by row.

    Args:
        path: the file.
        name: what rows are called after.
        column: which column; None takes the only one that can be of pictures.

    Raises:
        DataError: damaged, or without such a column.
        MissingDependencyError: the package `pyarrow` is not installed.
    """

    def __init__(self, path: Path, *, name: str, column: str | None = None) -> None:
        self._path, self._name = path, name
        import_arrow(f"reading {path}")
        _check_footer(path)
        with _damage(f"{path} cannot be opened as a Parquet file"), self._open() as table:
            self.column = _column(table.schema_arrow, path, column)
            groups = [table.metadata.row_group(number) for number in range(table.metadata.num_row_groups)]
            self._groups = [group.num_rows for group in groups]
            for number, group in enumerate(groups):
                self._check_group(number, group)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(self._groups)

    def read(self, first: int, last: int) -> Iterator[SourceRow]:
        """Read rows first .. last-1; one without a picture in it has a fault.

        Raises:
            DataError: the column cannot be read.
        """
        groups: list[int] = []
        start, row = 0, first
        for number, rows in enumerate(self._groups):
            if start < last and start + rows > first:
                if not groups:
                    row = start
                groups.append(number)
            start += rows
        for cell in self._cells(groups):
            if row >= last:
                return
            if row >= first:
                yield self._row(row, cell)
            row += 1
        if row < last:
            raise DataError(f"{self._path} is damaged: row group {groups[-1] if groups else 0} ends before row {row}")

    def _row(self, row: int, cell: Any) -> SourceRow:
        name = f"{self._name}:{row}"
        held = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(held, bytes):
            return SourceRow(name=name, data=None, fault=f"{name} holds no picture in the column {shown(self.column)}")
        if len(held) > LARGEST_PICTURE:
            return SourceRow(name=name, data=None, fault=f"{name} has {len(held):,} bytes, more than is read")
        return SourceRow(name=name, data=held)

    def _cells(self, groups: Sequence[int]) -> Iterator[Any]:
        with _damage(f"{self._path}: the column {shown(self.column)} cannot be read"), self._open() as table:
            for batch in table.iter_batches(_AT_ONCE, row_groups=list(groups), columns=[self.column]):
                # A column `a` brings `a.b` along, which may come first.
                for cell in batch.column(batch.schema.get_field_index(self.column)):
                    yield cell.as_py()

    def _open(self) -> Any:
        parquet = import_arrow(f"reading {self._path}").parquet
        return parquet.ParquetFile(
            self._path,
            memory_map=False,
            pre_buffer=False,
            buffer_size=1 << 20,  # a stream: no column of a row group is read whole
            thrift_string_size_limit=_MOST_TEXT,
            thrift_container_size_limit=_MOST_ENTRIES,
        )

    def _check_group(self, number: int, group: Any) -> None:
        unpacked = 0
        for place in range(group.num_columns):
            chunk = group.column(place)
            if f"{chunk.path_in_schema}.".startswith(f"{self.column}."):  # as pyarrow chooses what to read
                unpacked += chunk.total_uncompressed_size
        if group.num_rows < 0 or not 0 <= unpacked <= _LARGEST_GROUP:
            raise DataError(
                f"{self._path}: row group {number} claims {unpacked:,} bytes of pictures in {group.num_rows:,} rows; "
                "write the file with smaller row groups"
            )


@contextmanager
def _damage(what: str) -> Iterator[None]:
    """Tell what `pyarrow` raises on damaged bytes, which is of many kinds, in one line that begins with `what`."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{what} ({one_line(error, longest=200) or type(error).__name__})") from error


def _check_footer(path: Path) -> None:
    """Look at how the file ends before anything is made of it."""
    with open_regular(path, error=DataError) as stream:
        size = os.fstat(stream.fileno()).st_size
        start = stream.read(len(_MAGIC))
        stream.seek(max(0, size - 8))
        tail = stream.read(8)
    if start != _MAGIC:
        raise DataError(f"{path} is no Parquet file")
    if size < 12 or tail[4:] != _MAGIC:
        raise DataError(f"{path} is cut short: it does not end as a Parquet file does")
    footer = int.from_bytes(tail[:4], "little")
    if footer > min(_LONGEST_FOOTER, size - 12):
        raise DataError(f"{path} is damaged: its footer claims {footer:,} bytes")


def _column(schema: Any, path: Path, wanted: str | None) -> str:
    """The column of pictures: bytes, or bytes with a path."""
    found = [field.name for field in schema if _holds_bytes(field.type)]
    if wanted is not None:
        if wanted not in schema.names:
            listed = ", ".join(map(shown, schema.names[:12]))
            raise DataError(f"{path} has no column {shown(wanted)}; it has {listed}")
        if wanted not in found:
            kind = shown(schema.field(wanted).type)
            raise DataError(f"{path}: the column {shown(wanted)} is {kind}; encoded pictures are needed, as bytes")
        return wanted
    if len(found) == 1:
        return str(found[0])
    listed = ", ".join(map(shown, (found or schema.names)[:12]))
    if not found:
        raise DataError(f"{path} has no column of encoded pictures; it has {listed}")
    raise DataError(f"{path} has several columns of bytes ({listed}); say which holds the pictures: column=")


def _holds_bytes(kind: Any) -> bool:
    """Binary, or a structure with `bytes`."""
    words = {"binary", "large_binary"}
    if str(kind) in words:
        return True
    names = [kind.field(place).name for place in range(kind.num_fields)] if str(kind).startswith("struct<") else []
    return "bytes" in names and str(kind.field(names.index("bytes")).type) in words
