"""Finding the tensors that another program saved, in whichever of the formats."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from glow_deploy.artifact.files import read_regular
from glow_deploy.artifact.npz import NpzArchive
from glow_deploy.errors import DataError
from glow_deploy.printable import shown

from .inputs import DIGEST, INDEX
from .npy import check_floats, read_npy
from .tensors import SETS, is_input
from .tools import parse_json, raw_name

__all__ = ["Found", "find_outputs"]

_INDEX_BYTES = 1 << 20
_SLACK = 1 << 20  # bytes of a file beside its values
_TEXT = 8  # bytes of text for each byte of a value, at most
_MOST_FILES = 4096
# What a model's own outputs are called; in an .npz file they need no set before them.
# But not `x`, which may be the images that were fed.
_ALIASES = {"x_hat": "round_trip.x", "log_prob": "encoder.log_prob"}


@dataclass(kw_only=True, eq=False)
class Found:
    """What was found so far.

    Attributes:
        path: the file or the folder.
        tensors: by our names.
        places: the file of each; that of the digest under "".
        digest: of the inputs that the outputs say they belong to.
        tools: that wrote them, as far as a format tells.
        ignored: what was passed over, as it is neither output nor input of ours.
    """

    path: Path
    expected: Mapping[str, tuple[int, ...]]
    rename: Mapping[str, str]
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    places: dict[str, Path] = field(default_factory=dict)
    digest: str | None = None
    tools: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    ignored: list[str] = field(default_factory=list)

    def name(self, theirs: str, *, where: Path, place: str = "") -> str | None:
        """Our name for a tensor; None for what is no output.

        Args:
            theirs: as the file names it.
            where: the file.
            place: the set that it belongs to, where that stands before no name; else empty.

        Raises:
            DataError: it is there already.
        """
        whole = f"{place}.{theirs}" if place else theirs
        ours = whole
        for spelling in (whole, whole.partition(".")[2]):
            # The bare name of a tensor means that of its own set.
            if spelling in self.rename and (spelling == whole or _set(self.rename[spelling]) == _set(whole)):
                ours = self.rename[spelling]
                self.used.add(spelling)
                break
        if ours not in self.expected:
            if not is_input(ours):
                self.ignored.append(whole)
            return None
        if ours in self.tensors:
            raise DataError(f"{where}: {ours} is in {self.places[ours]} as well: keep one of them")
        return ours

    def add(self, theirs: str, array: np.ndarray, *, where: Path, place: str) -> None:
        """Keep a tensor."""
        ours = self.name(theirs, where=where, place=place)
        if ours is not None:
            self.tensors[ours], self.places[ours] = array, where


def find_outputs(path: Path, *, expected: Mapping[str, tuple[int, ...]], rename: Mapping[str, str]) -> Found:
    """Read an .npz file or a folder.

    A folder may hold `SET.TENSOR.bin` (float32, little-endian) and `SET.TENSOR.npy`; `SET.json`, which Polygraphy or
    trtexec wrote; folders `SET/` with the raw files of trtexec, or with `TENSOR.bin` and `TENSOR.npy`; and the
    `index.json` of the inputs. A name in `rename` may stand for any of these tensors, with its set or without. Other
    files are passed over.

    Args:
        path: to read.
        expected: shapes by our names, of all golden images.
        rename: our name for theirs.

    Raises:
        DataError: nothing is there, or what is there is damaged, too large, unknown or there twice.
    """
    found = Found(path=path, expected=expected, rename=rename)
    if path.is_dir():
        _folder(found)
    elif not path.exists():
        raise DataError(f"{path}: no such file or folder")
    else:
        _archive(found)
    if not found.tensors:
        others = f" but {shown(found.ignored[0])}, which rename= may pair with one of ours" if found.ignored else ""
        raise DataError(
            f"{path} holds no outputs{others}: save encoder.z1 ... and encoder.log_prob, decoder.x or canary.x in it, "
            "as .npz, .bin, .npy or .json"
        )
    unused = [name for name in rename if name not in found.used]
    if unused:
        raise DataError(f"{path} holds no {shown(unused[0])}, which rename= speaks of")
    return found


def _archive(found: Found) -> None:
    with NpzArchive(found.path) as archive:
        for name in archive.entries:
            if name == DIGEST:
                entry = archive.entries[name]
                if entry.dtype.kind != "U" or math.prod(entry.shape) != 1:
                    raise DataError(f"{found.path}: {DIGEST} is no text: copy that of the inputs, or leave it out")
                found.digest, found.places[""] = str(archive.read(name).reshape(-1)[0]), found.path
                continue
            theirs = name
            if name not in found.rename and name not in found.expected:
                theirs = _ALIASES.get(name, f"encoder.{name}" if f"encoder.{name}" in found.expected else name)
            ours = found.name(theirs, where=found.path)
            if ours is not None:
                check_floats(ours, archive.entries[name].dtype, where=found.path)
                _look(ours, archive.entries[name].shape, found, found.path)
                found.tensors[ours], found.places[ours] = archive.read(name), found.path


def _folder(found: Found) -> None:
    for file in _listed(found.path):
        if file.name == INDEX:
            found.digest, found.places[""] = _digest(file), file
        elif file.name in SETS and file.is_dir():
            for inner in _listed(file):
                _tensor_file(found, inner, place=file.name)
        elif file.suffix == ".json" and file.stem in SETS:
            room = sum(
                4 * math.prod(shape) for name, shape in found.expected.items() if name.startswith(f"{file.stem}.")
            )
            data = read_regular(file, most=_TEXT * room + _SLACK, error=DataError)
            saved = parse_json(data, path=file)
            found.tools.add(saved.tool)
            for name, array in saved.tensors.items():
                found.add(name, array, where=file, place=file.stem)
        elif file.name.partition(".")[0] in SETS or _bare(file) in found.rename:
            _tensor_file(found, file)


def _bare(file: Path) -> str:
    """The tensor's name in that of a file."""
    told = raw_name(file)
    return file.stem if told is None else told[0]


def _set(name: str) -> str:
    return name.partition(".")[0]


def _tensor_file(found: Found, file: Path, *, place: str = "") -> None:
    """Read one tensor from a file of its own: .bin, .npy, or .raw of trtexec."""
    told = raw_name(file) if file.suffix == ".raw" else None
    if file.suffix not in (".bin", ".npy") and told is None:
        return
    ours = found.name(_bare(file), where=file, place=place)
    if ours is None:
        return
    if told is not None:
        _, shape, dtype, kind = told
        if dtype is None:
            raise DataError(f"{file}: {ours} is {shown(kind)}; float32 is needed, or float16")
        _look(ours, shape, found, file)
        data = _exactly(file, math.prod(shape) * dtype.itemsize)
        found.tensors[ours] = np.frombuffer(data, dtype).reshape(shape)
    elif file.suffix == ".bin":
        shape = found.expected[ours]
        row = 4 * math.prod(shape[1:])
        data = read_regular(file, most=4 * math.prod(shape), error=DataError)
        if not data or len(data) % row:
            raise DataError(f"{file} has {len(data)} bytes; {row} for each of up to {shape[0]} images are needed")
        found.tensors[ours] = np.frombuffer(data, "<f4").reshape(-1, *shape[1:])
    else:
        found.tensors[ours] = read_npy(file, name=ours, check=lambda shape: _look(ours, shape, found, file))
    found.places[ours] = file


def _look(name: str, shape: tuple[int, ...], found: Found, file: Path) -> None:
    """Refuse a tensor of another shape before it is read."""
    wanted = found.expected[name]
    if shape[1:] != wanted[1:] or len(shape) != len(wanted) or (name.startswith("canary") and shape != wanted):
        first = wanted[0] if name.startswith("canary") else f"up to {wanted[0]}"
        needed = ", ".join([str(first), *map(str, wanted[1:])])
        raise DataError(f"{file}: {name} is {list(shape)}; [{needed}] is needed")


def _exactly(file: Path, size: int) -> bytes:
    data = read_regular(file, most=size, error=DataError)
    if len(data) != size:
        raise DataError(f"{file} has {len(data)} bytes; {size} are needed for what its name says")
    return data


def _digest(file: Path) -> str:
    data = read_regular(file, most=_INDEX_BYTES, error=DataError)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    digest = content.get(DIGEST) if isinstance(content, dict) else None
    if not isinstance(digest, str):
        raise DataError(f"{file} names no {DIGEST}: copy the one that `glow-deploy golden` wrote, or remove it")
    return digest


def _listed(folder: Path) -> list[Path]:
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}") from error
    if len(files) > _MOST_FILES:
        raise DataError(f"{folder} holds {len(files)} files: name the folder of the outputs alone")
    return files
