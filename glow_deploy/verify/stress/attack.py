"""The half-bin attack: how bad can the round trip get without a single pixel changing its value?

Sign-gradient ascent on |x - decode(encode(x))| within half a quantisation bin of an image, from a random start
(Behrmann et al. 2021, section 5.1: arXiv 2006.09347). The steps and the ball are here, in NumPy; the gradient comes
from the trained model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from glow_deploy.latents.specs import finite_rows
from glow_deploy.numerics.measures import half_bin
from glow_deploy.progress import CountProgress
from glow_deploy.verify.report.stress_rows import AttackedBackend, AttackReport

from .rows import chunks, cycle, image_rms

if TYPE_CHECKING:
    from glow_deploy.verify.backends.backend import Backend

__all__ = ["Ball", "Gradient", "measure_attack"]

Float32Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64] | None


class Gradient(Protocol):
    """A round trip that can be differentiated: `engines.pytorch_gradient.RoundTripGradient`."""

    def round_trip(self, x: Float32Array, y: Labels) -> Float32Array:
        """Encode and decode images."""
        ...

    def ascend(self, x: Float32Array, y: Labels) -> tuple[Float32Array, Float32Array]:
        """Give the reconstructions, and the gradient of each image's squared error."""
        ...


class Ball:
    """All images that a quantiser takes for the same pixels as x: within half a bin, the upper end left out.

    Args:
        x: float32 [N, C, H, W] at bin centres.
        n_bits: of the pixels.
    """

    def __init__(self, x: Float32Array, *, n_bits: int) -> None:
        self.radius = half_bin(n_bits)
        # Both sums are exact in float32. The bin is half open, so its upper end belongs to the next pixel value.
        self.low = np.maximum(x - np.float32(self.radius), np.float32(0))
        self.high = np.nextafter(x + np.float32(self.radius), np.float32(0))

    def draw(self, rng: np.random.Generator) -> Float32Array:
        """A random point for each image."""
        share = rng.random(self.low.shape, dtype=np.float32)
        return self.project(self.low + share * (self.high - self.low))

    def project(self, x: npt.NDArray[np.floating]) -> Float32Array:
        """The nearest points inside."""
        return np.asarray(np.clip(x, self.low, self.high), dtype=np.float32)


def measure_attack(
    gradient: Gradient,
    backends: Sequence[Backend],
    x: np.ndarray,
    y: np.ndarray | None,
    *,
    name: str,
    n_bits: int,
    images: int,
    steps: int,
    step: float,
    seed: int,
    batch: int,
    progress: CountProgress | None = None,
) -> AttackReport:
    """Attack the trained model, then run what was found through every backend.

    Args:
        gradient: of the trained model in float32.
        backends: that the attacked images are run through; they have no part in finding them.
        x: float32 [N, C, H, W] at bin centres; repeated, from other starting points, where there are fewer than
            `images`, and spread evenly over where there are more.
        y: labels [N], or None.
        name: of what is attacked, for the report.
        n_bits: of the model.
        images: how many are attacked.
        steps: of ascent.
        step: length of one, as a share of half a bin.
        seed: of the starting points.
        batch: images at a time.
        progress: called with (images done times steps, all).
    """
    chosen = np.arange(images) % len(x) if images > len(x) else np.arange(images) * len(x) // images
    centres = np.ascontiguousarray(x[chosen], dtype=np.float32)
    labels = None if y is None else cycle(y, len(x))
    labels = None if labels is None else labels[chosen]
    found = [
        _attack(
            gradient,
            centres[part],
            None if labels is None else labels[part],
            n_bits=n_bits,
            steps=steps,
            step=step,
            rng=np.random.default_rng([seed, part.start]),
            progress=_shifted(progress, part, steps=steps, images=images),
        )
        for part in chunks(images, batch)
    ]
    start, worst, x_hat = (np.concatenate([getattr(piece, key) for piece in found]) for key in ("start", "x", "x_hat"))
    attacked = _errors(
        name, start_rms=np.concatenate([piece.start_rms for piece in found]), x=worst, x_hat=x_hat, n_bits=n_bits
    )
    random = np.concatenate([piece.random_rms for piece in found])
    top = int(image_rms(x_hat, worst).argmax())
    return AttackReport(
        attacked=attacked,
        steps=steps,
        step=step * half_bin(n_bits),
        epsilon=half_bin(n_bits),
        random_mean_rms=float(random.mean()),
        random_worst_rms=float(random.max()),
        non_finite_by_step=tuple(int(count) for count in np.sum([piece.lost for piece in found], axis=0)),
        worst_image=top,
        worst_x=worst[top],
        worst_x_hat=x_hat[top],
        deployed=tuple(_deployed(backend, start, worst, labels, n_bits=n_bits, batch=batch) for backend in backends),
    )


class _Found:
    """What the attack on one batch came to; the fields are arrays over its images, but for `lost`, over the steps."""

    def __init__(self, start: Float32Array, *, steps: int) -> None:
        self.start = start
        self.x = start.copy()
        self.x_hat = start.copy()
        self.rms = np.full(len(start), -1.0)
        self.start_rms = np.zeros(len(start))
        self.random_rms = np.zeros(len(start))
        self.lost = np.zeros(steps + 1, dtype=np.int64)

    def keep(self, x: Float32Array, x_hat: Float32Array, *, at: int) -> None:
        """Keep each image that is worse than any before it; the first non-finite one stays."""
        rms = image_rms(x_hat, x)
        self.lost[at] = np.count_nonzero(np.isinf(rms))
        if at == 0:
            self.start_rms = rms
        worse = rms > self.rms
        self.x[worse], self.x_hat[worse], self.rms[worse] = x[worse], x_hat[worse], rms[worse]


def _attack(
    gradient: Gradient,
    centres: Float32Array,
    y: Labels,
    *,
    n_bits: int,
    steps: int,
    step: float,
    rng: np.random.Generator,
    progress: Callable[[int], None] | None,
) -> _Found:
    ball = Ball(centres, n_bits=n_bits)
    x = ball.draw(rng)
    found = _Found(x, steps=steps)
    length = np.float32(step * ball.radius)
    for at in range(steps + 1):
        x_hat, slope = gradient.ascend(x, y)
        found.keep(x, x_hat, at=at)
        # As many random points as the ascent looks at, so that the two are compared fairly.
        point = ball.draw(rng)
        found.random_rms = np.maximum(found.random_rms, image_rms(gradient.round_trip(point, y), point))
        # Where the gradient is no number there is nowhere to go; the image stays where it broke.
        slope[~np.isfinite(slope)] = 0.0
        x = ball.project(x + length * np.sign(slope))
        if progress is not None:
            progress(at)
    return found


def _deployed(
    backend: Backend, start: Float32Array, worst: Float32Array, y: Labels, *, n_bits: int, batch: int
) -> AttackedBackend:
    """Run the starting points and the attacked images through a backend."""

    def round_trip(x: Float32Array) -> np.ndarray:
        pieces = []
        for part in chunks(len(x), batch):
            labels = None if y is None else y[part]
            pieces.append(backend.decode(backend.encode(x[part], labels).z, labels))
        return np.concatenate(pieces)

    return _errors(
        backend.name, start_rms=image_rms(round_trip(start), start), x=worst, x_hat=round_trip(worst), n_bits=n_bits
    )


def _errors(
    name: str, *, start_rms: npt.NDArray[np.float64], x: np.ndarray, x_hat: np.ndarray, n_bits: int
) -> AttackedBackend:
    finite = finite_rows(x_hat)
    rms = image_rms(x_hat, x)[finite]
    error = np.abs(x_hat.astype(np.float64) - x.astype(np.float64))
    exact = (error < half_bin(n_bits)).reshape(len(x), -1).all(axis=1)
    usable = start_rms[np.isfinite(start_rms)]
    return AttackedBackend(
        backend=name,
        images=len(x),
        non_finite=int(np.count_nonzero(~finite)),
        start_rms=float(usable.mean()) if usable.size else math.nan,
        mean_rms=float(rms.mean()) if rms.size else math.nan,
        worst_rms=float(rms.max()) if rms.size else math.nan,
        worst_max=float(error[finite].max()) if rms.size else math.nan,
        exact_images=int(np.count_nonzero(exact)),
    )


def _shifted(progress: CountProgress | None, part: slice, *, steps: int, images: int) -> Callable[[int], None] | None:
    if progress is None:
        return None
    before, size = part.start * (steps + 1), part.stop - part.start
    return lambda at: progress(before + size * (at + 1), images * (steps + 1))
