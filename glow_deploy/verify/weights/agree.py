"""Whether the two graphs hold one model: the same conditioners to the bit, and 1x1s that undo each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.artifact.manifest import Manifest
from glow_deploy.artifact.weights import part_of_weight
from glow_deploy.verify.steps.arrays import as_matrix, signed, wide
from glow_deploy.verify.steps.taps import Layout, read_layout
from glow_deploy.verify.steps.weights import Weights, compare_graphs

if TYPE_CHECKING:
    import onnx

__all__ = ["disagreements"]

_U = 2.0**-24  # float32's unit roundoff
_SLACK = 1.1
_SHARED = ("conv1", "conv2", "conv3")


def disagreements(
    encoder: onnx.ModelProto, decoder: onnx.ModelProto, weights: tuple[Weights, Weights], manifest: Manifest
) -> dict[str, list[str]]:
    """Say what differs, by part of the model.

    Args:
        encoder: its graph, of the structure that this version builds.
        decoder: likewise.
        weights: their initializers.
        manifest: of their bundle.
    """
    layout = read_layout(encoder, decoder, source="the graphs")
    negated = manifest.model["coupling"] == "affine" and not manifest.model["bounded_scale"]
    found: dict[str, list[str]] = {}
    for fault in compare_graphs(*weights, layout, negated=negated):
        found.setdefault(fault.step, []).append(fault.detail)
    for part, detail in (*_bits(*weights, layout, negated=negated), *_constants(*weights, layout, manifest)):
        if part not in found:
            found[part] = [detail]
    return found


def _bits(encoder: Weights, decoder: Weights, layout: Layout, *, negated: bool) -> Iterator[tuple[str, str]]:
    """What both graphs were given in the same number is the same to the last bit."""
    keys = [(f"{step}/coupling/{conv}", negated and conv == "conv3") for step in layout.steps for conv in _SHARED]
    keys += [
        (f"level{index}/split/conv", True)
        for index in range(1, len(layout.levels))
        if f"level{index}/split/conv/weight" in encoder
    ]
    for key, flip in keys:
        for part in ("weight", "bias", "minus_edge"):
            name = f"{key}/{part}"
            if name not in encoder:
                continue
            # The sign is a change of one bit, in any number.
            other = signed(wide(decoder[name]), flip=flip, part=part)
            if not np.array_equal(wide(encoder[name]), other, equal_nan=True):
                yield part_of_weight(name), f"{name} differs between the graphs in its last digits"


def _constants(encoder: Weights, decoder: Weights, layout: Layout, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """The log-determinants of the 1x1s and of the priors, which the encoder holds as numbers."""
    shapes = _level_sizes(manifest)
    total, allowed = 0.0, 0.0
    for steps, (height, width) in zip(layout.levels, shapes, strict=True):
        for step in steps:
            matrix = as_matrix(encoder[f"{step}/invconv/weight"])
            unit = _unit(encoder[f"{step}/invconv/weight"])
            with np.errstate(all="ignore"):
                sign, value = np.linalg.slogdet(matrix)
                if sign == 0 or not np.isfinite(value):
                    yield step, f"{step}/invconv/weight is singular, so that it has no log-determinant"
                    continue
                # What rounding every entry may do: the trace of W^-1 dW.
                spread = float(np.sum(np.abs(np.linalg.inv(matrix)).T * np.abs(matrix)))
            total += height * width * float(value)
            allowed += _SLACK * height * width * unit * spread
    channels, rows, columns = manifest.image_shape
    total -= 0.5 * channels * rows * columns * np.log(2 * np.pi)
    for path, size in _priors(layout, shapes):
        scale = wide(decoder[f"{path}/scale"])
        entries = size[0] * size[1] / (scale.shape[2] * scale.shape[3])
        with np.errstate(all="ignore"):
            term = -np.log(scale).sum(axis=(1, 2, 3)) * entries
        slack = _SLACK * entries * scale[0].size * _unit(decoder[f"{path}/scale"])
        table = encoder.get(f"{path}/log_det")
        if table is None:
            total, allowed = total + float(term[0]), allowed + slack
            continue
        off = np.abs(wide(table) - term)
        limit = slack + 2 * _U * np.abs(term) + 1e-6
        if not (off <= limit).all():
            row = int(np.argmax(np.where(np.isfinite(off), off - limit, np.inf)))
            yield path, f"{path}/log_det of class {row} is off by {off[row]:.1e} nats from that class's scales"
    held = float(encoder["log_prob/constant"][0])
    if not abs(held - total) <= allowed + 2 * _U * abs(total) + 1e-6:
        yield (
            "log_prob",
            (
                f"log_prob/constant is off by {abs(held - total):.1e} nats from the log-determinants of the 1x1s and "
                "the prior"
            ),
        )


def _priors(layout: Layout, sizes: list[tuple[int, int]]) -> list[tuple[str, tuple[int, int]]]:
    splits = [(f"level{index}/split", size) for index, size in enumerate(sizes[:-1], 1)] if layout.independent else []
    return [*splits, ("prior", sizes[-1])]


def _level_sizes(manifest: Manifest) -> list[tuple[int, int]]:
    _, height, width = manifest.image_shape
    return [(height >> level, width >> level) for level in range(1, int(manifest.model["levels"]) + 1)]


def _unit(array: np.ndarray) -> float:
    return {"float32": _U, "float16": 2.0**-11, "bfloat16": 2.0**-8}[array.dtype.name]
