"""Whether a latent still decodes to something that the encoder takes back to it, and how far along a line it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_real, settle
from glow_deploy.errors import UnsoundModelError
from glow_deploy.latents.coding import decode_latents
from glow_deploy.latents.specs import finite_rows, latent_specs, need_role
from glow_deploy.protocol import Engine

__all__ = ["Examined", "Soundness", "bisect", "examine", "round_trip_limits"]

Levels = Sequence[npt.NDArray[np.floating]]

_OWN = 4.0  # a decode may be so many times as far off as the image's own, where that is more than the tolerance
_HOPELESS = 1.0  # a whole standard deviation of the latents: beyond it nothing is being inverted


@dataclass(frozen=True, kw_only=True)
class Soundness:
    """What a decode must keep to count as sound: finite, near the range of pictures, and re-encoded to where it was.

    Attributes:
        tolerance: largest |encode(decode(z)) - z| of any latent, whose standard deviation under the model is 1.
            Engines of reduced precision may be coarser than that by themselves: an image may be 4 times as far off as
            it is unedited.
        margin: how far decoded values may leave [0, 1), in widths of that range: 2 allows [-2, 3].
    """

    tolerance: float = 0.01
    margin: float = 2.0

    def __post_init__(self) -> None:
        settle(self, as_real, "tolerance", above=0, most=_HOPELESS)
        settle(self, as_real, "margin", least=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Examined:
    """n decodes, looked at.

    Attributes:
        x: [n, C, H, W] as decoded, not clamped.
        overshoot: float64 [n], how far the farthest value lies outside [0, 1]; 0 inside, inf where not finite.
        round_trip: float64 [n], largest |encode(x) - z|; inf where x or what it encodes to is not finite.
    """

    x: npt.NDArray[np.floating]
    overshoot: npt.NDArray[np.float64]
    round_trip: npt.NDArray[np.float64]

    def sound(self, soundness: Soundness, limits: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Tell which rows are sound; bool [n]. `limits` [n] are those of `round_trip_limits`."""
        return (self.overshoot <= soundness.margin) & (self.round_trip <= limits)

    def fault(self, row: int, soundness: Soundness, limit: float) -> str:
        """Say what is wrong with a row that is not sound."""
        if not np.isfinite(self.overshoot[row]):
            return "decodes to non-finite values"
        if self.overshoot[row] > soundness.margin:
            low, high = float(self.x[row].min()), float(self.x[row].max())
            allowed = f"[{0 - soundness.margin:g}, {1 + soundness.margin:g}]"
            return f"decodes to values from {low:.3g} to {high:.3g}, beyond {allowed}"
        return f"re-encodes {self.round_trip[row]:.2g} away from itself, more than {limit:.2g}"


def examine(
    encoder: Engine,
    decoder: Engine,
    z: Levels,
    *,
    labels: npt.NDArray[np.int64] | None = None,
    batch: int = 64,
) -> Examined:
    """Decode latents and encode what comes out again.

    Args:
        encoder: of the same model as the decoder.
        decoder: open as well.
        z: z1 ... zL, each [n, C, H, W], n >= 1.
        labels: int64 [n] for class-conditional models.
        batch: rows run at once.

    Raises:
        UsageError: an engine of the wrong role, or labels are missing or not wanted.
        DataError: the latents do not fit the model.
    """
    need_role(encoder, "encoder", "examining a decode")
    decoded = decode_latents(decoder, z, labels=labels, batch=batch)
    rows = np.flatnonzero(decoded.finite)
    x = decoded.x.astype(np.float64)
    outside = np.maximum(np.maximum(-x, x - 1), 0).reshape(len(x), -1).max(axis=1)
    overshoot = np.where(decoded.finite, outside, np.inf)
    round_trip = np.full(len(x), np.inf)
    dtype = next(spec.dtype for spec in encoder.inputs if spec.name == "x")
    names = [spec.name for spec in latent_specs(encoder.outputs)]
    for first in range(0, len(rows), batch):
        part = rows[first : first + batch]
        feeds: dict[str, np.ndarray] = {"x": decoded.x[part].astype(dtype, copy=False)}
        if labels is not None:
            feeds["y"] = labels[part]
        out = encoder.run(feeds)
        worst = np.zeros(len(part))
        for name, level in zip(names, z, strict=True):
            again = out[name].astype(np.float64)
            again[~finite_rows(again)] = np.inf
            away = np.abs(again - level[part].astype(np.float64)).reshape(len(part), -1).max(axis=1)
            worst = np.maximum(worst, away)
        round_trip[part] = worst
    return Examined(x=decoded.x, overshoot=overshoot, round_trip=round_trip)


def round_trip_limits(unedited: Examined, soundness: Soundness, *, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """How far each image's edits may re-encode away from themselves, float64 [n].

    Raises:
        UnsoundModelError: an image is not sound even as it is; there is nothing to scale back to.
    """
    limits = np.maximum(soundness.tolerance, np.minimum(_OWN * unedited.round_trip, _HOPELESS))
    bad = np.flatnonzero(~unedited.sound(soundness, limits))
    if bad.size:
        row = int(bad[0])
        raise UnsoundModelError(
            f"{names[row]} as it is {unedited.fault(row, soundness, float(limits[row]))}: this model does not "
            "invert the image, so it cannot be edited; see `glow-deploy verify`"
        )
    return limits


def bisect(
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    holds: Callable[[npt.NDArray[np.int64], npt.NDArray[np.float64]], npt.NDArray[np.bool_]],
    *,
    steps: int,
) -> npt.NDArray[np.float64]:
    """Move each row's `low`, where something holds, towards its `high`, where it does not.

    Args:
        low: [n].
        high: [n]; rows where it equals `low` are done.
        holds: tells for rows (their numbers, and a value each) whether it holds there.
        steps: halvings.

    Returns:
        The largest values, float64 [n], at which it was seen to hold, or `low`.

    Examples:
        >>> edges = np.array([0.3, 2.0, 0.0])
        >>> found = bisect(np.zeros(3), np.ones(3), lambda rows, values: values <= edges[rows], steps=10)
        >>> [round(value, 2) for value in found.tolist()]
        [0.3, 1.0, 0.0]
    """
    low, high = low.astype(np.float64), high.astype(np.float64)
    rows = np.flatnonzero(high > low)
    for _ in range(steps if rows.size else 0):
        middle = (low[rows] + high[rows]) / 2
        good = holds(rows, middle)
        low[rows[good]] = middle[good]
        high[rows[~good]] = middle[~good]
    return low
