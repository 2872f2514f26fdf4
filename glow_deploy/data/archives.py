"""Pictures in a zip or tar archive, read where they lie: nothing is unpacked."""

from __future__ import annotations

import os
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.images import PICTURE_SUFFIXES, kinds_note
from glow_deploy.progress import CountProgress

from .fit import Fit
from .image_set import ImageSet
from .opened import Part
from .reading import Reading
from .tree import PictureTree, tree_parts

__all__ = ["is_picture_zip", "is_tar", "tar_parts", "zip_parts"]

_LARGEST = 256 << 20  # bytes of one picture file
_LABEL = ".cls"  # the class of a sample, as WebDataset has it
_LONGEST_LABEL = 16


def is_picture_zip(path: Path) -> bool:
    """Tell a zip archive of pictures from an .npz file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return False
    return not any(name.endswith(".npy") for name in names)


def is_tar(path: Path) -> bool:
    """Tell whether a file is a tar archive, compressed or not."""
    try:
        return tarfile.is_tarfile(path)
    except (OSError, EOFError, ValueError):
        return False


def zip_parts(
    path: Path, *, fit: Fit, reading: Reading | None = None, progress: CountProgress | None = None
) -> dict[Part, Callable[[], ImageSet]]:
    """Find the pictures of a zip archive; folders in it are splits and classes, see `tree_parts`.

    Raises:
        DataError: the archive is damaged.
    """
    load = _ZipMembers(path=str(path))
    try:
        members = {info.filename: info for info in load.archive().infolist() if not info.is_dir()}
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise DataError(f"{path} is damaged ({_reason(error)})") from error
    names, note = _pictures(path, members)
    load.names.extend(names)
    tree = PictureTree(
        description=str(path), names=names, load=load, root=f"{path}:", notes=() if note is None else (note,)
    )
    return tree_parts(tree, fit=fit, reading=reading, progress=progress)


def tar_parts(
    path: Path, *, fit: Fit, reading: Reading | None = None, progress: CountProgress | None = None
) -> dict[Part, Callable[[], ImageSet]]:
    """Find the pictures of an uncompressed tar archive, such as a shard of a WebDataset.

    Folders in it are splits and classes, see `tree_parts`; a whole number in a file .cls beside each picture is its
    class.

    Raises:
        DataError: the archive is damaged, or compressed.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            members = {member.name: (member.offset_data, member.size) for member in archive if member.isreg()}
    except tarfile.ReadError as error:
        if is_tar(path):
            raise DataError(
                f"{path} is compressed, so its pictures cannot be read one by one; unpack it, or write an "
                "uncompressed .tar or a .zip"
            ) from error
        raise DataError(f"{path} is damaged ({_reason(error)})") from error
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged ({_reason(error)})") from error
    labels_of = {name.removesuffix(_LABEL): place for name, place in members.items() if name.endswith(_LABEL)}
    names, note = _pictures(path, members)
    load = _TarMembers(path=str(path), places=[members[name] for name in names], names=names)
    tree = PictureTree(
        description=str(path),
        names=names,
        load=load,
        root=f"{path}:",
        labels=_labels(path, names, labels_of),
        notes=() if note is None else (note,),
    )
    return tree_parts(tree, fit=fit, reading=reading, progress=progress)


@dataclass(frozen=True, kw_only=True, eq=False)
class _ZipMembers:
    """Gives the bytes of pictures in a zip archive. Each process opens it for itself; threads take turns."""

    path: str
    names: list[str] = field(default_factory=list)
    _open: dict[int, zipfile.ZipFile] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def archive(self) -> zipfile.ZipFile:
        """Return the archive, opened in this process."""
        process = os.getpid()
        if process not in self._open:
            self._open[process] = zipfile.ZipFile(self.path)
        return self._open[process]

    def __call__(self, row: int) -> bytes:
        name = self.names[row]
        try:
            with self._lock:
                archive = self.archive()
                info = archive.getinfo(name)
                if info.file_size > _LARGEST:
                    raise DataError(f"{self.path}:{name} unpacks to {info.file_size:,} bytes, more than is read")
                with archive.open(info) as stream:
                    return stream.read(_LARGEST)
        except DataError:
            raise
        except Exception as error:  # zipfile and its decompressors raise a dozen kinds on damaged bytes
            raise DataError(f"{self.path}:{name} is damaged ({_reason(error)})") from error

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "names": self.names}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in {**state, "_open": {}, "_lock": threading.Lock()}.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True, eq=False)
class _TarMembers:
    """Gives the bytes of pictures in an uncompressed tar archive."""

    path: str
    names: list[str]
    places: list[tuple[int, int]]

    def __call__(self, row: int) -> bytes:
        return _bytes_at(Path(self.path), *self.places[row], name=self.names[row])


def _bytes_at(path: Path, offset: int, size: int, *, name: str) -> bytes:
    if size > _LARGEST:
        raise DataError(f"{path}:{name} has {size:,} bytes, more than is read")
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            found = stream.read(size)
    except (OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path}:{name} cannot be read ({_reason(error)})") from error
    if len(found) != size:
        raise DataError(f"{path}:{name} is cut short")
    return found


def _pictures(path: Path, members: Mapping[str, object]) -> tuple[list[str], str | None]:
    """Names of the pictures, in order, and what else there is."""
    names, others = [], Counter[str]()
    for name in members:
        place = PurePosixPath(name)
        if any(part.startswith(".") and part != "." for part in place.parts) or place.parts[:1] == ("__MACOSX",):
            others["hidden"] += 1
        elif place.suffix.lower() in PICTURE_SUFFIXES:
            names.append(name)
        else:
            others[place.suffix.lower() or "without a suffix"] += 1
    return sorted(names, key=lambda name: PurePosixPath(name).parts), kinds_note(str(path), others)


def _labels(path: Path, names: list[str], places: Mapping[str, tuple[int, int]]) -> npt.NDArray[np.int64] | None:
    """Classes out of .cls files, where every picture has one."""
    stems = [name.removesuffix(PurePosixPath(name).suffix) for name in names]
    if not stems or not all(stem in places for stem in stems):
        return None
    return np.array(list(_numbers(path, stems, places)), np.int64)


def _numbers(path: Path, stems: list[str], places: Mapping[str, tuple[int, int]]) -> Iterator[int]:
    for stem in stems:
        offset, size = places[stem]
        held = _bytes_at(path, offset, min(size, _LONGEST_LABEL + 1), name=stem + _LABEL).strip()
        text = held.decode("ascii", "replace")
        if not (text.isascii() and text.isdecimal()) or len(text) > _LONGEST_LABEL:
            raise DataError(f"{path}:{stem}{_LABEL} holds {held[:16]!r}; a class number is needed")
        yield int(text)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
