"""What is normal, learnt from held-out images; and from where on a picture is strange, at a stated rate of mistakes."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glow_deploy.artifact.files import atomic_write, read_regular
from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.printable import one_line, shown

from .surprise import RawSurprise

__all__ = ["SurpriseMaps", "Threshold", "fit_threshold", "load_threshold", "save_threshold"]

Float64 = npt.NDArray[np.float64]

_FORMAT = "glow_deploy.threshold"
_VERSION = 1
_MOST = 64 << 20  # bytes of a file
_CELLS = 1 << 22
_STEADY = 8.0  # images' worth of the spread of all places, which steadies that of one place
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, eq=False)
class SurpriseMaps:
    """Surprise of n pictures by the pixel, in standard deviations of normal pictures at the same place.

    Attributes:
        latents: float64 [n, H, W], by the latents' energy, the mean of all levels.
        patches: float64 [n, H, W], by the patches' gains.
        both: float64 [n, H, W], the mean of the two.
    """

    latents: Float64
    patches: Float64
    both: Float64

    @property
    def highest(self) -> Float64:
        """Float64 [n], each picture's strangest pixel: what its verdict stands on."""
        return np.asarray(self.both.reshape(len(self.both), -1).max(axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Threshold:
    """What is normal at every place, and where the strange begins.

    Attributes:
        model_id: of the model that it was learnt with.
        precision: of its graphs.
        source: what the normal images are, in words.
        patch: size of the patches.
        rate: share of normal pictures that are called strange by mistake, at most.
        normal: how many images the statistics are of.
        calibration: how many other images the threshold is of.
        value: a picture is strange if a pixel of `SurpriseMaps.both` is above it, and so are those pixels.
        means: of the energies of z1 ... zL and the gains, at each place.
        deviations: likewise.
    """

    model_id: str
    precision: str
    source: str
    patch: int
    rate: float
    normal: int
    calibration: int
    value: float
    means: tuple[Float64, ...]
    deviations: tuple[Float64, ...]

    def maps(self, raw: RawSurprise) -> SurpriseMaps:
        """Compare pictures with normal ones.

        Raises:
            DataError: the pictures are of another size, or the patches are.
        """
        measured = (*raw.energies, raw.gains)
        if raw.patch != self.patch or [a.shape[1:] for a in measured] != [mean.shape for mean in self.means]:
            raise DataError("the threshold was learnt on pictures or patches of another size: learn it again")
        height, width = (size * raw.patch for size in raw.gains.shape[1:])
        with np.errstate(invalid="ignore"):
            scores = [
                _enlarged((array - mean) / deviation, height, width)
                for array, mean, deviation in zip(measured, self.means, self.deviations, strict=True)
            ]
        # What the encoder overflows on is as strange as can be.
        scores = [np.where(np.isfinite(score), score, np.finfo(np.float32).max) for score in scores]
        latents = np.mean(scores[:-1], axis=0)
        return SurpriseMaps(latents=latents, patches=scores[-1], both=(latents + scores[-1]) / 2)


def fit_threshold(raw: RawSurprise, *, rate: float, model_id: str, precision: str, source: str) -> Threshold:
    """Learn what is normal from one half of held-out images, and the threshold from the other.

    The threshold is the k-th highest of the second half's strangest pixels, k = floor(rate (m + 1)) of m images. A new
    picture of the same kind then exceeds it with a probability of `rate` at most, whatever the distribution: split
    conformal prediction (Vovk et al. 2005; Papadopoulos et al. 2002).

    Args:
        raw: of images that the model was not trained on and that are normal.
        rate: between 0 and 1.
        model_id: of the model.
        precision: of its graphs.
        source: what the images are, in words.

    Raises:
        UsageError: the rate is out of range, or there are too few images for it.
        UnsoundModelError: a normal image has no finite surprise.
    """
    if not 0 < rate < 1:
        raise UsageError(f"rate must lie between 0 and 1, not {rate}")
    measured = (*raw.energies, raw.gains)
    if not all(np.isfinite(array).all() for array in measured):
        raise UnsoundModelError(
            f"a normal image ({source}) overflows in the encoder; run `glow-deploy verify` on this model"
        )
    normal = np.arange(len(raw)) % 2 == 0
    count = int((~normal).sum())
    place = math.floor(rate * (count + 1) + 1e-9)
    if place < 1 or normal.sum() < 2:
        needed = 2 * math.ceil(1 / rate - 1 - 1e-9)
        raise UsageError(
            f"{len(raw)} normal images are too few for a rate of {rate:g}: it takes {max(needed, 4)}; give more with "
            "reference=, or a higher rate"
        )
    means, deviations = [], []
    for array in measured:
        mean = array[normal].mean(axis=0)
        variance = array[normal].var(axis=0, ddof=1)
        n = int(normal.sum())
        steady = (n * variance + _STEADY * variance.mean()) / (n + _STEADY)
        means.append(mean)
        deviations.append(np.sqrt(np.maximum(steady, np.finfo(np.float32).tiny)))
    found = Threshold(
        model_id=model_id,
        precision=precision,
        source=source,
        patch=raw.patch,
        rate=rate,
        normal=int(normal.sum()),
        calibration=count,
        value=0.0,
        means=tuple(means),
        deviations=tuple(deviations),
    )
    others = RawSurprise(
        energies=tuple(energy[~normal] for energy in raw.energies), gains=raw.gains[~normal], patch=raw.patch
    )
    value = float(np.sort(found.maps(others).highest)[-place])
    return Threshold(**{**vars(found), "value": value})


def save_threshold(path: str | os.PathLike[str], threshold: Threshold) -> None:
    """Write a threshold as JSON, whole or not at all; an existing file is replaced.

    Raises:
        UsageError: the file cannot be written.
    """
    content = {
        "format": _FORMAT,
        "format_version": _VERSION,
        **{
            name: getattr(threshold, name)
            for name in ("model_id", "precision", "source", "patch", "rate", "normal", "calibration", "value")
        },
        "means": [mean.tolist() for mean in threshold.means],
        "deviations": [deviation.tolist() for deviation in threshold.deviations],
    }
    atomic_write(Path(path), (json.dumps(content, allow_nan=False) + "\n").encode())


def load_threshold(path: str | os.PathLike[str]) -> Threshold:
    """Read a threshold, of whomever it comes from.

    Raises:
        DataError: no such file, or not one of these.
    """
    data = read_regular(Path(path), most=_MOST, error=DataError)
    try:
        content = json.loads(data)
        if content["format"] != _FORMAT or content["format_version"] != _VERSION:
            raise ValueError("it is of another format")
        means, deviations = (_arrays(content[name]) for name in ("means", "deviations"))
        if [mean.shape for mean in means] != [deviation.shape for deviation in deviations] or len(means) < 2:
            raise ValueError("means and deviations do not fit")
        if not all((deviation > 0).all() for deviation in deviations):
            raise ValueError("a deviation is not above 0")
        return Threshold(
            model_id=_text(content, "model_id", _SHA256),
            precision=_text(content, "precision"),
            source=_text(content, "source"),
            patch=_whole(content, "patch"),
            rate=_real(content, "rate"),
            normal=_whole(content, "normal"),
            calibration=_whole(content, "calibration"),
            value=_real(content, "value"),
            means=means,
            deviations=deviations,
        )
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise DataError(f"{path} is no threshold of this tool: {one_line(error, longest=100)}") from None


def _arrays(values: Any) -> tuple[Float64, ...]:
    if not isinstance(values, list) or not 2 <= len(values) <= 17:
        raise ValueError("there must be an array for each level, and one for the patches")
    found = []
    for value in values:
        array = np.array(value)
        if array.ndim != 2 or array.dtype.kind not in "iuf" or not 0 < array.size <= _CELLS:
            raise ValueError("an array is none")
        array = array.astype(np.float64)
        if not np.isfinite(array).all():
            raise ValueError("a number is not finite")
        found.append(array)
    return tuple(found)


def _text(content: Any, name: str, pattern: re.Pattern[str] | None = None) -> str:
    value = content[name]
    if not isinstance(value, str) or len(value) > 4096 or (pattern is not None and not pattern.fullmatch(value)):
        raise ValueError(f"{name} is {shown(value, longest=20)}")
    return value


def _whole(content: Any, name: str) -> int:
    value = content[name]
    if type(value) is not int or not 1 <= value <= 10**9:
        raise ValueError(f"{name} is {shown(value, longest=20)}")
    return value


def _real(content: Any, name: str) -> float:
    value = content[name]
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{name} is {shown(value, longest=20)}")
    return float(value)


def _enlarged(array: Float64, height: int, width: int) -> Float64:
    """[n, h, w] to [n, height, width], each place as large as it is in the picture."""
    _, rows, columns = array.shape
    return array.repeat(height // rows, axis=1).repeat(width // columns, axis=2)
