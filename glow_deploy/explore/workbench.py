"""What the page does, without a page: open an image, look at its latents, change them, decode."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glow_deploy.artifact.bundle import Bundle, while_unchanged
from glow_deploy.artifact.golden import Golden
from glow_deploy.directions.directions import Directions
from glow_deploy.directions.files import load_directions
from glow_deploy.directions.soundness import Examined, Soundness, bisect, examine, round_trip_limits
from glow_deploy.engines.pair import open_pair
from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.images import values_to_pixels, values_to_x, x_to_pixels, x_to_values
from glow_deploy.latents import EncodeSettings, Latents, SampleSettings, encode_images, latent_specs, sample

from .changes import Change, changed_latents
from .familiarity import golden_range
from .settings import ExploreSettings

__all__ = ["Opened", "Shown", "Workbench"]

_HALVINGS = 10  # as `edit` takes them, so that both end at the same picture


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """An image that was encoded, and decoded again.

    Attributes:
        values: uint8 [C, H, W], 8-bit values as they were read.
        latents: of the image, n = 1, with its likelihood; `labels` where the model has classes.
        x_hat: [C, H, W], decoded from them, not clamped; may hold values that are not finite.
        limit: how far a change may re-encode away from itself; None where the image itself cannot be held to any.
        trouble: why it cannot be changed, or empty.
    """

    values: npt.NDArray[np.uint8]
    latents: Latents
    x_hat: npt.NDArray[np.floating]
    limit: float | None
    trouble: str

    @property
    def z(self) -> tuple[npt.NDArray[np.floating], ...]:
        """z1 ... zL, [C, H, W]."""
        return tuple(level[0] for level in self.latents.z)

    @property
    def label(self) -> int | None:
        """The class it was encoded as."""
        return None if self.latents.labels is None else int(self.latents.labels[0])

    @property
    def size(self) -> int:
        """Bytes that it takes to keep."""
        return self.values.nbytes + self.x_hat.nbytes + sum(level.nbytes for level in self.latents.z)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What a change looks like.

    Attributes:
        x: [C, H, W] as decoded, finite, not clamped.
        values: uint8 [C, H, W], the picture.
        z: z1 ... zL, float32 [C, H, W], of the picture shown.
        label: the class it was decoded as.
        kept: how much of the change is left: 1 all of it, less where it was scaled back until it was sound.
        fault: what was wrong with the whole change; empty where nothing was.
        round_trip: largest |encode(x) - z|.
        overshoot: how far x leaves [0, 1], in pixel steps.
        clipped: share of the values that leave it by more than half a step.
    """

    x: npt.NDArray[np.floating]
    values: npt.NDArray[np.uint8]
    z: tuple[npt.NDArray[np.floating], ...]
    label: int | None
    kept: float
    fault: str
    round_trip: float
    overshoot: float
    clipped: float


class Workbench:
    """The engines of one bundle, run by one caller at a time. A context manager.

    Args:
        bundle: the folder.
        settings: see there.

    Raises:
        GlowDeployError: the bundle, an engine of it or the file of directions cannot be used.
    """

    def __init__(self, bundle: str | Path, *, settings: ExploreSettings) -> None:
        self.path = Path(bundle)
        self.settings = settings
        self._lock = threading.Lock()
        while_unchanged(bundle, self._open)
        self.soundness = Soundness() if self.directions is None else self.directions.soundness
        self.shape = self.bundle.manifest.image_shape
        self.n_bits = self.encoder.n_bits

    def _open(self, bundle: Bundle) -> None:
        """Take in everything of one bundle."""
        settings = self.settings
        self.bundle = bundle
        self.golden: Golden | None = bundle.golden()
        self.golden_range = golden_range(bundle, self.golden)
        with ExitStack() as stack:
            self.encoder, self.decoder = stack.enter_context(
                open_pair(
                    self.path,
                    flavor=settings.flavor,
                    device=settings.device,
                    threads=settings.threads,
                    trust_engine=settings.trust_engine,
                )
            )
            self.directions: Directions | None = None
            if settings.directions is not None:
                model_id = self.bundle.manifest.model_id
                self.directions = load_directions(settings.directions, self.decoder.inputs, model_id=model_id)
            bundle.check_unchanged()
            self._close = stack.pop_all()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the engines back; twice is harmless."""
        with self._lock:
            self._close.close()

    @property
    def latent_shapes(self) -> tuple[tuple[int, ...], ...]:
        """(C, H, W) of z1 ... zL."""
        return tuple(spec.shape for spec in latent_specs(self.decoder.inputs))

    def golden_values(self, index: int) -> npt.NDArray[np.uint8]:
        """One golden image of the bundle as 8-bit values, uint8 [C, H, W].

        Raises:
            DataError: there is no such image.
        """
        count = 0 if self.golden is None else len(self.golden)
        if self.golden is None or not 0 <= index < count:
            raise DataError(f"there is no golden image {index}; this bundle has {count}")
        return x_to_values(self.golden.x[index], self.n_bits)

    def golden_label(self, index: int) -> int | None:
        """The class of a golden image."""
        return None if self.golden is None or self.golden.y is None else int(self.golden.y[index])

    def sample_values(
        self, *, seed: int, temperature: float | tuple[float, ...], label: int | None
    ) -> npt.NDArray[np.uint8]:
        """The first sample of a seed as 8-bit values, as `glow-deploy sample` draws it.

        Raises:
            UsageError: an option is out of range.
            UnsoundModelError: no draw decodes to finite values.
        """
        settings = SampleSettings(seed=seed, temperature=temperature, labels=None if label is None else (label,))
        with self._lock:
            batch = next(sample(self.decoder, count=1, settings=settings))
        return x_to_values(batch.x[0], self.n_bits)

    def open(self, values: npt.NDArray[np.uint8], *, name: str, label: int | None = None) -> Opened:
        """Encode an image at bin centres, measure its likelihood, and decode it again.

        Args:
            values: uint8 [C, H, W], of the model's size.
            name: what messages call it.
            label: its class, for class-conditional models; None takes the one that makes it likeliest.

        Raises:
            UsageError: a class for a model that has none.
            DataError: the image does not fit, or there is no such class.
            UnsoundModelError: its latents or its likelihood are not finite.
        """
        best = self.encoder.num_classes is not None and label is None
        coding = EncodeSettings(draws=self.settings.draws, seed=self.settings.seed, best_class=best)
        labels = None if label is None else [label]
        with self._lock:
            latents = encode_images(self.encoder, values[None], settings=coding, names=[name], labels=labels)
            seen = examine(self.encoder, self.decoder, latents.z, labels=latents.labels)
        limit, trouble = None, ""
        try:
            limit = float(round_trip_limits(seen, self.soundness, names=[name])[0])
        except UnsoundModelError as error:
            trouble = str(error)
        return Opened(values=values, latents=latents, x_hat=seen.x[0], limit=limit, trouble=trouble)

    def change(self, opened: Opened, change: Change, *, other: Opened | None = None) -> Shown:
        """Change an image's latents and decode them, scaled back towards the image as far as soundness asks for.

        Sound is what decodes to finite values near the range of pictures and is encoded to where it came from again.
        So nothing that is not finite is ever returned.

        Raises:
            UsageError: what is asked for is not there, or out of range.
            DataError: there is no such class, or no way to the other image.
            UnsoundModelError: the model does not even invert the image as it is.
        """
        if opened.limit is None:
            raise UnsoundModelError(opened.trouble)
        limits = np.array([opened.limit])
        label = opened.label if change.label is None else change.label
        if change.label is not None and opened.label is None:
            raise UsageError("this model is not class-conditional; leave the class out")
        labels = None if label is None else np.array([label], np.int64)
        start = opened.z
        target = changed_latents(start, change, other=None if other is None else other.z, directions=self.directions)
        seen: dict[float, Examined] = {}
        fault = ""

        def part(kept: float) -> tuple[npt.NDArray[np.floating], ...]:
            if kept == 1:
                return target
            return tuple(
                (a + kept * (b.astype(np.float64) - a)).astype(np.float32) for a, b in zip(start, target, strict=True)
            )

        def holds(rows: npt.NDArray[np.int64], kept: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
            nonlocal fault
            found = examine(self.encoder, self.decoder, [level[None] for level in part(kept[0])], labels=labels)
            good = found.sound(self.soundness, limits)
            if good[0]:
                seen[float(kept[0])] = found
            elif kept[0] == 1:
                fault = found.fault(0, self.soundness, limits[0])
            return good

        with self._lock:
            kept = 1.0
            if not holds(np.zeros(1, np.int64), np.ones(1))[0]:
                if not holds(np.zeros(1, np.int64), np.zeros(1))[0]:  # only another class can spoil the image itself
                    raise UnsoundModelError(f"this image as class {label} {fault}; choose another class")
                kept = float(bisect(np.zeros(1), np.ones(1), holds, steps=_HALVINGS)[0])
        return self._shown(seen[kept], part(kept), label=label, kept=kept, fault=fault)

    def original_x(self, opened: Opened) -> npt.NDArray[np.float32]:
        """The image as the model read it, float32 [C, H, W], at bin centres."""
        return values_to_x(opened.values, self.n_bits)

    def seen_values(self, opened: Opened) -> npt.NDArray[np.uint8]:
        """The image as the model sees it, uint8 [C, H, W]: 8-bit values of its n-bit pixels."""
        return x_to_values(self.original_x(opened), self.n_bits)

    def exact_pixels(self, opened: Opened) -> int:
        """How many of the C*H*W pixel values come back as they were."""
        finite = np.isfinite(opened.x_hat)
        pixels = x_to_pixels(np.where(finite, opened.x_hat, 0), self.n_bits)
        return int((finite & (pixels == values_to_pixels(opened.values, self.n_bits))).sum())

    def _shown(
        self,
        found: Examined,
        z: Sequence[npt.NDArray[np.floating]],
        *,
        label: int | None,
        kept: float,
        fault: str,
    ) -> Shown:
        x = found.x[0]
        steps = float(2**self.n_bits)
        beyond = np.maximum(np.maximum(-x.astype(np.float64), x.astype(np.float64) - 1), 0) * steps
        return Shown(
            x=x,
            values=x_to_values(x, self.n_bits),
            z=tuple(z),
            label=label,
            kept=kept,
            fault=fault,
            round_trip=float(found.round_trip[0]),
            overshoot=float(found.overshoot[0]) * steps,
            clipped=float((beyond > 0.5).mean()),
        )
