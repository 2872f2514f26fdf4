"""How much decoding magnifies an error made at each step, measured by float64 probes of the decoder graph.

Each probe moves the decoder's tensor after one step by a random sign times a millionth of its size, decodes the rest
and compares. The graphs alone are needed, no torch and no checkpoint.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.errors import BundleError, UsageError
from glow_deploy.folding.arrays import edge_map
from glow_deploy.numerics.float64 import Float64Graph
from glow_deploy.numerics.float64.ops import OPERATORS
from glow_deploy.progress import StageProgress

from .profile import DecodeProfile, StepProfile

if TYPE_CHECKING:
    import onnx

__all__ = [
    "PROBES",
    "measure_gains",
    "measure_profile",
]

PROBE = 1e-6  # of the tensor's rms: far above float64's rounding, and small enough for every model seen to be linear
COARSE = 1.3 * 2.0**-11  # the error a step of a float16 or TF32 graph adds, relative to its output's rms
PROBES = 1
MOST_IMAGES, FEWEST_IMAGES = 8, 2
EFFORT = 1.5e12  # multiply-adds that the choice of images stays below: a minute or two on one core
BATCH = 4  # images at a time: the tensors of all steps are kept


_STEP_OUTPUT = re.compile(r"(level\d+/step\d+)/invconv:0")


def measure_gains(
    encoder: onnx.ModelProto,
    decoder: onnx.ModelProto,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    images: int | None = None,
    probes: int = PROBES,
    seed: int = 0,
    progress: StageProgress | None = None,
) -> dict[str, float]:
    """The decode gain of every step, root mean square over the images; arguments as for `measure_profile`.

    Returns:
        Step path, in encoding order -> gain; infinite or NaN where decoding overflows.
    """
    graphs = Float64Graph(encoder, source="the encoder"), Float64Graph(decoder, source="the decoder")
    return measure_profile(*graphs, x, y, images=images, probes=probes, seed=seed, progress=progress).gains


def measure_profile(
    encoder: Float64Graph,
    decoder: Float64Graph,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    images: int | None = None,
    probes: int = PROBES,
    seed: int = 0,
    progress: StageProgress | None = None,
) -> DecodeProfile:
    """Measure every step of every level.

    The cost is that of images · K·L · (probes + 1) / 2 decodes in float64: a second or two for 8 images on a model of
    K=8, L=2 and width 64. K=32, L=3 and width 512 takes some 6e11 multiply-adds an image of 32x32, which is about a
    minute on one core, and four times that at 64x64.

    Args:
        encoder: of the model.
        decoder: of the same.
        x: images [N,C,H,W] in [0,1), N >= 1.
        y: labels [N] of a class-conditional model.
        images: how many of them to measure on, spread evenly over the set; all where there are fewer. None takes 8 of a
            small model and fewer of a large one, at least 2.
        probes: random sign patterns a step, >= 1.
        seed: of the patterns.
        progress: called with what is done, steps done and steps in all.

    Raises:
        UsageError: arguments out of range, or images and labels that do not fit the graphs.
        BundleError: the decoder's tensors do not have the names that this release gives them.
    """
    if x.ndim != 4:
        raise UsageError(f"images must be [N,C,H,W], not {x.shape}")
    if min(probes, len(x)) < 1 or (images is not None and images < 1):
        raise UsageError("measuring gains needs at least one image and one probe")
    paths = [match[1] for name in decoder.tensor_names if (match := _STEP_OUTPUT.fullmatch(name))]
    if not paths:
        raise BundleError("the decoder has no tensors named levelL/stepSS/invconv:0; export it again")
    if images is None:
        effort = _effort(decoder, paths, pixels=x.shape[2] * x.shape[3], probes=probes)
        images = min(MOST_IMAGES, max(FEWEST_IMAGES, int(EFFORT / effort)))
    chosen = np.unique(np.linspace(0, len(x) - 1, min(images, len(x))).round().astype(np.int64))
    parts: list[tuple[list[StepProfile], int, float]] = []
    total = len(paths) * -(-len(chosen) // BATCH)
    for first in range(0, len(chosen), BATCH):
        batch = chosen[first : first + BATCH]
        labels = {} if y is None else {"y": np.asarray(y)[batch]}
        pictures = np.asarray(x[batch], dtype=np.float64)
        probe = _Probe(encoder, decoder, pictures, labels, paths, np.random.default_rng([seed, first]))
        for path in paths:
            probe.measure(path, probes)
            if progress is not None:
                progress("error budget", len(parts) * len(paths) + len(probe.rows), total)
        parts.append((probe.rows, *probe.disturb()))
    steps = tuple(_join([rows[index] for rows, _, _ in parts]) for index in range(len(paths)))
    return DecodeProfile(
        steps=steps,
        images=len(chosen),
        coarse_non_finite=sum(lost for _, lost, _ in parts),
        coarse_largest=float(np.max([largest for _, _, largest in parts])),
    )


def _effort(decoder: Float64Graph, paths: Sequence[str], *, pixels: int, probes: int) -> float:
    """Multiply-adds of all probes of one image."""
    costs = []
    for path in paths:
        level = int(path.partition("/")[0].removeprefix("level"))
        names = ("invconv", "coupling/conv1", "coupling/conv2", "coupling/conv3")
        costs.append(sum(decoder.weight_size(f"{path}/{name}/weight") for name in names) * pixels / 4**level)
    # A probe after a step decodes those that are left; the response decodes from the step itself.
    remaining = np.cumsum(costs[::-1])[::-1]
    return float(((probes + 1) * remaining).sum())


class _Probe:
    """One batch of images: what the decoder computes for them, and what comes of changing it."""

    def __init__(
        self,
        encoder: Float64Graph,
        decoder: Float64Graph,
        x: np.ndarray,
        labels: Mapping[str, np.ndarray],
        paths: Sequence[str],
        rng: np.random.Generator,
    ) -> None:
        self._decoder = decoder
        self._paths = paths
        self._rng = rng
        self.rows: list[StepProfile] = []
        latents = [name for name in decoder.input_names if name != "y"]
        self._feeds = {**encoder.run({"x": x, **labels}, outputs=latents), **labels}
        known = set(decoder.tensor_names)
        names = [f"{path}/{part}" for path in paths for part in ("invconv:0", "coupling/split:0", "coupling/conv3:0")]
        names += [f"{path}/coupling/inverse_scale:0" for path in paths]
        self._base = decoder.run(self._feeds, outputs=["x", *(name for name in names if name in known)])

    def measure(self, path: str, probes: int) -> None:
        """Append one step's profile."""
        base, output = self._base, f"{path}/invconv:0"
        h, kept = base[output], base[f"{path}/coupling/split:0"]
        with np.errstate(all="ignore"):
            rms = _rms(h)
            size = PROBE * np.where(rms > 0.0, rms, 1.0)
            square = np.zeros(len(h))
            for _ in range(probes):
                signs = self._rng.choice([-1.0, 1.0], size=h.shape)
                square += np.square(self._change(output, size[:, None, None, None] * signs) / size)
            rounding, largest = _rounding(self._decoder, path, kept)
            inverse = base.get(f"{path}/coupling/inverse_scale:0")
            row = StepProfile(
                step=path,
                gain=np.sqrt(square / probes),
                rms=rms,
                # Two independent errors, one of each direction.
                response=np.sqrt(2.0) * self._change(f"{path}/coupling/conv3:0", rounding),
                kept_rms=_rms(kept),
                kept_values=int(kept[0].size),
                size=(h.shape[2], h.shape[3]),
                largest=largest,
                smallest_scale=np.ones(len(h)) if inverse is None else 1.0 / inverse.max(axis=(1, 2, 3)),
            )
        self.rows.append(row)

    def _change(self, name: str, step: np.ndarray) -> np.ndarray:
        """Rms of the change of x when a tensor moves by `step`, [N]."""
        moved = self._decoder.run(self._feeds, outputs=["x"], overrides={name: self._base[name] + step}, batch=BATCH)
        return _rms(moved["x"] - self._base["x"])

    def disturb(self) -> tuple[int, float]:
        """Decode with an error of float16's size after every step: values of x lost, and the largest value met."""
        h: dict[str, np.ndarray] = {}
        largest = 0.0
        for stop, names in self._segments():
            values = self._decoder.run(self._feeds, outputs=names, overrides=h, batch=BATCH)
            largest = float(np.max([largest, *(np.abs(value).max() for value in values.values())]))
            if stop == "x":
                lost = int(np.count_nonzero(~np.isfinite(values["x"])))
                break
            with np.errstate(all="ignore"):
                value = values[stop]
                noise = self._rng.standard_normal(value.shape) * COARSE * _rms(value)[:, None, None, None]
                h = {stop: value + noise}
        return lost, largest if np.isfinite(largest) else np.inf

    def _segments(self) -> Iterator[tuple[str, list[str]]]:
        """The decoder's tensors step by step, each part with the tensor it ends in."""
        ends = {*(f"{path}/invconv:0" for path in self._paths), "x"}
        names: list[str] = []
        for name in self._decoder.tensor_names:
            names.append(name)
            if name in ends:
                yield name, names
                names = []


def _rounding(decoder: Float64Graph, path: str, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What float16 rounding of its operands adds to a conditioner's output, and the largest |value| inside it [N]."""
    exact = rounded = kept
    largest = np.abs(kept).max(axis=(1, 2, 3))
    for number in (1, 2, 3):
        name = f"{path}/coupling/conv{number}"
        weight, bias = decoder.weight(f"{name}/weight"), decoder.weight(f"{name}/bias")
        pads = {"pads": [weight.shape[2] // 2] * 4}
        (exact,) = OPERATORS["Conv"]([exact, weight, bias], pads)
        (rounded,) = OPERATORS["Conv"]([_half(rounded), weight, bias], pads)
        seen = [np.abs(weight).max(), np.abs(exact).max(axis=(1, 2, 3))]
        if decoder.has_weight(f"{name}/minus_edge"):
            edge = edge_map(-decoder.weight(f"{name}/minus_edge")[0], *kept.shape[2:])
            exact, rounded = exact + edge, _half(rounded) + edge
            seen += [np.abs(edge).max(), np.abs(exact).max(axis=(1, 2, 3))]
        largest = functools.reduce(np.maximum, seen, largest)
        if number < 3:
            exact, rounded = np.maximum(exact, 0.0), np.maximum(rounded, 0.0)
    return _half(rounded) - exact, largest


def _half(values: np.ndarray) -> np.ndarray:
    """Round to float16's 11 significant bits, whatever the range: bfloat16's response is derived from this one."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.round(mantissa * 2.0**11) / 2.0**11, exponent))


def _rms(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.mean(np.square(values), axis=(1, 2, 3))))


def _join(rows: Sequence[StepProfile]) -> StepProfile:
    arrays = ("gain", "rms", "response", "kept_rms", "largest", "smallest_scale")
    first = rows[0]
    return StepProfile(
        step=first.step,
        kept_values=first.kept_values,
        size=first.size,
        **{name: np.concatenate([getattr(row, name) for row in rows]) for name in arrays},
    )
