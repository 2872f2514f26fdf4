"""Finding out what kind of data set a name or path means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from glow_deploy.artifact.files import check_regular
from glow_deploy.errors import DataError
from glow_deploy.progress import CountProgress, StageProgress

from .archives import is_picture_zip, is_tar, tar_parts, zip_parts
from .cifar import cifar_files, cifar_parts
from .fit import Fit
from .folder import folder_parts, picture_images
from .hub import hub_parts
from .idx_folder import idx_parts, is_idx_folder
from .image_set import ImageSet
from .npy_file import NPY, npy_parts
from .npz_file import npz_parts
from .opened import OpenedImages, Parts
from .reading import Reading
from .splits import Split
from .table_file import ARROW, PARQUET, table_parts
from .tree import missing_folder

__all__ = ["EMBEDDED", "load_images", "open_images"]

EMBEDDED = {"faces": Path(__file__).with_name("faces.npz")}

_ZIP = b"PK\x03\x04"


def load_images(
    spec: str | Path,
    *,
    split: Split,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    resize: bool = False,
    limit: int | None = None,
    skip_unreadable: bool = False,
    reading: Reading | None = None,
    progress: StageProgress | None = None,
) -> ImageSet:
    """Open one split of a data set.

    The headers of all its pictures are read; what is damaged behind its header is noticed when it is decoded.

    Args:
        spec: see `open_images`.
        split: `train`, `validation` or `test`; see `take_split` for sets that name none.
        size: (H, W) that the model takes, or None for the images' own.
        channels: 1 or 3, or None for the images' own.
        resize: crop and resample images of another size.
        limit: only so many images, evenly spread over the set: sets sorted by class would give one class from the start
            alone. The same images every time.
        skip_unreadable: decode the images once, and leave out those that cannot be read: `ImageSet.left_out`.
        reading: what the files do not say about their values.
        progress: told how many pictures have been looked at.

    Raises:
        DataError: nothing there, damaged, or images that do not fit.
        UsageError: no such split, or a limit below 1.
    """
    fit = Fit(size=size, channels=channels, resize=resize, skip_unreadable=skip_unreadable)
    images = _open(str(spec), fit=fit, reading=reading, decode=False, progress=progress).take(split, limit=limit)
    return images.readable(_counter(progress, "checking pictures")) if skip_unreadable else images


def open_images(
    spec: str | Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    resize: bool = False,
    skip_unreadable: bool = False,
    reading: Reading | None = None,
    decode: bool = True,
    progress: StageProgress | None = None,
) -> OpenedImages:
    """Open a data set, to take several of its splits.

    Args:
        spec: `faces` (embedded), `hf:OWNER/NAME`, an .npz or .npy file, a folder of IDX files, CIFAR as a folder or
            archive, a Parquet or Arrow file, a folder, .zip or .tar of pictures, or one picture. An existing file or
            folder comes before an embedded set of the same name if written as a path.
        size: (H, W) that the model takes, or None for the images' own, which are the commonest.
        channels: 1 or 3, or None for the images' own.
        resize: crop and resample images of another size.
        skip_unreadable: decode all images of a part before it is divided, and leave out those that cannot be read.
        decode: False looks at headers alone for that.
        reading: what the files do not say about their values.
        progress: told how many pictures have been looked at.

    Raises:
        DataError: nothing there, or damaged.
    """
    fit = Fit(size=size, channels=channels, resize=resize, skip_unreadable=skip_unreadable)
    return _open(str(spec), fit=fit, reading=reading, decode=skip_unreadable and decode, progress=progress)


def _open(
    spec: str, *, fit: Fit, reading: Reading | None, decode: bool, progress: StageProgress | None
) -> OpenedImages:
    count = _counter(progress, "reading headers")
    reading = reading or Reading()
    missing = missing_folder(spec)
    parts: Parts
    if spec in EMBEDDED:
        parts = npz_parts(EMBEDDED[spec], fit=fit, reading=Reading())
    elif spec.startswith("hf:"):
        parts, missing = hub_parts(spec.removeprefix("hf:"), fit=fit, reading=reading, progress=count)
    else:
        path = Path(spec)
        if not path.exists():
            raise DataError(
                f"{spec}: no such file or folder, and not one of the embedded sets ({', '.join(EMBEDDED)}); "
                "a set of the Hugging Face hub is written hf:OWNER/NAME"
            )
        parts = (_folder_parts if path.is_dir() else _file_parts)(path, fit=fit, reading=reading, progress=count)
        if "whole" not in parts and not path.is_dir():
            missing = _missing_part(path, parts)
    return OpenedImages(parts, missing=missing, decode=decode, progress=progress)


def _folder_parts(path: Path, *, fit: Fit, reading: Reading, progress: CountProgress | None) -> Parts:
    if is_idx_folder(path):
        return idx_parts(path, fit=fit)
    cifar = cifar_files(path)
    if cifar is not None:
        return cifar_parts(cifar, fit=fit)
    if (path / "data.mdb").is_file():
        raise DataError(
            f"{path} is an LMDB database, which is not read: its library trusts what it is given, and a damaged file "
            "can end the process; write the pictures into a folder, a .zip or a Parquet file"
        )
    return folder_parts(path, fit=fit, reading=reading, progress=progress)


def _file_parts(path: Path, *, fit: Fit, reading: Reading, progress: CountProgress | None) -> Parts:
    """Tell what a file is by its content."""
    check_regular(path, error=DataError)
    options: Any = {"fit": fit, "reading": reading}
    with path.open("rb") as handle:
        head = handle.read(8)
    if head.startswith(_ZIP):
        if is_picture_zip(path):
            return zip_parts(path, progress=progress, **options)
        return npz_parts(path, **options)
    if head.startswith(NPY):
        return npy_parts(path, **options)
    if head.startswith((PARQUET, *ARROW)):
        return table_parts(path, progress=progress, **options)
    if is_tar(path):
        cifar = cifar_files(path)
        return tar_parts(path, progress=progress, **options) if cifar is None else cifar_parts(cifar, fit=fit)
    return {"whole": lambda: picture_images([path], description=str(path), **options)}


def _counter(progress: StageProgress | None, stage: str) -> CountProgress | None:
    return None if progress is None else lambda done, total: progress(stage, done, total)


def _missing_part(path: Path, parts: Parts) -> Callable[[Split], str]:
    return lambda split: f"{path} has no split named {split}; it has {', '.join(parts)}"
