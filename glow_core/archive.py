"""The zip archives that torch writes: what lies in them, and whether it is still what was written."""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import CheckpointError

__all__ = ["THREADS", "check_records", "lie_in_records", "tensors_of", "zip_members"]

# Checksums are computed without Python's lock; a disk feeds no more than a few threads.
THREADS = min(4, os.cpu_count() or 1)

_CHUNK = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, what the directory says as well, lengths of name and extra field
# The end of the directory, the one of large archives before it, and what tells where that is.
_END = struct.Struct("<4s4HIIH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_LOCAL_SIGNATURE = b"PK\x03\x04"


def zip_members(path: Path) -> list[zipfile.ZipInfo] | None:
    """List what a zip archive holds, without unpacking it; None for a file of another kind.

    Raises:
        CheckpointError: it begins as an archive and is none.
    """
    with path.open("rb") as handle:
        if handle.read(4) != _LOCAL_SIGNATURE:
            return None
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        agreed = _has_one_directory(path, len(members))
    except Exception as error:  # damage surfaces as many unrelated types
        raise CheckpointError(f"{path}: not a readable checkpoint (a damaged zip archive, or one cut short)") from error
    # Torch finds a record by its name whatever the case.
    if not agreed or len({member.filename.lower() for member in members}) < len(members):
        raise CheckpointError(
            f"{path}: not a readable checkpoint (its zip archive lists records in more than one way, as none that was "
            "written whole does)"
        )
    return members


def _has_one_directory(path: Path, count: int) -> bool:
    """Whether an archive's directory of `count` records lies where the end of the file says, right before it.

    Python looks for the directory right before the end, torch at the place that the end tells. In a file made for it
    the two see other records.
    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) - _END.size
        if end < 0:
            return False
        file.seek(end)
        signature, _, _, _, entries, size, offset, comment = _END.unpack(file.read(_END.size))
        if signature != b"PK\x05\x06" or comment:
            return False
        place = end - _LOCATOR.size - _END64.size
        if place >= 0:
            file.seek(place)
            large = _END64.unpack(file.read(_END64.size))
            locator = _LOCATOR.unpack(file.read(_LOCATOR.size))
            if locator[0] == b"PK\x06\x07":
                same = all(
                    short in (long, most)
                    for short, long, most in (
                        (entries, large[7], 0xFFFF),
                        (size, large[8], 0xFFFFFFFF),
                        (offset, large[9], 0xFFFFFFFF),
                    )
                )
                if large[0] != b"PK\x06\x06" or locator[2] != place or not same:
                    return False
                end, (entries, size, offset) = place, large[7:10]
        return bool(offset + size == end and entries == count)


def check_records(path: Path, members: Sequence[zipfile.ZipInfo]) -> dict[int, int]:
    """Hold every record of an archive against its checksum (CRC-32), which torch itself does not look at.

    Args:
        path: the archive.
        members: of `zip_members`.

    Returns:
        Byte of the file that a record begins at -> its number of bytes. All are as written, unless the archive was
        written without checksums.

    Raises:
        CheckpointError: the archive is compressed, which torch's never is; a record lies outside the file, over
            another or differs from its checksum.
    """
    size = path.stat().st_size
    # A compressed archive can unpack to a thousand times its size, and left in the file it reads as noise.
    stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    if not stored or sum(member.file_size for member in members) > size:
        raise CheckpointError(
            f"{path}: not a readable checkpoint (a compressed zip archive, which torch.save never writes); save the "
            "model's state_dict() with torch.save"
        )
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda member: _place_and_sum(path, member), members))
    wrong = [member for member, (_, crc) in zip(members, found, strict=True) if crc != member.CRC]
    sizes = {place: member.file_size for member, (place, _) in zip(members, found, strict=True)}
    # All are zero where torch.serialization.set_crc32_options(False) left them out, which no damage makes them.
    if len(sizes) == len(members) and (not wrong or not any(member.CRC for member in members)):
        return sizes
    what = f"{len(wrong)} of its {len(members)} records differ from their checksums"
    raise CheckpointError(f"{path}: damaged: {what if wrong else 'some of its records are one'}; copy the file again")


def lie_in_records(content: Any, records: Mapping[int, int]) -> bool:
    """Whether every tensor that was left in a file is a window on one whole record of it, and on nothing beside it.

    Args:
        content: as torch gave it: containers with tensors, all of whose numbers are mapped from the file.
        records: of `check_records`.
    """
    # What has no numbers of its own in the file (sparse, nested, on the meta device) is refused for that later on.
    storages = (tensor.untyped_storage() for tensor in tensors_of(content) if _is_in_memory(tensor))
    windows = sorted({(storage.data_ptr(), storage.nbytes()) for storage in storages if storage.nbytes()})
    if not windows:
        return True
    first = windows[0][0]
    for offset in records:
        # A mapping begins at a page.
        fits = (first - offset) % mmap.PAGESIZE == 0
        if fits and all(records.get(start - first + offset) == size for start, size in windows):
            return True
    return False


def _place_and_sum(path: Path, member: zipfile.ZipInfo) -> tuple[int, int]:
    """Find where a record begins, the way that torch does, and compute its checksum."""
    with path.open("rb", buffering=0) as file:
        if member.header_offset < 0:
            return member.header_offset, -1
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        if (
            member.compress_size != member.file_size
            or len(header) < _LOCAL_HEADER.size
            or not header.startswith(_LOCAL_SIGNATURE)
        ):
            return -1 - member.header_offset, -1
        _, name, extra = _LOCAL_HEADER.unpack(header)
        place = member.header_offset + _LOCAL_HEADER.size + name + extra
        file.seek(place)
        left, crc = member.file_size, 0
        buffer = memoryview(bytearray(min(left, _CHUNK)))
        while left:
            count = file.readinto(buffer[: min(left, _CHUNK)])
            if not count:
                return place, -1  # beyond the end
            crc = zlib.crc32(buffer[:count], crc)
            left -= count
    return place, crc


def _is_in_memory(tensor: Tensor) -> bool:
    return not tensor.is_nested and tensor.layout == torch.strided and tensor.device.type == "cpu"


def tensors_of(content: Any) -> Iterator[Tensor]:
    """Every tensor in plain containers, each container once; a few bytes can hold one another a million times over."""
    seen: set[int] = set()
    left = [content]
    while left:
        value = left.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (Mapping, list, tuple, set)) and id(value) not in seen:
            seen.add(id(value))
            left.extend(value.values() if isinstance(value, Mapping) else value)
