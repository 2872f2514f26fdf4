"""Reading .npz files that may be damaged or hostile: headers first, never pickles."""

from __future__ import annotations

import io
import math
import os
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.printable import one_line, shown

from .files import check_regular

__all__ = ["NpzArchive", "NpzEntry"]

_PIECE = 1 << 20  # bytes
_NAME_LENGTHS = 26  # where a member's own header has the lengths of what comes before its bytes


_MOST_ENTRIES = 4096  # arrays of one file; ours hold up to 30
_CENTRAL_BYTES = 4 << 20  # of the list of them
_MOST_RATIO = 32  # times the size of the file; pictures and latents shrink fourfold, and zeros a thousandfold
_SMALL = 128 << 20  # bytes, whatever they were packed to
_MOST_AXES = 16
_MOST_EMPTY = 1 << 20  # entries of an array without values: loops over them would have no end
_KINDS = "biufU"  # truths, whole numbers, numbers, texts
_LISTED = 12
_END_BYTES = 66_000  # the end of an archive, with the longest comment and the records before it


@dataclass(frozen=True, kw_only=True)
class NpzEntry:
    """One array of an archive, known from its header alone."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class NpzArchive:
    """The arrays of one .npz file, read one at a time. A context manager.

    Opening reads only the headers, and checks each against the size of its entry. Arrays of Python objects are refused,
    so that nothing is ever unpickled. What the arrays would take in memory is known before any is read: a file that
    would unpack to more than 128 MiB and 32 times its own size is refused. One that holds so much sameness in earnest
    is read when it is written uncompressed (`numpy.savez`), or with a larger `most_ratio`.

    Args:
        path: the file, or its name for messages where `data` is given.
        data: its bytes, already read; None to read the file.
        most_ratio: times its own size that a file may unpack to.

    Raises:
        DataError: the file is missing, not an .npz file, cut short, packed in a way that NumPy does not write, unpacks
            to too much, or holds Python objects.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, data: bytes | None = None, most_ratio: float = _MOST_RATIO
    ) -> None:
        self.path = Path(path)
        self._in_memory = data is not None
        self._zip = self._open(data)
        self._size = self.path.stat().st_size if data is None else len(data)
        try:
            self._members = self._arrays(most_ratio)
            self.entries: Mapping[str, NpzEntry] = {
                name: self._header(name, info) for name, info in self._members.items()
            }
            if not self.entries:
                raise DataError(f"{self.path} holds no arrays; an .npz file written by numpy.savez is needed")
        except BaseException:
            self._zip.close()
            raise

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __enter__(self) -> NpzArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """Read one array whole; its checksum is verified.

        Raises:
            DataError: there is no such array, or its bytes are damaged.
        """
        if name not in self.entries:
            raise DataError(f"{self.path} has no array `{name}`; it has {self.listed}")
        dtype = self.entries[name].dtype
        if dtype.kind not in _KINDS:
            raise DataError(f"{self.path}: array `{shown(name)}` is {shown(dtype)}, neither numbers nor texts")
        try:
            with self._zip.open(self._members[name]) as stream, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                array: npt.NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
        except MemoryError:
            raise DataError(f"{self.path}: array `{shown(name)}` does not fit in memory") from None
        except Exception as error:  # zipfile, its decompressors and numpy raise a dozen kinds on damaged bytes
            raise DataError(f"{self.path}: array `{shown(name)}` is damaged ({_reason(error)})") from error
        if dtype.kind == "U":
            self._check_text(name, array)
        return array

    def texts(self, name: str) -> tuple[str, ...]:
        """Read an array of texts [N].

        Raises:
            DataError: there is no such array, it is something else, or its bytes are damaged.
        """
        if name in self.entries and (len(self.entries[name].shape) != 1 or self.entries[name].dtype.kind != "U"):
            entry = self.entries[name]
            raise DataError(
                f"{self.path}: `{shown(name)}` is {shown(entry.dtype)} {list(entry.shape)}; a list of texts is needed"
            )
        return tuple(str(text) for text in self.read(name))

    @property
    def listed(self) -> str:
        """The names of the arrays, for a message."""
        names = [shown(name) for name in sorted(self.entries)]
        return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")

    def _arrays(self, most_ratio: float) -> dict[str, zipfile.ZipInfo]:
        """The members that are arrays, by name; how they are packed is checked."""
        found: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            if not info.filename.endswith(".npy"):
                continue
            name = info.filename.removesuffix(".npy")
            if name in found:
                raise DataError(f"{self.path}: holds the array `{shown(name)}` twice")
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(
                    f"{self.path}: array `{shown(name)}` is packed in a way that NumPy does not write; write it with "
                    "numpy.savez"
                )
            found[name] = info
        unpacked, size = sum(info.file_size for info in found.values()), self._size
        if unpacked > max(_SMALL, most_ratio * size):
            raise DataError(
                f"{self.path}: refused, because its {size} bytes would unpack to {unpacked}; write it uncompressed, "
                "with numpy.savez"
            )
        return found

    def _check_text(self, name: str, array: npt.NDArray[np.generic]) -> None:
        """Refuse what is no text: Python ends with an error of its own when it meets such letters."""
        letters = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="), copy=False)
        codes = letters.reshape(-1).view(np.uint32)
        if codes.size and (int(codes.max()) > 0x10FFFF or bool(((codes >= 0xD800) & (codes < 0xE000)).any())):
            raise DataError(f"{self.path}: array `{shown(name)}` is damaged (it holds letters that are none)")

    def mapped(self, name: str) -> npt.NDArray[np.generic]:
        """Return one array, mapped into memory where it lies uncompressed in the file, read whole elsewhere.

        Its checksum is verified first, which reads the file once and keeps nothing.

        Raises:
            DataError: there is no such array, or its bytes are damaged.
        """
        info = self._members.get(name)
        plain = info is not None and info.compress_type == zipfile.ZIP_STORED and not self._in_memory
        if info is None or not plain or self.entries[name].dtype.kind not in _KINDS:
            return self.read(name)
        try:
            with self._zip.open(info) as stream:
                while stream.read(_PIECE):
                    pass
            with self.path.open("rb") as file:
                file.seek(info.header_offset + _NAME_LENGTHS)
                file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
                first = np.lib.format.read_magic(file) == (1, 0)
                read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(file)
                offset = file.tell()
            if (shape, dtype) != (self.entries[name].shape, self.entries[name].dtype) or 0 in shape:
                return self.read(name)
            return np.memmap(self.path, dtype, "r", offset, shape, "F" if fortran else "C")
        except (OSError, ValueError, EOFError, struct.error, zipfile.BadZipFile) as error:
            raise DataError(f"{self.path}: array `{shown(name)}` is damaged ({_reason(error)})") from error

    def _open(self, data: bytes | None) -> zipfile.ZipFile:
        if data is None:
            check_regular(self.path, error=DataError)
        try:
            with self.path.open("rb") if data is None else io.BytesIO(data) as stream:
                listed = _central_bytes(stream)
            if listed > _CENTRAL_BYTES:
                raise DataError(f"{self.path} lists more than {_MOST_ENTRIES} arrays; it is no file that is read here")
            archive = zipfile.ZipFile(self.path if data is None else io.BytesIO(data))
        except FileNotFoundError:
            raise DataError(f"{self.path}: no such file") from None
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}") from error
        except DataError:
            raise
        except Exception as error:  # as when a member is read
            raise DataError(f"{self.path} is not an .npz file, or is cut short ({_reason(error)})") from error
        if len(archive.infolist()) > _MOST_ENTRIES:
            archive.close()
            raise DataError(f"{self.path} lists more than {_MOST_ENTRIES} arrays; it is no file that is read here")
        return archive

    def _header(self, name: str, info: zipfile.ZipInfo) -> NpzEntry:
        try:
            with self._zip.open(info) as stream, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                version = np.lib.format.read_magic(stream)
                read = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }.get(version)
                if read is None:
                    raise ValueError(f"array format {version} is not supported")
                shape, _, dtype = read(stream)
                offset = stream.tell()
        except Exception as error:  # numpy and zipfile raise a dozen kinds on damaged headers
            raise DataError(f"{self.path}: array `{shown(name)}` is damaged ({_reason(error)})") from error
        if dtype.hasobject:
            raise DataError(f"{self.path}: array `{shown(name)}` holds Python objects, which are never loaded")
        count = math.prod(shape)
        sane = len(shape) <= _MOST_AXES and min(shape, default=0) >= 0 and (dtype.itemsize > 0 or count == 0)
        if not sane or offset + count * dtype.itemsize != info.file_size:
            raise DataError(f"{self.path}: array `{shown(name)}` is damaged (its header and its size disagree)")
        if count == 0 and max(shape, default=0) > _MOST_EMPTY:
            raise DataError(f"{self.path}: array `{shown(name)}` is empty and claims to have {max(shape)} entries")
        return NpzEntry(shape=shape, dtype=dtype)


def _central_bytes(stream: IO[bytes]) -> int:
    """How many bytes a zip archive's list of members takes; 0 where it does not say, which zipfile then refuses."""
    stream.seek(0, os.SEEK_END)
    size = stream.tell()
    start = max(0, size - _END_BYTES)
    stream.seek(start)
    tail = stream.read(_END_BYTES)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) < place + 22:
        return 0
    (listed,) = struct.unpack_from("<I", tail, place + 12)
    if listed != 0xFFFFFFFF:
        return int(listed)
    # A long list has its size in a record of its own, before the end; it cannot be longer than the file.
    record = tail.rfind(b"PK\x06\x06", 0, place)
    return size if record < 0 or len(tail) < record + 48 else int(struct.unpack_from("<Q", tail, record + 40)[0])


def _reason(error: BaseException) -> str:
    return one_line(error, longest=200) or type(error).__name__
