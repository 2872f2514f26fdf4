"""Drawing images from a decoder, in bounded memory, without ever returning a non-finite one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_real, as_seed, as_several, as_whole, is_several, settle
from glow_deploy.errors import UnsoundModelError, UsageError
from glow_deploy.progress import CountProgress
from glow_deploy.protocol import Engine
from glow_deploy.settings import settings_of

from .noise import noise
from .specs import check_labels, finite_rows, latent_specs, need_role

__all__ = ["SampleBatch", "SampleOptions", "SampleSettings", "concatenate_samples", "sample"]

_HOTTEST = 100.0  # latents so far out say nothing about the model; far beyond it float32 overflows for any model


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """How to draw.

    Attributes:
        temperature: standard deviation of every latent, 0 to 100; 1 samples the model, less gives tamer images. Several
            numbers are one for each level, z1 (the finest) first: the coarse levels hold what an image is of, the fine
            ones its texture.
        seed: 0 .. 2^64-1.
        batch: images decoded at once; does not change any image's latents.
        labels: for class-conditional models: sample i is of class `labels[i % len(labels)]`.
        max_redraws: a sample that is still not finite after so many new draws ends the run.
    """

    temperature: float | tuple[float, ...] = 0.7
    seed: int = 0
    batch: int = 64
    labels: tuple[int, ...] | None = None
    max_redraws: int = 32

    def __post_init__(self) -> None:
        if is_several(self.temperature):
            settle(self, as_several, "temperature", check=as_real, least=0, most=_HOTTEST)
        else:
            settle(self, as_real, "temperature", least=0, most=_HOTTEST)
        settle(self, as_seed, "seed")
        settle(self, as_whole, "batch", least=1)
        settle(self, as_whole, "max_redraws", least=0)
        settle(self, as_several, "labels", optional=True, check=as_whole, least=0)
        for name in ("temperature", "labels"):
            if getattr(self, name) == ():
                raise UsageError(f"{name} is empty; give at least one number")

    def temperatures(self, levels: int) -> tuple[float, ...]:
        """Return the temperature of each level, z1 first.

        Raises:
            UsageError: there are more or fewer of them than levels.
        """
        if not isinstance(self.temperature, tuple):
            return (self.temperature,) * levels
        if len(self.temperature) not in (1, levels):
            raise UsageError(
                f"{len(self.temperature)} temperatures were given for the {levels} levels of this model; give one, or "
                "one for each level, z1 first"
            )
        return self.temperature * levels if len(self.temperature) == 1 else self.temperature


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SampleBatch:
    """Samples, all finite.

    Attributes:
        indices: int64 [n], the number of each sample, counted from 0.
        x: [n, C, H, W] as decoded, not clamped.
        z: z1 ... zL, float32 [n, C, H, W], already scaled by the temperature.
        attempts: int64 [n], how many draws of each sample were not finite before this one.
        labels: int64 [n], or None for a model without classes.
    """

    indices: npt.NDArray[np.int64]
    x: npt.NDArray[np.floating]
    z: tuple[npt.NDArray[np.float32], ...]
    attempts: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        return f"SampleBatch({len(self)} of {list(self.x.shape[1:])}, {self.redrawn} drawn again)"

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def redrawn(self) -> int:
        """Samples that had to be drawn again."""
        return int((self.attempts > 0).sum())

    @property
    def nonfinite(self) -> int:
        """Decodes that were not finite and were thrown away."""
        return int(self.attempts.sum())


def sample(
    decoder: Engine,
    *,
    count: int,
    settings: SampleSettings | None = None,
    start: int = 0,
    progress: CountProgress | None = None,
    **options: Unpack[SampleOptions],
) -> Iterator[SampleBatch]:
    """Draw samples batch by batch: only one batch is in memory at a time.

    Sample i has the same latents for the same seed, whatever `count`, `start`, the batch size and the backend. A decode
    with a NaN or an infinity in it is thrown away, counted, and drawn again from the sample's next noise.

    Args:
        decoder: an open decoder.
        count: number of samples, 1 or more.
        settings: how to draw; None for the defaults. Or the same as keyword arguments.
        start: number of the first sample.
        progress: called with (done, count) after each batch.
        **options: see below.

    Options:
        temperature=0.7: standard deviation of every latent, 0 to 100; several: one for each level, z1 first.
        seed=0: of the draws, 0 to 2^64-1.
        batch=64: images decoded at once.
        labels=None: for class-conditional models: sample i is of class `labels[i % len(labels)]`.
        max_redraws=32: new draws of a sample that is not finite, before the run ends.

    Returns:
        An iterator over batches of at most `settings.batch` samples, in order.

    Raises:
        UsageError: the engine is an encoder, an option is out of range, or labels are missing or not wanted.
        DataError: a label is no class of the model.
        UnsoundModelError: (while iterating) a sample was not finite in `settings.max_redraws` + 1 draws.
    """
    settings = settings_of(settings, options, SampleSettings, caller="sample", others=("count", "start", "progress"))
    need_role(decoder, "decoder", "sampling")
    count, start = as_whole("count", count, least=1), as_whole("start", start, least=0)
    settings.temperatures(len(latent_specs(decoder.inputs)))
    check_labels(decoder, settings.labels, 0 if settings.labels is None else len(settings.labels))
    return _batches(decoder, count, settings, start, progress)


def concatenate_samples(batches: Iterable[SampleBatch]) -> SampleBatch:
    """Join batches into one; needs the memory for all of them.

    Raises:
        UsageError: there are no batches.
    """
    parts = list(batches)
    if not parts:
        raise UsageError("there are no samples to join")
    return SampleBatch(
        indices=np.concatenate([part.indices for part in parts]),
        x=np.concatenate([part.x for part in parts]),
        z=tuple(np.concatenate(level) for level in zip(*(part.z for part in parts), strict=True)),
        attempts=np.concatenate([part.attempts for part in parts]),
        labels=None
        if parts[0].labels is None
        else np.concatenate([part.labels for part in parts if part.labels is not None]),
    )


def _batches(
    decoder: Engine, count: int, settings: SampleSettings, start: int, progress: CountProgress | None
) -> Iterator[SampleBatch]:
    for first in range(start, start + count, settings.batch):
        indices = np.arange(first, min(first + settings.batch, start + count), dtype=np.int64)
        batch = _draw(decoder, indices, settings)
        if progress is not None:
            progress(int(indices[-1]) + 1 - start, count)
        yield batch


def _draw(decoder: Engine, indices: npt.NDArray[np.int64], settings: SampleSettings) -> SampleBatch:
    specs = latent_specs(decoder.inputs)
    shapes = [spec.shape for spec in specs]
    wanted = None if settings.labels is None else np.take(settings.labels, indices % len(settings.labels))
    labels = check_labels(decoder, wanted, len(indices))
    attempts = np.zeros(len(indices), np.int64)
    temperatures = settings.temperatures(len(specs))

    def decode(
        rows: npt.NDArray[np.int64], attempt: int
    ) -> tuple[npt.NDArray[np.floating], list[npt.NDArray[np.float32]]]:
        drawn = noise(settings.seed, indices[rows], shapes, attempt=attempt)
        z = [level * np.float32(scale) for level, scale in zip(drawn, temperatures, strict=True)]
        feeds: dict[str, np.ndarray] = {
            spec.name: level.astype(spec.dtype, copy=False) for spec, level in zip(specs, z, strict=True)
        }
        if labels is not None:
            feeds["y"] = labels[rows]
        return decoder.run(feeds)["x"], z

    x, z = decode(np.arange(len(indices)), 0)
    bad = np.flatnonzero(~finite_rows(x))
    if bad.size:
        x = x.copy()  # an engine may hand out a view of its own buffer
    attempt = 0
    while bad.size:
        attempt += 1
        attempts[bad] += 1
        if attempt > settings.max_redraws or not any(temperatures):
            words = ", ".join(f"{value:g}" for value in dict.fromkeys(temperatures))
            raise UnsoundModelError(
                f"sample {int(indices[bad[0]])} decodes to non-finite values at temperature {words} "
                f"in {attempt} of {attempt} draws; lower the temperature, or train with the bounded scale"
            )
        x_new, z_new = decode(bad, attempt)
        x[bad] = x_new
        for level, new in zip(z, z_new, strict=True):
            level[bad] = new
        bad = bad[~finite_rows(x_new)]
    return SampleBatch(indices=indices, x=x, z=tuple(z), attempts=attempts, labels=labels)


class SampleOptions(TypedDict, total=False):
    """The fields of `SampleSettings` as keyword arguments."""

    temperature: float | tuple[float, ...]
    seed: int
    batch: int
    labels: tuple[int, ...] | None
    max_redraws: int
