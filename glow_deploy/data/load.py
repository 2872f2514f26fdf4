"""Finding out what kind of data set a name or path means."""

from __future__ import annotations

from pathlib import Path

from glow_deploy.artifact.files import check_regular
from glow_deploy.errors import DataError, UsageError

from .fit import Fit
from .folder import folder_images, picture_images
from .hub import hub_images
from .idx_folder import idx_images, is_idx_folder
from .image_set import ImageSet
from .npz_file import npz_images
from .splits import SPLITS, Split

__all__ = ["EMBEDDED", "load_images"]

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
) -> ImageSet:
    """Open a data set.

    Args:
        spec: `faces` (embedded), `hf:OWNER/NAME`, an .npz file, a folder of IDX files, a folder of pictures, or one
            picture. An existing file or folder comes before an embedded set of the same name if written as a path.
        split: `train`, `validation` or `test`; see `take_split` for sets that name none.
        size: (H, W) that the model takes, or None for the images' own.
        channels: 1 or 3, or None for the images' own.
        resize: crop and resample images of another size.
        limit: only so many images, evenly spread over the set: sets sorted by class would give one class from the start
            alone. The same images every time.

    Raises:
        DataError: nothing there, damaged, or images that do not fit.
        UsageError: no such split, or a limit below 1.
    """
    if split not in SPLITS:
        raise UsageError(f"split is {split!r}; choose one of {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise UsageError(f"the limit on images is {limit}; it must be at least 1")
    images = _open(str(spec), split, Fit(size=size, channels=channels, resize=resize))
    if limit is None or limit >= len(images):
        return images
    return images.select([row * len(images) // limit for row in range(limit)])


def _open(spec: str, split: Split, fit: Fit) -> ImageSet:
    if spec in EMBEDDED:
        return npz_images(EMBEDDED[spec], split=split, fit=fit)
    if spec.startswith("hf:"):
        return hub_images(spec.removeprefix("hf:"), split=split, fit=fit)
    path = Path(spec)
    if path.is_dir():
        return (
            idx_images(path, split=split, fit=fit) if is_idx_folder(path) else folder_images(path, split=split, fit=fit)
        )
    check_regular(path, error=DataError)
    if not path.is_file():
        raise DataError(
            f"{spec}: no such file or folder, and not one of the embedded sets ({', '.join(EMBEDDED)}); "
            "a set of the Hugging Face hub is written hf:OWNER/NAME"
        )
    with path.open("rb") as handle:
        head = handle.read(4)
    if head == _ZIP:
        return npz_images(path, split=split, fit=fit)
    return picture_images([path], fit=fit, description=spec)
