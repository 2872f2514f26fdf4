"""The weights of the two graphs held against each other, and against the trained model, step by step in float64.

An encoder and a decoder of one model hold the same conditioners, and 1x1 convolutions that undo each other. What may
differ is the rounding of storage, which has a bound: entries rounded with a unit roundoff u leave
|D E - I| <= (u_D + u_E + u_D u_E) |D| |E|, entry by entry, whatever the condition number. Nothing is run to find this
out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.verify.report.steps import Direction, WeightFault

from .arrays import EDGE, PARTS, as_matrix, model_order, signed, wide
from .taps import Layout

if TYPE_CHECKING:
    import onnx

__all__ = ["Weights", "compare_graphs", "compare_trained", "read_weights", "replace_weights"]

Weights = Mapping[str, np.ndarray]
"""Initializer name -> array as it is stored."""

_SLACK = 1.1  # float64's own rounding, and second-order terms
_CONVS = ("conv1", "conv2", "conv3")
_U = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
_TINY = {"float64": 0.0, "float32": 2.0**-149, "float16": 2.0**-25, "bfloat16": 2.0**-134}  # subnormal numbers


def read_weights(model: onnx.ModelProto) -> Weights:
    """Every initializer of a graph, in the type it is stored in."""
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def replace_weights(model: onnx.ModelProto, arrays: Weights) -> onnx.ModelProto:
    """Return a copy of a graph with other initializers, rounded to the types it has for them."""
    import onnx
    from onnx import numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(model)
    for tensor in result.graph.initializer:
        if tensor.name in arrays:
            dtype = numpy_helper.to_array(tensor).dtype
            tensor.CopyFrom(
                numpy_helper.from_array(np.ascontiguousarray(arrays[tensor.name].astype(dtype)), tensor.name)
            )
    return result


def compare_graphs(encoder: Weights, decoder: Weights, layout: Layout, *, negated: bool) -> list[WeightFault]:
    """Compare an encoder's weights with a decoder's.

    Args:
        encoder: its initializers.
        decoder: its initializers.
        layout: of the model.
        negated: whether the decoder holds conv3's second half with the other sign (affine, unbounded scale).
    """
    faults = []
    for steps in layout.levels:
        for number, step in enumerate(steps):
            fault = _compare_inverses(encoder, decoder, step, first=number == 0)
            faults += [fault] if fault else []
            for conv in _CONVS:
                sign = negated and conv == "conv3"
                fault = _compare_shared(encoder, decoder, f"{step}/coupling/{conv}", step, conv, negated=sign)
                faults += [fault] if fault else []
        split = steps[0].partition("/")[0] + "/split"
        if f"{split}/conv/weight" in encoder or f"{split}/conv/weight" in decoder:
            fault = _compare_shared(encoder, decoder, f"{split}/conv", split, "split", negated=True)
            faults += [fault] if fault else []
        if f"{split}/mean" in encoder or f"{split}/mean" in decoder:
            faults += _compare_priors(encoder, decoder, split)
    return faults + list(_compare_priors(encoder, decoder, "prior"))


def compare_trained(weights: Weights, trained: Weights, *, direction: Direction) -> list[WeightFault]:
    """Compare one graph's weights with those it should hold (`counterpart`)."""
    faults: dict[tuple[str, str], WeightFault] = {}
    graph = "encoder" if direction == "encode" else "decoder"
    for name, expected in trained.items():
        stored = weights.get(name)
        step, weight = _place(name)
        if stored is None:
            ratio, detail = np.inf, f"the {graph} has no {name}, and the trained model has"
        else:
            ratio = _excess(stored, expected)
            detail = f"the {graph}'s {name} is not the trained model's ({_describe(stored, expected)})"
        if ratio > 1.0 and ratio > faults.get((step, weight), _NOTHING).difference:
            faults[step, weight] = WeightFault(
                step=step, weight=weight, direction=direction, difference=ratio, detail=detail
            )
    return list(faults.values())


_SINGULAR = 2.0**40  # float64 has no digits left for the inverse of worse ones, and no tolerance would mean anything

_NOTHING = WeightFault(step="", weight="", direction=None, difference=0.0, detail="")


def _compare_inverses(encoder: Weights, decoder: Weights, step: str, *, first: bool) -> WeightFault | None:
    stored = [weights[f"{step}/invconv/{part}"] for weights in (encoder, decoder) for part in ("weight", "bias")]
    u_e, u_b, u_d, u_c = (_unit(array) for array in stored)
    e, d = as_matrix(stored[0]), as_matrix(stored[2])
    if e.shape != d.shape:
        return WeightFault(
            step=step, weight="invconv", direction=None, difference=np.inf, detail="the two 1x1s differ in size"
        )
    e = model_order(e) if first else e
    b, c = wide(stored[1]), wide(stored[3])
    condition = float(np.linalg.cond(e)) if np.isfinite(e).all() else np.inf
    if not condition < _SINGULAR:
        detail = f"the encoder's 1x1 is singular (condition number {condition:.1e}), so that nothing undoes it"
        return WeightFault(step=step, weight="invconv", direction="encode", difference=np.inf, detail=detail)
    exact = 2.0**-50 * condition  # the inverse itself was taken in float64
    with np.errstate(all="ignore"):
        size = np.abs(d) @ np.abs(e)
        residual = np.abs(d @ e - np.eye(len(e)))
        off = np.abs(d @ b + c)
        weight_ratio = float(np.max(residual / (_SLACK * (u_d + u_e + exact) * size + _tiny(stored[0], stored[2]))))
        allowed = _SLACK * ((u_d + u_b + exact) * (np.abs(d) @ np.abs(b)) + u_c * np.abs(c))
        bias_ratio = float(np.max(off / (allowed + _tiny(stored[1], stored[3]) * (1 + np.abs(d).sum(axis=1)))))
    ratio = max(weight_ratio, bias_ratio)
    if ratio <= 1.0:
        return None
    if weight_ratio >= bias_ratio:
        detail = f"the 1x1s do not undo each other: |W_dec W_enc - I| reaches {residual.max():.1e}"
    else:
        detail = f"the 1x1s' biases do not undo each other: they leave {off.max():.1e}"
    return WeightFault(step=step, weight="invconv", direction=None, difference=ratio, detail=detail)


def _compare_shared(
    encoder: Weights, decoder: Weights, key: str, step: str, weight: str, *, negated: bool
) -> WeightFault | None:
    worst: WeightFault | None = None
    for part in PARTS:
        name = f"{key}/{part}"
        if part == EDGE and name not in encoder and name not in decoder:
            continue
        if name not in encoder or name not in decoder:
            return WeightFault(
                step=step, weight=weight, direction=None, difference=np.inf, detail=f"only one graph holds {name}"
            )
        other = signed(wide(decoder[name]), flip=negated, part=part)
        ratio = _excess(encoder[name], other, also=decoder[name])
        if ratio > 1.0 and (worst is None or ratio > worst.difference):
            detail = f"{name} differs between the graphs ({_describe(encoder[name], other)})"
            worst = WeightFault(step=step, weight=weight, direction=None, difference=ratio, detail=detail)
    return worst


def _compare_priors(encoder: Weights, decoder: Weights, path: str) -> Iterator[WeightFault]:
    """Compare the constants of a prior: the last latent's, or an independent one's of a split."""
    for name in (f"{path}/mean", f"{path}/scale"):
        if name not in decoder or name.replace("/scale", "/inverse_scale") not in encoder:
            detail = f"only one graph holds {name}"
            yield WeightFault(step=path, weight="mean", direction=None, difference=np.inf, detail=detail)
            return
    mean, other = encoder[f"{path}/mean"], decoder[f"{path}/mean"]
    with np.errstate(all="ignore"):
        scale = 1.0 / wide(decoder[f"{path}/scale"])
    inverse = encoder[f"{path}/inverse_scale"]
    swapped = _swapped_classes(wide(mean), wide(other)) or _swapped_classes(wide(inverse), scale)
    for weight, stored, wanted, also in (
        ("mean", mean, wide(other), other),
        ("scale", inverse, scale, decoder[f"{path}/scale"]),
    ):
        ratio = _excess(stored, wanted, also=also)
        if ratio > 1.0:
            detail = swapped or f"the prior's {weight} differs between the graphs ({_describe(stored, wanted)})"
            yield WeightFault(step=path, weight=weight, direction=None, difference=ratio, detail=detail)


def _swapped_classes(one: np.ndarray, other: np.ndarray) -> str:
    """Say so where the table of one graph is that of the other with its rows exchanged."""
    if one.shape != other.shape or len(one) < 2:
        return ""
    for index, row in enumerate(one):
        if np.allclose(row, other[index], rtol=1e-3, atol=1e-6):
            continue
        same = [k for k in range(len(other)) if np.allclose(row, other[k], rtol=1e-3, atol=1e-6)]
        if not same:
            return ""
        return f"class labels are exchanged: class {index} of the encoder is class {same[0]} of the decoder"
    return ""


def _excess(stored: np.ndarray, expected: np.ndarray, *, also: np.ndarray | None = None) -> float:
    """Largest difference over what rounding to the stored types explains; two of one type must be equal."""
    if stored.shape != expected.shape:
        return float("inf")
    mine = wide(stored)
    limit = _unit(stored) * np.abs(expected) * _SLACK + _tiny(stored)
    if also is not None:
        reciprocal = not np.array_equal(np.abs(wide(also)), np.abs(expected))
        limit = limit + (_unit(also) * np.abs(expected) * _SLACK if reciprocal or also.dtype != stored.dtype else 0.0)
    with np.errstate(all="ignore"):
        ratio = np.abs(mine - expected) / limit
    return float(np.max(np.where(mine == expected, 0.0, np.nan_to_num(ratio, nan=np.inf)), initial=0.0))


def _describe(stored: np.ndarray, expected: np.ndarray) -> str:
    if stored.shape != expected.shape:
        return f"shape {list(stored.shape)} against {list(expected.shape)}"
    mine = wide(stored)
    if not np.isfinite(mine).all():
        return "values that are not finite"
    scale = float(np.sqrt(np.mean(expected**2)))
    if scale == 0.0:
        return f"by up to {np.abs(mine - expected).max():.1e}"
    return f"by up to {np.abs(mine - expected).max() / scale:.1e} of its rms"


def _place(name: str) -> tuple[str, str]:
    """Tell the step and the weight: `level1/step01/coupling/conv1/bias` gives (`level1/step01`, `conv1`)."""
    path, _, last = name.rpartition("/")
    if last in ("mean", "scale", "inverse_scale"):
        return path, last.removeprefix("inverse_")
    parts = name.split("/")
    return "/".join(parts[:2]), "split" if parts[1] == "split" else parts[-2]


def _unit(array: np.ndarray) -> float:
    return _U[str(array.dtype)]


def _tiny(*arrays: np.ndarray) -> float:
    return max(_TINY[str(array.dtype)] for array in arrays)
