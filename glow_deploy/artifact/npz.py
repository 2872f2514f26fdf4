"""Reading .npz files that may be damaged or hostile: headers first, never pickles."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError

__all__ = ["NpzArchive", "NpzEntry"]


@dataclass(frozen=True, kw_only=True)
class NpzEntry:
    """One array of an archive, known from its header alone."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class NpzArchive:
    """The arrays of one .npz file, read one at a time. A context manager.

    Opening reads only the headers, and checks each against the size of its entry. Arrays of Python objects are refused,
    so that nothing is ever unpickled.

    Args:
        path: the file.

    Raises:
        DataError: the file is missing, not an .npz file, cut short, or holds Python objects.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._zip = self._open()
        try:
            self._members = {
                info.filename.removesuffix(".npy"): info
                for info in self._zip.infolist()
                if info.filename.endswith(".npy")
            }
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
            raise DataError(f"{self.path} has no array `{name}`; it has {', '.join(sorted(self.entries))}")
        try:
            with self._zip.open(self._members[name]) as stream:
                array: npt.NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
                return array
        except MemoryError:
            raise DataError(f"{self.path}: array `{name}` does not fit in memory") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise DataError(f"{self.path}: array `{name}` is damaged ({_reason(error)})") from error

    def _open(self) -> zipfile.ZipFile:
        if self.path.is_dir():
            raise DataError(f"{self.path} is a folder, not an .npz file")
        try:
            return zipfile.ZipFile(self.path)
        except FileNotFoundError:
            raise DataError(f"{self.path}: no such file") from None
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}") from error
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
            raise DataError(f"{self.path} is not an .npz file, or is cut short ({_reason(error)})") from error

    def _header(self, name: str, info: zipfile.ZipInfo) -> NpzEntry:
        try:
            with self._zip.open(info) as stream:
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
            raise DataError(f"{self.path}: array `{name}` is damaged ({_reason(error)})") from error
        if dtype.hasobject:
            raise DataError(f"{self.path}: array `{name}` holds Python objects, which are never loaded")
        if offset + math.prod(shape) * dtype.itemsize != info.file_size:
            raise DataError(f"{self.path}: array `{name}` is damaged (its header and its size disagree)")
        return NpzEntry(shape=shape, dtype=dtype)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
