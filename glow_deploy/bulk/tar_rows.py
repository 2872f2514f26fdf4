"""The pictures of a WebDataset shard: an uncompressed tar archive, read where it lies. Nothing is unpacked."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from glow_deploy.artifact.files import open_regular
from glow_deploy.errors import DataError
from glow_deploy.images import PICTURE_SUFFIXES
from glow_deploy.printable import one_line, shown

from .rows import LARGEST_PICTURE, SourceRow
from .values import plain_text

__all__ = ["TarRows"]

_BLOCK = 512
_LONGEST_HEADER = 1 << 20  # bytes of a name or of attributes; paths have up to 4096
_MOST_MEMBERS = 1 << 24


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    offset: int
    size: int
    fault: str = ""


class TarRows:
    """The pictures of a shard in the order in which they lie there; what lies beside them is passed over.

    The names of members are for messages and for the column of names. None is ever used as the name of a file.

    Args:
        path: the shard.
        name: what rows are called after.

    Raises:
        DataError: it is compressed, damaged or cut short.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        self._path, self._name = path, name
        with open_regular(path, error=DataError) as stream:
            self._members = list(_members(stream, path))

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return len(self._members)

    def read(self, first: int, last: int) -> Iterator[SourceRow]:
        """Read pictures first .. last-1.

        Raises:
            DataError: the shard was cut short since it was listed.
        """
        with open_regular(self._path, error=DataError) as stream:
            for member in self._members[first:last]:
                name = f"{self._name}:{member.name}"
                if member.fault:
                    yield SourceRow(name=name, data=None, fault=f"{name} {member.fault}")
                    continue
                if member.size > LARGEST_PICTURE:
                    yield SourceRow(name=name, data=None, fault=f"{name} has {member.size:,} bytes, more than is read")
                    continue
                stream.seek(member.offset)
                data = stream.read(member.size)
                if len(data) != member.size:
                    raise DataError(f"{self._path} is cut short: {shown(member.name)} has lost its end")
                yield SourceRow(name=name, data=data)


class _Headers(io.RawIOBase):
    """What `tarfile` reads headers from: it asks for as many bytes as a header claims, so there is a limit."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True


def _members(stream: IO[bytes], path: Path) -> Iterator[_Member]:
    """The pictures, after a look at how the archive ends: a copy that broke off between two members looks whole."""
    size = os.fstat(stream.fileno()).st_size
    end = 0
    try:
        with tarfile.open(fileobj=_Headers(stream), mode="r:") as archive:
            number = 0
            while (member := archive.next()) is not None:
                number += 1
                if number >= _MOST_MEMBERS:
                    raise DataError(f"{path} holds more than {_MOST_MEMBERS:,} members; split it into smaller shards")
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps all it has seen
                end = archive.offset  # of the next one; what a sparse member claims to unpack to says nothing of it
                if member.size < 0 or end > size:
                    raise DataError(f"{path} is cut short: {shown(member.name)} has lost its end")
                if _is_picture(member.name) and not member.isdir():
                    yield _Member(plain_text(member.name), member.offset_data, member.size, _fault(member))
    except DataError:
        raise
    except (OSError, tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(_wrong(stream, path, error)) from error
    stream.seek(end)
    if stream.read(_BLOCK) != bytes(_BLOCK):
        raise DataError(f"{path} is cut short: it has no end mark after its last member")


def _wrong(stream: IO[bytes], path: Path, error: Exception) -> str:
    stream.seek(0)
    start = stream.read(6)
    if start[:2] == b"\x1f\x8b" or start[:3] == b"BZh" or start == b"\xfd7zXZ\x00" or start[:4] == b"\x28\xb5\x2f\xfd":
        return f"{path} is compressed, so its pictures cannot be read one by one; write uncompressed shards"
    return f"{path} is damaged or cut short ({one_line(error, longest=200) or type(error).__name__})"


def _is_picture(name: str) -> bool:
    place = PurePosixPath(name)
    hidden = any(part.startswith(".") and part not in (".", "..") for part in place.parts)
    return not hidden and place.parts[:1] != ("__MACOSX",) and place.suffix.lower() in PICTURE_SUFFIXES


def _fault(member: tarfile.TarInfo) -> str:
    """Why a member has no picture of its own, to go on after its name; empty where it has."""
    if member.islnk() or member.issym():
        return "is a link to another member, which is not followed; write the shard with its pictures as files"
    if member.issparse():
        return "is stored with holes, as a sparse file; write the shard without them"
    return "" if member.isreg() else "is no file"
