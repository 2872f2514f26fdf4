"""Whether what exact graphs and their manifest say of the integers is one thing, and what the graphs compute with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.artifact.exact_figures import ExactFigures
from glow_deploy.artifact.metadata import PREFIX
from glow_deploy.verify.steps.weights import Weights

if TYPE_CHECKING:
    import onnx

__all__ = ["false_facts"]

_ACCUMULATOR = 2**24
_OPERAND = 2**11


def false_facts(
    encoder: onnx.ModelProto,
    decoder: onnx.ModelProto,
    weights: tuple[Weights, Weights],
    figures: ExactFigures,
    *,
    n_bits: int,
) -> list[str]:
    """Say which of the statements in the metadata and the manifest are false; empty for none.

    Encoder, decoder and manifest must agree. The limit and the grid are held against the graphs' own constants, the
    spacings against those of splits that depend on the image. A prior of constants takes up its level's spacing, so
    that there only the three statements are compared. The proof's bounds must be below their ends.

    Args:
        encoder: its graph.
        decoder: likewise.
        weights: their initializers.
        figures: of the manifest.
        n_bits: of the model.
    """
    return list(_false(encoder, decoder, weights, figures, n_bits))


def _false(
    encoder: onnx.ModelProto,
    decoder: onnx.ModelProto,
    weights: tuple[Weights, Weights],
    figures: ExactFigures,
    n_bits: int,
) -> Iterator[str]:
    said, other = _facts(encoder), _facts(decoder)
    for name in sorted({*said, *other}):
        if said.get(name) != other.get(name):
            yield f"{name} is {_short(said.get(name))} in the encoder and {_short(other.get(name))} in the decoder"
    limit, grid = figures.proof.limit, n_bits + figures.fraction_bits
    spacings = " ".join(f"{spacing:.17g}" for spacing in figures.spacings)
    known = {
        "exact.limit": str(limit),
        "exact.fraction_bits": str(figures.fraction_bits),
        "exact.grid_bits": str(grid),
        "exact.spacings": spacings,
    }
    for name, value in known.items():
        if said.get(name) != value:
            yield f"{name} is {_short(said.get(name))} in the encoder and {_short(value)} in the manifest"
    for side, model, held, scale in (
        ("encoder", encoder, weights[0], 2.0**grid),
        ("decoder", decoder, weights[1], 2.0**-grid),
    ):
        if not _is(held.get("in_range/limit"), float(limit)):
            yield f"the {side} holds its integers to another limit than {limit}"
        if not _is(held.get(_scale_of(model)), scale):
            yield f"the {side}'s grid is not that of {grid} bits"
    for level, spacing in enumerate(figures.spacings, start=1):
        for held, name, factor in ((weights[0], "unit", spacing), (weights[1], "per_unit", 1 / spacing)):
            stored = held.get(f"level{level}/split/{name}/factor")
            if stored is not None and not _is(stored, factor):
                yield f"level{level}: the graphs' spacing is not {spacing:g}"
    proof = figures.proof
    for name, bound, end in (
        ("largest_sum", proof.largest_sum, _ACCUMULATOR - 1),
        ("largest_value", proof.largest_value, _ACCUMULATOR - 1),
        ("largest_operand", proof.largest_operand, _OPERAND),
    ):
        if bound > end:
            yield f"proof.{name} is {bound} in the manifest: nothing is exact beyond {end}"
    if figures.largest > limit:
        yield f"the calibration's images reach {figures.largest}, and the limit is {limit}"


def _facts(model: onnx.ModelProto) -> dict[str, str]:
    """The metadata that speak of integers, without the prefix."""
    start = f"{PREFIX}exact."
    return {e.key.removeprefix(PREFIX): e.value for e in model.metadata_props if e.key.startswith(start)}


def _scale_of(model: onnx.ModelProto) -> str:
    """The name of what pixels are multiplied with."""
    return next((node.input[1] for node in model.graph.node if node.name == "x/scale"), "")


def _is(array: np.ndarray | None, value: float) -> bool:
    return array is not None and array.size == 1 and float(array.reshape(-1)[0]) == float(np.float32(value))


def _short(value: str | None) -> str:
    return "not given" if value is None else (value if len(value) <= 40 else f"{value[:40]}...") or "empty"
