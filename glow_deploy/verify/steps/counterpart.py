"""What one graph should hold, derived from the other graph's weights or from the trained model's."""

from __future__ import annotations

import numpy as np

from glow_deploy.verify.report.steps import Direction

from .arrays import EDGE, PARTS, as_matrix, model_order, signed, stored_order, wide
from .taps import Layout
from .weights import Weights

__all__ = ["counterpart"]


def counterpart(weights: Weights, layout: Layout, *, direction: Direction, negated: bool) -> dict[str, np.ndarray]:
    """Derive one graph's weights, in float64.

    Args:
        weights: of the other graph, or `FoldedGlow.named_arrays()` as a mapping (told by `prior/log_scale`).
        layout: of the model.
        direction: of the graph that is wanted.
        negated: whether the decoder holds conv3's second half with the other sign (affine, unbounded scale).

    Returns:
        Initializer name of the graph wanted -> array.
    """
    folded = "prior/log_scale" in weights
    encoding = direction == "encode"
    result: dict[str, np.ndarray] = {}
    for steps in layout.levels:
        for number, step in enumerate(steps):
            result |= _inverted(weights, f"{step}/invconv", folded=folded, encoding=encoding, first=number == 0)
            for conv in ("conv1", "conv2", "conv3"):
                flip = negated and conv == "conv3" and not (folded and encoding)
                result |= _conv(weights, f"{step}/coupling/{conv}", folded=folded, flip=flip)
        split = steps[0].partition("/")[0] + "/split"
        if f"{split}/conv/weight" in weights:
            result |= _conv(weights, f"{split}/conv", folded=folded, flip=encoding if folded else True)
        elif f"{split}/mean" in weights:
            result |= _prior(weights, split, folded=folded, encoding=encoding)
    return result | _prior(weights, "prior", folded=folded, encoding=encoding)


def _inverted(weights: Weights, key: str, *, folded: bool, encoding: bool, first: bool) -> dict[str, np.ndarray]:
    if folded:
        kind = "" if encoding else "inverse_"
        matrix, bias = as_matrix(weights[f"{key}/{kind}weight"]), wide(weights[f"{key}/{kind}bias"])
    else:
        matrix = as_matrix(weights[f"{key}/weight"])
        matrix = model_order(matrix) if first and not encoding else matrix
        matrix = np.linalg.inv(matrix)
        bias = -matrix @ wide(weights[f"{key}/bias"])
    matrix = stored_order(matrix) if first and encoding else matrix
    return {f"{key}/weight": matrix[:, :, None, None], f"{key}/bias": bias}


def _conv(weights: Weights, key: str, *, folded: bool, flip: bool) -> dict[str, np.ndarray]:
    result = {}
    for part in PARTS:
        # A folded model has its edge without a batch and with its own sign.
        turned = folded and part == EDGE
        name = f"{key}/edge" if turned else f"{key}/{part}"
        if part == EDGE and name not in weights:
            continue
        array = -wide(weights[name])[None] if turned else wide(weights[name])
        result[f"{key}/{part}"] = signed(array, flip=flip, part=part)
    return result


def _prior(weights: Weights, path: str, *, folded: bool, encoding: bool) -> dict[str, np.ndarray]:
    with np.errstate(all="ignore"):
        if folded:
            scale = np.exp(wide(weights[f"{path}/log_scale"]))
        else:
            scale = wide(weights[f"{path}/scale"]) if encoding else 1.0 / wide(weights[f"{path}/inverse_scale"])
        kind, scale = ("inverse_scale", 1.0 / scale) if encoding else ("scale", scale)
    return {f"{path}/mean": wide(weights[f"{path}/mean"]), f"{path}/{kind}": scale}
