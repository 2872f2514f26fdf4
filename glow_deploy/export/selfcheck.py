"""Running the exported graphs once in ONNX Runtime before anyone relies on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from glow_deploy.artifact.figures import Figures
from glow_deploy.images import bits_per_dim
from glow_deploy.numerics.gates import (
    GateResult,
    VerdictName,
    bits_limits,
    factors_for,
    gate_error,
    image_limits,
    latent_limits,
)
from glow_deploy.numerics.measures import summarize
from glow_deploy.protocol import Engine

from .coded import Coded

__all__ = ["SelfCheck", "batch_sizes", "check_graphs", "code_images", "run_decoder", "run_encoder"]

_BATCHES = (1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """What the graphs gave.

    Attributes:
        batches: the batch sizes run, in order.
        gates: every comparison made.
        max_errors: `x_hat`, `z1` ..., `bits_per_dim` -> largest |error|; may be NaN or infinite.
    """

    batches: tuple[int, ...]
    gates: tuple[GateResult, ...]
    max_errors: Mapping[str, float]

    @property
    def failures(self) -> tuple[GateResult, ...]:
        """The comparisons that failed."""
        return tuple(gate for gate in self.gates if not gate.passed)


def code_images(
    encoder: Callable[[], Engine], decoder: Callable[[], Engine], x: np.ndarray, y: np.ndarray | None
) -> tuple[Coded, tuple[int, ...]]:
    """Encode and decode images with two engines in batches of 1, 2 and 3, over and over.

    Args:
        encoder: opens it; closed again before the decoder is opened, for each takes much memory.
        decoder: likewise.
        x: images [N,C,H,W] float32.
        y: class labels [N] int64, or None for an unconditional model.

    Returns:
        What they gave, and the batch sizes really run: six images are needed for each size to be among them.
    """
    with _opened(encoder) as engine:
        z, log_prob = run_encoder(engine, x, y)
    with _opened(decoder) as engine:
        x_hat = run_decoder(engine, z, y)
    return Coded(x=x, z=z, log_prob=log_prob, x_hat=x_hat, y=y), batch_sizes(len(x))


def batch_sizes(count: int) -> tuple[int, ...]:
    """Return the sizes of the batches that so many images are run in."""
    return tuple(rows.stop - rows.start for rows in _batches(count))


def run_encoder(engine: Engine, x: np.ndarray, y: np.ndarray | None) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Return latents and log_prob of images, computed in batches of 1, 2 and 3."""
    encoded = [engine.run({"x": x[rows], **_labels(y, rows)}) for rows in _batches(len(x))]
    log_prob = np.concatenate([part.pop("log_prob") for part in encoded])
    levels = range(1, len(encoded[0]) + 1)
    return tuple(np.concatenate([part[f"z{level}"] for part in encoded]) for level in levels), log_prob


def run_decoder(engine: Engine, z: Sequence[np.ndarray], y: np.ndarray | None) -> np.ndarray:
    """Return images of latents, computed in batches of 1, 2 and 3."""
    named = {f"z{level}": part for level, part in enumerate(z, start=1)}
    return np.concatenate(
        [
            engine.run({**{name: part[rows] for name, part in named.items()}, **_labels(y, rows)})["x"]
            for rows in _batches(len(z[0]))
        ]
    )


def _batches(count: int) -> list[slice]:
    rows: list[slice] = []
    while not rows or rows[-1].stop < count:
        first = rows[-1].stop if rows else 0
        rows.append(slice(first, min(first + _BATCHES[len(rows) % len(_BATCHES)], count)))
    return rows


def _labels(y: np.ndarray | None, rows: slice) -> dict[str, np.ndarray]:
    return {} if y is None else {"y": y[rows]}


@contextmanager
def _opened(engine: Callable[[], Engine]) -> Iterator[Engine]:
    opened = engine()
    try:
        yield opened
    finally:
        opened.close()


def check_graphs(
    *, graphs: Coded, batches: tuple[int, ...], reference: Coded, single: Coded, n_bits: int, precision: str
) -> SelfCheck:
    """Judge the graphs by the errors that the float32 PyTorch model makes on the same images.

    Args:
        graphs: what ONNX Runtime made of the images.
        batches: the batch sizes it was given.
        reference: what the float64 model makes of them.
        single: what the float32 model makes of them.
        n_bits: pixel depth.
        precision: of the graphs; chooses the factors.
    """
    factors = factors_for(precision)
    gates: list[GateResult] = []
    worst: dict[str, float] = {}

    def judge(quantity: str, level: int | None, obtained: np.ndarray, base: np.ndarray, expected: np.ndarray) -> None:
        error = summarize(obtained, expected)
        yardstick = Figures.of(summarize(base, expected))
        verdict: VerdictName
        if quantity == "x_hat":
            verdict = "samples"
            limits = image_limits(yardstick, factor=factors.paired, factors=factors, n_bits=n_bits)
        elif level is not None:
            verdict = "round_trip"
            limits = latent_limits(yardstick, factor=factors.paired, factors=factors, scale=error.scale)
        else:
            verdict = "likelihood"
            limits = bits_limits(yardstick, factor=factors.paired, factors=factors, scale=error.scale)
        worst[quantity] = error.max if error.finite else float("nan")
        gates.extend(gate_error(error, limits, quantity=quantity, verdict=verdict, level=level))

    judge("x_hat", None, graphs.x_hat, single.x_hat, reference.x)
    for level, values in enumerate(zip(graphs.z, single.z, reference.z, strict=True), start=1):
        judge(f"z{level}", level, *values)
    dims = int(np.prod(reference.x.shape[1:]))
    bits = [bits_per_dim(part.log_prob, dims=dims, n_bits=n_bits) for part in (graphs, single, reference)]
    judge("bits_per_dim", None, *bits)
    return SelfCheck(batches=batches, gates=tuple(gates), max_errors=worst)
