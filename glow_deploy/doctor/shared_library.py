"""Which shared libraries an ELF file needs, read from the file: nothing is loaded or run."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

__all__ = ["needed_libraries"]

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 0, 1, 5, 10
_MAX_TABLE = 1 << 26


def needed_libraries(path: Path) -> tuple[str, ...]:
    """Return the DT_NEEDED entries of a 64-bit little-endian ELF file, what `readelf -d` prints.

    Args:
        path: a `.so` file.

    Returns:
        Names such as `libcudart.so.13`, in file order; empty for a file that is missing or not such an ELF file.
    """
    try:
        with Path(path).open("rb") as handle:
            return _read(handle)
    except (OSError, struct.error, ValueError):
        return ()


def _read(handle: BinaryIO) -> tuple[str, ...]:
    # System V ABI, chapters 4 and 5: file header, program headers, dynamic section.
    header = handle.read(64)
    if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
        return ()
    (program_offset,) = struct.unpack_from("<Q", header, 32)
    entry_size, entries = struct.unpack_from("<HH", header, 54)
    loads: list[tuple[int, int, int]] = []
    dynamic: tuple[int, int] | None = None
    for index in range(entries):
        kind, _, offset, address, _, size = struct.unpack(
            "<IIQQQQ", _at(handle, program_offset + index * entry_size, 40)
        )
        if kind == _PT_LOAD:
            loads.append((address, offset, size))
        elif kind == _PT_DYNAMIC:
            dynamic = (offset, size)
    if dynamic is None:
        return ()
    table = _at(handle, *dynamic)
    needed: list[int] = []
    strings = string_size = 0
    for tag, value in struct.iter_unpack("<QQ", table[: len(table) // 16 * 16]):
        if tag == _DT_NULL:
            break
        if tag == _DT_NEEDED:
            needed.append(value)
        elif tag == _DT_STRTAB:
            strings = value
        elif tag == _DT_STRSZ:
            string_size = value
    # The string table is given by its address in memory; a loaded segment says where in the file that is.
    place = next((offset + strings - start for start, offset, size in loads if start <= strings < start + size), None)
    if place is None:
        return ()
    text = _at(handle, place, string_size)
    return tuple(text[start : text.index(b"\0", start)].decode("utf-8", "replace") for start in needed)


def _at(handle: BinaryIO, offset: int, size: int) -> bytes:
    if size > _MAX_TABLE:
        raise ValueError("a table of this size is no dynamic section")
    handle.seek(offset)
    data = handle.read(size)
    if len(data) < size:
        raise ValueError("the file is cut short")
    return data
