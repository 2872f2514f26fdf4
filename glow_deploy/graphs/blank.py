"""A model of a known shape whose weights are all zero: what its graphs look like depends on nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from glow_deploy.folding import FoldedConditioner, FoldedConv, FoldedGlow, FoldedLevel, FoldedPrior, FoldedStep
from glow_deploy.folding.arrays import step_path

__all__ = ["blank_model", "large_shapes"]


def blank_model(config: Mapping[str, Any], *, held: Mapping[str, Sequence[int]]) -> FoldedGlow:
    """Build it, in the memory that such a model takes: hold a graph against `large_shapes` before.

    Args:
        config: of the model, as a checked manifest holds it.
        held: initializer name -> shape of one of its graphs. Two things depend on a model's values, and are looked up
            here: whether a convolution has an edge (one that is zero is left out), and so whether the prior differs
            along the border.
    """
    height, width = (int(side) for side in config["image_size"])
    channels = int(config["channels"])
    coupling: Literal["affine", "additive"] = "additive" if config["coupling"] == "additive" else "affine"
    edged = bool(config.get("edge_bias", False))
    independent = config.get("prior", "conditional") == "independent"
    classes = None if config["num_classes"] is None else int(config["num_classes"])
    count = int(config["levels"])
    levels = []
    shape = (channels, height, width)
    for index in range(1, count + 1):
        shape = (4 * shape[0], shape[1] // 2, shape[2] // 2)
        steps = tuple(
            _step(shape, step_path(index, number), config, coupling=coupling, held=held if edged else {})
            for number in range(1, int(config["steps"]) + 1)
        )
        split: FoldedConv | FoldedPrior | None = None
        half = shape[0] // 2
        if index < count:
            path = f"level{index}/split/conv"
            split = (
                _prior((half, *shape[1:]), classes)
                if independent
                else _conv(2 * half, half, 3, np.float64, shape=shape, path=path, held=held if edged else {})
            )
        levels.append(FoldedLevel(shape=shape, steps=steps, split=split))
        if index < count:
            shape = (half, *shape[1:])
    whole = _is_whole(config, shape, held)
    return FoldedGlow(
        image_shape=(channels, height, width),
        n_bits=int(config["n_bits"]),
        coupling=coupling,
        bounded_scale=bool(config["bounded_scale"]),
        levels=tuple(levels),
        prior=_prior(shape if whole else (shape[0], 1, 1), classes),
        num_classes=classes,
        log_det=0.0,
    )


def large_shapes(
    config: Mapping[str, Any], *, held: Mapping[str, Sequence[int]]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Give name and shape of what takes the memory in a model's graphs, one after another, without building anything.

    A few letters of a manifest can ask for terabytes. A graph that has all of these is as large itself as the model.

    Args:
        config: of the model, as a checked manifest holds it.
        held: as for `blank_model`.

    Yields:
        Weights of convolutions, and tables of priors, that both graphs of the model have.
    """
    height, width = (int(side) for side in config["image_size"])
    hidden, count = int(config["width"]), int(config["levels"])
    rows = 1 if config["num_classes"] is None else int(config["num_classes"])
    shape = (int(config["channels"]), height, width)
    for index in range(1, count + 1):
        shape = (4 * shape[0], shape[1] // 2, shape[2] // 2)
        channels, half = shape[0], shape[0] // 2
        for number in range(1, int(config["steps"]) + 1):
            path = step_path(index, number)
            yield f"{path}/invconv/weight", (channels, channels, 1, 1)
            yield f"{path}/coupling/conv1/weight", (hidden, half, 3, 3)
            yield f"{path}/coupling/conv2/weight", (hidden, hidden, 1, 1)
            yield (
                f"{path}/coupling/conv3/weight",
                (half if config["coupling"] == "additive" else channels, hidden, 3, 3),
            )
        if index < count:
            if config.get("prior", "conditional") == "independent":
                yield f"level{index}/split/mean", (rows, half, *shape[1:])
            else:
                yield f"level{index}/split/conv/weight", (2 * half, half, 3, 3)
            shape = (half, *shape[1:])
    yield "prior/mean", (rows, *(shape if _is_whole(config, shape, held) else (shape[0], 1, 1)))


def _is_whole(config: Mapping[str, Any], shape: tuple[int, int, int], held: Mapping[str, Sequence[int]]) -> bool:
    """Whether the last prior has an entry for each pixel."""
    edged = bool(config.get("edge_bias", False)) and tuple(held.get("prior/mean", ()))[1:] == shape
    return edged or config.get("prior", "conditional") == "independent"


def _step(
    shape: tuple[int, int, int],
    path: str,
    config: Mapping[str, Any],
    *,
    coupling: str,
    held: Mapping[str, Sequence[int]],
) -> FoldedStep:
    channels, hidden = shape[0], int(config["width"])
    half, out = channels // 2, channels if coupling == "affine" else channels // 2
    one = _conv(channels, channels, 1, np.float64, shape=shape, path=f"{path}/invconv", held={})
    first, last = f"{path}/coupling/conv1", f"{path}/coupling/conv3"
    return FoldedStep(
        encode=one,
        decode=one,
        conditioner=FoldedConditioner(
            conv1=_conv(hidden, half, 3, np.float32, shape=shape, path=first, held=held),
            conv2=_conv(hidden, hidden, 1, np.float32, shape=shape, path=f"{path}/coupling/conv2", held={}),
            conv3=_conv(out, hidden, 3, np.float32, shape=shape, path=last, held=held),
        ),
    )


def _conv(
    rows: int,
    columns: int,
    kernel: int,
    dtype: type[np.floating[Any]],
    *,
    shape: tuple[int, int, int],
    path: str,
    held: Mapping[str, Sequence[int]],
) -> FoldedConv:
    edge = None
    if f"{path}/minus_edge" in held:
        edge = np.zeros((rows, min(shape[1], 3), min(shape[2], 3)), dtype)
    return FoldedConv(weight=np.zeros((rows, columns, kernel, kernel), dtype), bias=np.zeros(rows, dtype), edge=edge)


def _prior(shape: tuple[int, int, int], classes: int | None) -> FoldedPrior:
    zeros = np.zeros((1 if classes is None else classes, *shape))
    return FoldedPrior(mean=zeros, log_scale=zeros)
