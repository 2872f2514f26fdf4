"""CIFAR-10 and CIFAR-100, as folders or as the archives they are published in (A. Krizhevsky 2009)."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from glow_deploy.errors import DataError

from .arrays import array_images
from .cifar_pickle import read_batch
from .fit import Fit
from .image_set import ImageSet
from .opened import Part

__all__ = ["CifarFiles", "cifar_files", "cifar_parts"]

_PIXELS = 3 * 32 * 32
_MOST_BYTES = 256 << 20  # of one file; CIFAR-100's largest has 155 MB
_TEN = tuple(f"data_batch_{number}" for number in range(1, 6))


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Files of one way to publish one of the sets.

    Attributes:
        train: for training.
        test: for testing.
        names: the file with the names of the classes.
        kind: of the files.
        labels: bytes before the pixels of a record; the last one is the class.
    """

    train: tuple[str, ...]
    test: str
    names: str
    kind: Literal["binary", "pickle"]
    labels: int


_LAYOUTS = (
    _Layout(
        train=tuple(f"{name}.bin" for name in _TEN),
        test="test_batch.bin",
        names="batches.meta.txt",
        kind="binary",
        labels=1,
    ),
    _Layout(train=_TEN, test="test_batch", names="batches.meta", kind="pickle", labels=1),
    _Layout(train=("train.bin",), test="test.bin", names="fine_label_names.txt", kind="binary", labels=2),
    _Layout(train=("train",), test="test", names="meta", kind="pickle", labels=2),
)


@dataclass(frozen=True, kw_only=True)
class CifarFiles:
    """Where the files of such a set are.

    Attributes:
        source: the folder or archive.
        layout: which of the ways it is published in.
        read: gives the bytes of a file by its name, or None where there is none.
    """

    source: Path
    layout: _Layout
    read: Callable[[str], bytes | None]


def cifar_files(path: Path) -> CifarFiles | None:
    """Recognise a folder or a tar archive, compressed or not, that holds CIFAR-10 or CIFAR-100."""
    if path.is_dir():
        sizes = {entry.name: path / entry.name for entry in os.scandir(path) if entry.is_file()}
        layout = _layout(sizes)
        return None if layout is None else CifarFiles(source=path, layout=layout, read=partial(_from_folder, sizes))
    try:
        with tarfile.open(path) as archive:
            members: dict[str, str] = {}
            for _ in range(64):  # these archives hold ten files; others may hold millions
                member = archive.next()
                if member is None:
                    break
                if member.isreg():
                    members[PurePosixPath(member.name).name] = member.name
    except (OSError, tarfile.TarError, EOFError, ValueError):
        return None
    layout = _layout(members)
    return None if layout is None else CifarFiles(source=path, layout=layout, read=partial(_from_tar, path, members))


def cifar_parts(files: CifarFiles, *, fit: Fit) -> dict[Part, Callable[[], ImageSet]]:
    """Return the training and the test images; nothing in the files runs code, pickled ones included."""
    layout = files.layout
    return {
        "train": partial(_part, files, layout.train, fit),
        "test": partial(_part, files, (layout.test,), fit),
    }


def _part(files: CifarFiles, names: tuple[str, ...], fit: Fit) -> ImageSet:
    images, labels = [], []
    for name in names:
        content = files.read(name)
        if content is None:
            raise DataError(f"{files.source}: there is no file {name}")
        pixels, classes = _records(content, files, f"{files.source}/{name}")
        images.append(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.append(classes)
    found = np.concatenate(labels)
    class_names = _class_names(files)
    return array_images(
        np.concatenate(images),
        fit=fit,
        description=str(files.source),
        labels=found,
        class_names=class_names if found.size and int(found.max()) < len(class_names) else (),
    )


def _records(content: bytes, files: CifarFiles, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [N, 3072] and classes int64 [N]."""
    layout = files.layout
    if layout.kind == "pickle":
        batch = read_batch(content, name=name)
        key = "labels" if layout.labels == 1 else "fine_labels"
        pixels, classes = batch.get("data"), batch.get(key)
        if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (_PIXELS,):
            raise DataError(f"{name} holds no CIFAR images")
        if not isinstance(classes, list) or len(classes) != len(pixels):
            raise DataError(f"{name} holds no {key} for its {len(pixels):,} images")
        if not all(type(number) is int and 0 <= number < 256 for number in classes):
            raise DataError(f"{name}: the {key} are no class numbers")
        return pixels, np.array(classes, np.int64)
    record = layout.labels + _PIXELS
    if not content or len(content) % record:
        raise DataError(f"{name} is cut short: its {len(content):,} bytes are no multiple of {record:,}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    return rows[:, layout.labels :], rows[:, layout.labels - 1].astype(np.int64)


def _class_names(files: CifarFiles) -> tuple[str, ...]:
    content = files.read(files.layout.names)
    if content is None:
        return ()
    if files.layout.kind == "binary":
        return tuple(line.strip() for line in content.decode("utf-8", "replace").splitlines() if line.strip())
    key = "label_names" if files.layout.labels == 1 else "fine_label_names"
    names = read_batch(content, name=f"{files.source}/{files.layout.names}").get(key)
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _layout(names: Mapping[str, object]) -> _Layout | None:
    # The names `train` and `test` are common, so those need `meta` beside them.
    return next(
        (
            layout
            for layout in _LAYOUTS
            if (layout.test in names or layout.train[0] in names) and (layout.labels == 1 or layout.names in names)
        ),
        None,
    )


def _from_folder(paths: Mapping[str, Path], name: str) -> bytes | None:
    if name not in paths:
        return None
    try:
        with paths[name].open("rb") as stream:
            return _bounded(stream.read(_MOST_BYTES + 1), paths[name])
    except OSError as error:
        raise DataError(f"{paths[name]} cannot be read ({error.strerror or error})") from error


def _from_tar(path: Path, members: Mapping[str, str], name: str) -> bytes | None:
    if name not in members:
        return None
    try:
        with tarfile.open(path) as archive:
            stream = archive.extractfile(members[name])  # in memory: nothing is written
            return None if stream is None else _bounded(stream.read(_MOST_BYTES + 1), path)
    except (OSError, tarfile.TarError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is damaged ({reason})") from error


def _bounded(content: bytes, path: Path) -> bytes:
    if len(content) > _MOST_BYTES:
        raise DataError(f"{path} is larger than a file of CIFAR")
    return content
