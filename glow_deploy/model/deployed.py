"""A bundle opened to be used: both engines of one model behind one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_flag, as_whole
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import EngineError, UsageError
from glow_deploy.latents import (
    EncodeSettings,
    InterpolationMode,
    InterpolationSettings,
    Latents,
    SampleSettings,
    concatenate_samples,
    decode_latents,
    encode_images,
    interpolate_images,
    way_between,
)
from glow_deploy.latents import sample as draw
from glow_deploy.protocol import Engine
from glow_deploy.scoring import Scores, ScoreSettings, score_images

from .coded import Coded, take_latents
from .facts import ModelFacts
from .intake import Images, take_images
from .labels import Labels, asks_for, labels_for
from .pictures import Pictures

__all__ = ["DeployedGlow"]


class DeployedGlow(ModelFacts):
    """An encoder and a decoder of one Glow, ready to run. Made by `load`; a context manager.

    Images go in as files, PIL images or arrays: see `glow_deploy.model.intake.Images`. `resize=True` crops and
    resamples files and PIL images of another size, turns colour grey for a grey model, and lays transparency over
    white; without it such pictures are refused. Arrays are never resized. A class-conditional model takes `labels`, the
    class of each image or one for all.
    """

    def __init__(self, bundle: Bundle, encoder: Engine, decoder: Engine, *, close: Callable[[], None]) -> None:
        super().__init__(bundle, decoder.details)
        self._engines = encoder, decoder
        self._close = close

    def encode(
        self,
        images: Images,
        *,
        labels: Labels | Literal["best"] | None = None,
        draws: int = 0,
        seed: int = 0,
        batch: int = 64,
        resize: bool = False,
    ) -> Latents:
        """Turn images into latents with their exact log-likelihood.

        Args:
            images: files, PIL images or arrays.
            labels: classes, for a class-conditional model; `"best"` takes each image as the class that makes it
                likeliest.
            draws: draws of dequantisation noise that `bits_per_dim` is averaged over; 0 leaves it out.
            seed: of that noise.
            batch: images at once.
            resize: crop, resample and convert files and PIL images that do not fit, instead of refusing them.

        Returns:
            z1 ... zL, each [N, C, H, W] and standard normal under the model, and `log_prob` [N] in nats.

        Raises:
            DataError: not images, or not of the model's size.
            UsageError: labels that do not fit the model, or an option out of range.

        Examples:
            >>> latents = model.encode(images)
            >>> [level.shape for level in latents.z]
            [(3, 6, 4, 4), (3, 24, 2, 2)]
        """
        values = self._take(images, resize=resize)
        settings = EncodeSettings(draws=draws, seed=seed, batch=batch, best_class=asks_for("best", labels))
        return encode_images(self._encoder, values, settings=settings, labels=self._given(labels, len(values)))

    def decode(self, latents: Coded, *, labels: Labels | None = None, batch: int = 64) -> Pictures:
        """Turn latents back into pictures.

        Args:
            latents: of `encode`, those of `Pictures`, a file of `glow_deploy.save_latents`, or arrays z1 ... zL, each
                [N, C, H, W], in order or by name.
            labels: classes, for a class-conditional model; None takes those that came with the latents.
            batch: images at once.

        Raises:
            DataError: latents of other shapes than the model's, or a file that cannot be read.
            UsageError: not latents, a name that is no level, or labels that do not fit the model.

        Examples:
            >>> bool((model.decode(model.encode(images)).pixels == images).all())
            True
        """
        decoder = self._decoder
        z, own = take_latents(latents, decoder=decoder, labelled=labels is not None)
        given = own if labels is None and decoder.num_classes is not None else labels
        chosen = self._labels(given, len(z[0]) if z[0].ndim else 0)
        decoded = decode_latents(decoder, z, labels=chosen, batch=batch)
        return self._pictures(decoded.x, z, decoded.finite, chosen)

    def reconstruct(self, images: Images, *, labels: Labels | None = None, resize: bool = False) -> Pictures:
        """Encode images and decode them again: a sound model gives every pixel back."""
        return self.decode(self.encode(images, labels=labels, resize=resize))

    def sample(
        self,
        n: int = 16,
        *,
        temperature: float | Sequence[float] = 0.7,
        seed: int = 0,
        labels: Labels | Literal["all"] | None = None,
        batch: int = 64,
    ) -> Pictures:
        """Draw pictures. Sample i depends on (seed, i) alone, whatever the backend and the batch.

        Args:
            n: how many.
            temperature: scales every latent, 0 to 100; 1 is the model itself. Several: one for each level, z1 first.
            seed: of the draws, 0 to 2^64-1.
            labels: classes, for a class-conditional model; several are taken in turn, `"all"` takes every one.
            batch: images at once.

        Raises:
            UsageError: an option is out of range.
            UnsoundModelError: a sample stays without finite values, however often it is drawn.

        Examples:
            >>> model.sample(2, temperature=1.0, seed=7)
            Pictures(2 of 3x8x8)
        """
        count = as_whole("n", n, least=1)
        chosen = range(self.num_classes or 1) if asks_for("all", labels) else labels
        # The settings take whatever a user has, and refuse the rest.
        settings = SampleSettings(temperature=temperature, seed=seed, batch=batch, labels=chosen)  # type: ignore[arg-type]
        drawn = concatenate_samples(draw(self._decoder, count=count, settings=settings))
        return self._pictures(drawn.x, drawn.z, np.ones(len(drawn), bool), drawn.labels)

    def interpolate(
        self,
        a: Images | Latents,
        b: Images | Latents,
        *,
        steps: int = 9,
        mode: InterpolationMode = "linear",
        labels: Labels | None = None,
        resize: bool = False,
    ) -> Pictures:
        """Show what lies between two images in the latents, both ends included.

        Args:
            a: one image; or its `Latents`. One of `Pictures` goes from the latents it was decoded from.
            b: another.
            steps: pictures on the way, 2 to 1000.
            mode: straight in the latents, or along great circles.
            labels: the class of each end, or one for both, for a class-conditional model; each picture is decoded as
                the class of the nearer end. None takes those that came with the latents.
            resize: crop, resample and convert files and PIL images that do not fit, instead of refusing them.

        Examples:
            >>> len(model.interpolate(images[0], images[1], steps=5))
            5
            >>> first, last = model.sample(2)[0], model.sample(2)[1]
            >>> len(model.interpolate(first, last))
            9
        """
        settings = InterpolationSettings(steps=steps, mode=mode)
        if isinstance(a, (Latents, Pictures)) or isinstance(b, (Latents, Pictures)):
            return self._between((a, b), settings, labels=labels, resize=resize)
        ends = [self._take(image, resize=resize) for image in (a, b)]
        if any(len(end) != 1 for end in ends):
            raise UsageError(f"name one image for each end, not {len(ends[0])} and {len(ends[1])}")
        encoder, decoder = self._encoder, self._decoder
        given = self._labels(labels, 2)
        found = interpolate_images(encoder, decoder, np.concatenate(ends), settings=settings, labels=given)
        return self._pictures(found.x, found.z, found.finite, found.labels, columns=found.columns)

    def _between(
        self,
        ends: tuple[Images | Latents, Images | Latents],
        settings: InterpolationSettings,
        *,
        labels: Labels | None,
        resize: bool,
    ) -> Pictures:
        """`interpolate` where an end has latents already."""
        given = None if labels is None else self._labels(labels, 2)
        found: list[Latents | Pictures] = []
        for side, end in enumerate(ends):
            one = None if given is None else given[side : side + 1]
            found.append(end if isinstance(end, (Latents, Pictures)) else self.encode(end, labels=one, resize=resize))
            if len(found[-1]) != 1:
                raise UsageError(f"name one image for each end, not {len(found[-1])}; pick one, such as pictures[0]")
        own = [end.labels for end in found if end.labels is not None]
        classes = np.concatenate(own) if given is None and len(own) == 2 else given
        levels = [tuple(level[0] for level in end.z) for end in found]
        z, chosen = way_between(levels, classes, steps=settings.steps, mode=settings.mode)
        decoded = decode_latents(self._decoder, z, labels=chosen, batch=settings.batch)
        return self._pictures(decoded.x, z, decoded.finite, chosen, columns=settings.steps)

    def score(
        self,
        images: Images,
        *,
        labels: Labels | Literal["best"] | None = None,
        draws: int = 8,
        seed: int = 0,
        batch: int = 64,
        resize: bool = False,
    ) -> Scores:
        """Measure how likely images are under the model.

        Args:
            images: files, PIL images or arrays.
            labels: classes, for a class-conditional model; `"best"` takes each image as the class that makes it
                likeliest.
            draws: draws of dequantisation noise that is averaged over, at least 1.
            seed: of that noise.
            batch: images at once.
            resize: crop, resample and convert files and PIL images that do not fit, instead of refusing them.

        Returns:
            `log_prob` in nats, `bits_per_dim` and `level_squares`, one row an image.

        Examples:
            >>> model.score(images).bits_per_dim.shape
            (3,)
        """
        values = self._take(images, resize=resize)
        settings = ScoreSettings(draws=draws, seed=seed, batch=batch, best_class=asks_for("best", labels))
        return score_images(self._encoder, values, settings=settings, labels=self._given(labels, len(values)))

    def close(self) -> None:
        """Give memory and device back; twice is harmless."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        self._need_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _encoder(self) -> Engine:
        self._need_open()
        return self._engines[0]

    @property
    def _decoder(self) -> Engine:
        self._need_open()
        return self._engines[1]

    def _need_open(self) -> None:
        if self._closed:
            raise EngineError(f"this model is closed; open it again with glow_deploy.load({str(self.path)!r})")

    def _take(self, images: Images, *, resize: bool) -> npt.NDArray[np.uint8]:
        self._need_open()
        allowed = as_flag("resize", resize)
        return take_images(images, shape=self.image_shape, n_bits=self.n_bits, resize=allowed)

    def _given(self, labels: Labels | Literal["best"] | None, count: int) -> npt.NDArray[np.int64] | None:
        return None if isinstance(labels, str) else self._labels(labels, count)

    def _labels(self, labels: Labels | None, count: int) -> npt.NDArray[np.int64] | None:
        return labels_for(self._encoder, labels, count)

    def _pictures(
        self,
        x: npt.NDArray[np.floating],
        z: Sequence[npt.NDArray[np.floating]],
        finite: npt.NDArray[np.bool_],
        labels: npt.NDArray[np.int64] | None,
        *,
        columns: int | None = None,
    ) -> Pictures:
        return Pictures(x=x, z=tuple(z), finite=finite, n_bits=self.n_bits, labels=labels, columns=columns)
