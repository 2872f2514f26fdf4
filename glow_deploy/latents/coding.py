"""Pictures to latents with their likelihood, and latents back to `x`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_flag, as_seed, as_whole, settle
from glow_deploy.artifact.signature import EXACT
from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.images import bits_per_dim
from glow_deploy.notebook import html_table
from glow_deploy.progress import CountProgress
from glow_deploy.protocol import Engine

from .specs import check_labels, finite_rows, latent_specs, need_role, show_shape
from .stream import PictureBatch, encoder_batches, picture_batches

__all__ = [
    "Decoded",
    "EncodeSettings",
    "Latents",
    "PictureBatch",
    "concatenate_latents",
    "decode_latents",
    "encode_images",
    "encode_stream",
]


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """How to encode.

    Attributes:
        draws: dequantisation draws that `bits_per_dim` is averaged over; 0 leaves it out.
        seed: of the dequantisation noise, 0 .. 2^64-1.
        batch: images encoded at once.
        best_class: for class-conditional models: encode each picture as the class under which its bits/dim is lowest
            (at the bin centre, where `draws` is 0), instead of with labels.
    """

    draws: int = 8
    seed: int = 0
    batch: int = 64
    best_class: bool = False

    def __post_init__(self) -> None:
        settle(self, as_whole, "draws", least=0)
        settle(self, as_whole, "batch", least=1)
        settle(self, as_seed, "seed")
        settle(self, as_flag, "best_class")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Latents:
    """Latents of n images, and what the model says about those images.

    Attributes:
        z: z1 ... zL, [n, C, H, W], of the image at bin centres.
        log_prob: float64 [n], natural log density at the bin centre. None where unknown.
        bits_per_dim: float64 [n], averaged over dequantisation noise: the figure to report. None where unknown.
        bits_per_dim_centre: float64 [n], from `log_prob`; systematically lower, only for comparing backends.
        names: one a row.
        labels: int64 [n], or None.
        class_log_prob: float64 [n, K], natural log density under each of the K classes, averaged over dequantisation
            noise, where the class was chosen by it; else None.
    """

    z: tuple[npt.NDArray[np.floating], ...]
    names: tuple[str, ...]
    log_prob: npt.NDArray[np.float64] | None = None
    bits_per_dim: npt.NDArray[np.float64] | None = None
    bits_per_dim_centre: npt.NDArray[np.float64] | None = None
    labels: npt.NDArray[np.int64] | None = None
    class_log_prob: npt.NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        levels = ", ".join(f"z{number} {list(level.shape)}" for number, level in enumerate(self.z, start=1))
        bits = self.bits_per_dim if self.bits_per_dim is not None else self.bits_per_dim_centre
        return f"Latents({levels}" + ("" if bits is None else f", {bits.mean():.4f} bits/dim on average") + ")"

    def _repr_html_(self) -> str:
        columns = {
            "image": self.names,
            "class": self.labels,
            "bits/dim": self.bits_per_dim,
            "bits/dim at the bin centre": self.bits_per_dim_centre,
            "log p, nats": self.log_prob,
        }
        known = {title: values for title, values in columns.items() if values is not None}
        return f"<p>{escape(repr(self))}</p>" + html_table(tuple(known), zip(*known.values(), strict=True))

    def __len__(self) -> int:
        return len(self.z[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """Decoded images: `x` [n, C, H, W], not clamped, and `finite`, bool [n]: which rows may be shown."""

    x: npt.NDArray[np.floating]
    finite: npt.NDArray[np.bool_]


def encode_images(
    encoder: Engine,
    values: npt.NDArray[np.uint8],
    *,
    settings: EncodeSettings | None = None,
    names: Sequence[str] | None = None,
    labels: npt.ArrayLike | None = None,
    start: int = 0,
    progress: CountProgress | None = None,
) -> Latents:
    """Encode pictures at bin centres, and measure their bits/dim over dequantisation noise.

    Args:
        encoder: an open encoder.
        values: uint8 [N, C, H, W], 8-bit picture values, N >= 1.
        settings: how to encode; None for the defaults.
        names: one a picture; None numbers them from `start`.
        labels: [N] whole numbers, for class-conditional models; None with `settings.best_class`.
        start: number of the first picture: image i's noise depends on (seed, start + i) alone.
        progress: called with (done, N) after each batch.

    Raises:
        UsageError: the engine is a decoder, or labels are missing or not wanted.
        DataError: the pictures do not fit the model, or a label is no class of it.
        UnsoundModelError: an image has a non-finite latent or likelihood.
    """
    settings = settings or EncodeSettings()
    total = len(values)
    if names is not None and len(names) != total:
        raise UsageError(f"{len(names)} names were given for {total} pictures")
    need_role(encoder, "encoder", "encoding")
    every = labels if settings.best_class else check_labels(encoder, labels, total)
    parts = []
    done = 0
    batches = picture_batches(values, batch=settings.batch, names=names, labels=every)
    for part in encode_stream(encoder, batches, settings=settings, start=start):
        parts.append(part)
        done += len(part)
        if progress is not None:
            progress(done, total)
    return concatenate_latents(parts)


def encode_stream(
    encoder: Engine, batches: Iterable[PictureBatch], *, settings: EncodeSettings | None = None, start: int = 0
) -> Iterator[Latents]:
    """Encode batch by batch, for sets that do not fit in memory: see `encode_images`.

    `settings.batch` is not used: the batches are encoded as they come.
    """
    settings = settings or EncodeSettings()
    levels = [spec.name for spec in latent_specs(encoder.outputs)]
    ready = encoder_batches(
        encoder,
        batches,
        purpose="encoding",
        draws=settings.draws,
        seed=settings.seed,
        choose=_likeliest if settings.best_class else None,
        start=start,
    )
    for batch in ready:
        out = {name: array.copy() for name, array in batch.run(batch.centre()).items()}
        for name in (*levels, "log_prob"):
            _need_finite(out[name], name, batch.names, precision=encoder.details.precision)
        log_prob = out["log_prob"].astype(np.float64)
        mean = np.zeros(len(batch))
        for x in batch.noisy():
            noisy = batch.run(x)["log_prob"]
            _need_finite(noisy, "log_prob", batch.names, precision=encoder.details.precision)
            mean += noisy.astype(np.float64) / settings.draws
        dims = math.prod(batch.pixels.shape[1:])
        yield Latents(
            z=tuple(out[name] for name in levels),
            names=batch.names,
            log_prob=log_prob,
            bits_per_dim=bits_per_dim(mean, dims=dims, n_bits=encoder.n_bits) if settings.draws else None,
            bits_per_dim_centre=bits_per_dim(log_prob, dims=dims, n_bits=encoder.n_bits),
            labels=batch.labels,
            class_log_prob=batch.class_log_prob,
        )


def concatenate_latents(parts: Sequence[Latents]) -> Latents:
    """Join latents of one model into one.

    Raises:
        DataError: there are none.
    """
    if not parts:
        raise DataError("there are no pictures to encode")

    def join(field: str) -> npt.NDArray[np.float64] | None:
        arrays = [getattr(part, field) for part in parts]
        return None if any(array is None for array in arrays) else np.concatenate(arrays)

    labels = [part.labels for part in parts if part.labels is not None]
    return Latents(
        z=tuple(np.concatenate(level) for level in zip(*(part.z for part in parts), strict=True)),
        names=tuple(name for part in parts for name in part.names),
        log_prob=join("log_prob"),
        bits_per_dim=join("bits_per_dim"),
        bits_per_dim_centre=join("bits_per_dim_centre"),
        labels=np.concatenate(labels) if len(labels) == len(parts) else None,
        class_log_prob=join("class_log_prob"),
    )


def decode_latents(
    decoder: Engine,
    z: Sequence[npt.NDArray[np.floating]],
    *,
    labels: npt.ArrayLike | None = None,
    batch: int = 64,
    progress: CountProgress | None = None,
) -> Decoded:
    """Decode latents to `x`.

    Args:
        decoder: an open decoder.
        z: z1 ... zL, each [N, C, H, W], N >= 1; used as they are, without a temperature.
        labels: [N] whole numbers, for class-conditional models; other classes than the latents were encoded with turn
            the pictures into those.
        batch: rows decoded at once.
        progress: called with (done, N) after each batch.

    Returns:
        All N rows; those that are not finite are marked, never replaced.

    Raises:
        UsageError: the engine is an encoder, or labels are missing or not wanted.
        DataError: the latents do not fit the model, or a label is no class of it.
    """
    need_role(decoder, "decoder", "decoding")
    batch = as_whole("batch", batch, least=1)
    specs = latent_specs(decoder.inputs)
    total = len(z[0]) if z and z[0].ndim else 0
    shapes = [tuple(level.shape) for level in z]
    if not total or shapes != [(total, *spec.shape) for spec in specs]:
        given = ", ".join(f"z{level} {show_shape(shape)}" for level, shape in enumerate(shapes, start=1))
        wanted = ", ".join(f"{spec.name} {show_shape(spec.shape, 'N')}" for spec in specs)
        raise DataError(f"latents {given or '(none)'} do not fit this model, which takes {wanted}, N >= 1")
    every = check_labels(decoder, labels, total)
    parts = []
    for first in range(0, total, batch):
        rows = slice(first, first + batch)
        feeds: dict[str, np.ndarray] = {
            spec.name: np.asarray(level[rows], dtype=spec.dtype) for spec, level in zip(specs, z, strict=True)
        }
        if every is not None:
            feeds["y"] = every[rows]
        parts.append(decoder.run(feeds)["x"].copy())
        if progress is not None:
            progress(min(first + batch, total), total)
    x = np.concatenate(parts)
    return Decoded(x=x, finite=finite_rows(x))


def _likeliest(by_class: npt.NDArray[np.float64], names: Sequence[str]) -> npt.NDArray[np.int64]:
    _need_finite(by_class, "log_prob", names)
    return np.asarray(by_class.argmax(axis=1))


def _need_finite(array: npt.NDArray[np.floating], what: str, names: Sequence[str], *, precision: str = "") -> None:
    bad = np.flatnonzero(~finite_rows(array))
    if bad.size:
        where = f"{names[int(bad[0])]} is not"
        counted = f"({bad.size} of {len(array)} images in its batch)"
        if precision == EXACT:
            raise UnsoundModelError(
                f"{where} in the range that the integers are proven in {counted}: it is too unlike the images of the "
                "calibration; export with more varied images in data=, or with another precision"
            )
        raise UnsoundModelError(f"{what} of {where} finite {counted}; the model cannot encode it")
