"""Direction files: one small .npz, which names the model it is for and is read back as if a stranger had written it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glow_deploy.artifact.files import atomic_path
from glow_deploy.artifact.npz import NpzArchive
from glow_deploy.errors import DataError, UsageError
from glow_deploy.latents.specs import latent_specs
from glow_deploy.printable import shown
from glow_deploy.protocol import TensorSpec

from .attribute_table import MOST_ATTRIBUTES, check_names
from .directions import Attribute, Directions
from .reach import Reach
from .soundness import Soundness

__all__ = ["load_directions", "save_directions"]

_FORMAT = "glow-deploy directions 1"
_SHA256 = re.compile("[0-9a-f]{64}")
_LONGEST = 4096  # letters of one text
# Per attribute: name of the array, shape after [K], kind of number.
_COLUMNS = {
    "counts": ((2,), "i"),
    "held_out": ((2,), "i"),
    "auc": ((), "f"),
    "auc_interval": ((2,), "f"),
    "range": ((2,), "f"),
    "range_median": ((2,), "f"),
    "range_images": ((2,), "i"),
}
_NUMBERS = ("limit", "survival", "tolerance", "margin")
_TEXTS = ("format", "model_id", "source")


def save_directions(path: str | os.PathLike[str], directions: Directions) -> None:
    """Write directions to an .npz file, whole or not at all; an existing file is replaced.

    The keys are `format`, `model_id`, `source`, `names` [K], `w1` ... `wL` (float32 [K, C, H, W]), `counts` and
    `held_out` (int64 [K, 2], images with and without), `auc` [K], `auc_interval` [K, 2], `auc_by_level` [K, L], `range`
    and `range_median` (float64 [K, 2], as amounts: the first 0 or less, the second 0 or more), `range_images` [K, 2],
    `limit`, `survival`, `tolerance` and `margin`. No suffix is added to `path`.
    """
    every = directions.attributes
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "format": np.array(_FORMAT),
        "model_id": np.array(directions.model_id),
        "source": np.array(directions.source[:_LONGEST]),
        "names": np.array(directions.names, dtype=np.str_),
        "counts": np.array([one.counts for one in every], np.int64),
        "held_out": np.array([one.held_out for one in every], np.int64),
        "auc": np.array([one.auc for one in every]),
        "auc_interval": np.array([one.auc_interval for one in every]),
        "auc_by_level": np.array([one.auc_by_level for one in every]),
        "range": np.array([one.range for one in every]),
        "range_median": np.array([(-one.removing.median, one.adding.median) for one in every]),
        "range_images": np.array([(one.removing.images, one.adding.images) for one in every], np.int64),
        "limit": np.array(directions.limit),
        "survival": np.array(directions.survival),
        "tolerance": np.array(directions.soundness.tolerance),
        "margin": np.array(directions.soundness.margin),
    }
    for level in range(len(every[0].vectors)):
        arrays[f"w{level + 1}"] = np.stack([one.vectors[level] for one in every])
    with atomic_path(Path(path)) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # the stubs mistake the arrays for `allow_pickle`


def load_directions(path: str | os.PathLike[str], inputs: Sequence[TensorSpec], *, model_id: str | None) -> Directions:
    """Read directions for a decoder.

    Args:
        path: a file of `save_directions`; nothing in it is ever unpickled.
        inputs: `decoder.inputs`, which the vectors must fit.
        model_id: of the decoder: the file must have been made for the same; None (a plan without a sidecar does not
            tell) leaves only the shapes to compare.

    Raises:
        DataError: missing, damaged, no direction file, made for another model, or with values that cannot be.

    Examples:
        >>> import tempfile
        >>> from glow_deploy.engines.example import example_pair
        >>> _, decoder = example_pair(size=(2, 2))
        >>> there = Reach(amount=2.0, median=3.0, images=20)
        >>> bright = Attribute(name="bright", vectors=(np.ones((2, 1, 1), np.float32),) * 2, counts=(30, 30),
        ...                    held_out=(20, 20), auc=1.0, auc_interval=(0.9, 1.0), auc_by_level=(1.0, 1.0),
        ...                    removing=there, adding=there)
        >>> written = Directions(model_id="0" * 64, source="toys", attributes=(bright,), limit=3.0, survival=0.95,
        ...                      soundness=Soundness())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_directions(Path(folder) / "toys.npz", written)
        ...     read = load_directions(Path(folder) / "toys.npz", decoder.inputs, model_id="0" * 64)
        >>> read.names, read["bright"].range
        (('bright',), (-2.0, 2.0))
    """
    path = Path(path)
    specs = latent_specs(inputs)
    with NpzArchive(path) as archive:
        _check_header(archive, model_id)
        names = _names(archive)
        _check_keys(archive, specs)
        columns = {key: _column(archive, key, (len(names), *tail), kind) for key, (tail, kind) in _COLUMNS.items()}
        by_level = _column(archive, "auc_by_level", (len(names), len(specs)), "f")
        numbers = {key: float(_column(archive, key, (), "f")) for key in _NUMBERS}
        vectors = [
            _column(archive, f"w{level}", (len(names), *spec.shape), "f").astype(np.float32)
            for level, spec in enumerate(specs, start=1)
        ]
        source = _text(archive, "source")
        own_id = _text(archive, "model_id")
    _check_values(path, columns, by_level, numbers)
    return Directions(
        model_id=own_id,
        source=source,
        attributes=tuple(
            _attribute(row, name, columns, by_level, [level[row] for level in vectors])
            for row, name in enumerate(names)
        ),
        limit=numbers["limit"],
        survival=numbers["survival"],
        soundness=_soundness(path, numbers),
    )


def _check_header(archive: NpzArchive, model_id: str | None) -> None:
    path = archive.path
    if "format" not in archive or _text(archive, "format") != _FORMAT:
        raise DataError(f"{path} holds no directions of this version; `glow-deploy directions` writes such files")
    own = _text(archive, "model_id")
    if not _SHA256.fullmatch(own):
        raise DataError(f"{path}: `model_id` is no sha256; the file is damaged")
    if model_id is not None and own != model_id:
        raise DataError(
            f"{path} was made for the model {own[:12]}..., this is {model_id[:12]}...: directions of one model mean "
            "nothing to another; run `glow-deploy directions` on this one"
        )


def _check_keys(archive: NpzArchive, specs: Sequence[TensorSpec]) -> None:
    wanted = {*_TEXTS, "names", *_COLUMNS, "auc_by_level", *_NUMBERS, *(f"w{i + 1}" for i in range(len(specs)))}
    found = set(archive.entries)
    if found != wanted:
        wrong = [f"lacks {key}" for key in sorted(wanted - found)] + [
            f"has {shown(key)}" for key in sorted(found - wanted)
        ]
        raise DataError(f"{archive.path} does not fit this model or is damaged: it {', '.join(wrong)[:200]}")


def _names(archive: NpzArchive) -> tuple[str, ...]:
    entry = archive.entries.get("names")
    if entry is None or len(entry.shape) != 1 or entry.dtype.kind != "U" or entry.dtype.itemsize > 4 * _LONGEST:
        raise DataError(f"{archive.path}: `names` must be a list of texts")
    if entry.shape[0] > MOST_ATTRIBUTES:
        raise DataError(f"{archive.path} names {entry.shape[0]} attributes; {MOST_ATTRIBUTES} at most are taken")
    names = archive.texts("names")
    check_names(names, str(archive.path))
    return names


def _text(archive: NpzArchive, key: str) -> str:
    entry = archive.entries.get(key)
    if entry is None or entry.shape != () or entry.dtype.kind != "U" or entry.dtype.itemsize > 4 * _LONGEST:
        raise DataError(f"{archive.path}: `{key}` must be one text")
    return str(archive.read(key))


def _column(archive: NpzArchive, key: str, shape: tuple[int, ...], kind: str) -> npt.NDArray[Any]:
    entry = archive.entries[key]
    if entry.shape != shape or entry.dtype.kind != kind or entry.dtype.itemsize > 8:
        raise DataError(
            f"{archive.path}: `{key}` is {entry.dtype} {list(entry.shape)}, where {list(shape)} is due; the file is "
            "damaged, or its model has another size"
        )
    array = archive.read(key)
    with np.errstate(over="ignore"):  # what float32 cannot hold is found here as well
        if not np.isfinite(array.astype(np.float32)).all():
            raise DataError(f"{archive.path}: `{key}` holds values that are not finite")
    return array


def _check_values(
    path: Path,
    columns: dict[str, npt.NDArray[Any]],
    by_level: npt.NDArray[Any],
    numbers: dict[str, float],
) -> None:
    limit = numbers["limit"]
    ranges = [columns["range"], columns["range_median"]]
    areas = [columns["auc"], columns["auc_interval"], by_level]
    counts = [columns["counts"], columns["held_out"], columns["range_images"]]
    rules = {
        "`limit` must be more than 0": limit > 0,
        "`survival` must lie in (0, 1]": 0 < numbers["survival"] <= 1,
        "an AUC must lie in [0, 1]": all(bool(((area >= 0) & (area <= 1)).all()) for area in areas),
        "numbers of images must be 1 or more": all(bool((count >= 1).all()) for count in counts),
        "a range must go from 0 or less to 0 or more, within the limit": all(
            bool(((ends[:, 0] <= 0) & (ends[:, 0] >= -limit) & (ends[:, 1] >= 0) & (ends[:, 1] <= limit)).all())
            for ends in ranges
        ),
    }
    for rule, kept in rules.items():
        if not kept:
            raise DataError(f"{path}: {rule}; the file is damaged")


def _soundness(path: Path, numbers: dict[str, float]) -> Soundness:
    try:
        return Soundness(tolerance=numbers["tolerance"], margin=numbers["margin"])
    except UsageError as error:
        raise DataError(f"{path}: {error}; the file is damaged") from None


def _attribute(
    row: int,
    name: str,
    columns: dict[str, npt.NDArray[Any]],
    by_level: npt.NDArray[Any],
    vectors: Sequence[npt.NDArray[np.float32]],
) -> Attribute:
    def pair(key: str) -> tuple[float, float]:
        low, high = columns[key][row].tolist()
        return float(low), float(high)

    def counts(key: str) -> tuple[int, int]:
        first, second = columns[key][row].tolist()
        return int(first), int(second)

    removing, adding = (
        Reach(amount=abs(amount), median=abs(median), images=images)
        for amount, median, images in zip(pair("range"), pair("range_median"), counts("range_images"), strict=True)
    )
    return Attribute(
        name=name,
        vectors=tuple(vectors),
        counts=counts("counts"),
        held_out=counts("held_out"),
        auc=float(columns["auc"][row]),
        auc_interval=pair("auc_interval"),
        auc_by_level=tuple(float(area) for area in by_level[row]),
        removing=removing,
        adding=adding,
    )
