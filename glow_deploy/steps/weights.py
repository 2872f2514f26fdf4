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

from .report import Direction, WeightFault
from .taps import Layout

if TYPE_CHECKING:
    import onnx

__all__ = ["Weights", "compare_graphs", "compare_trained", "counterpart", "read_weights", "replace_weights"]

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
    return faults + list(_compare_priors(encoder, decoder))


def compare_trained(weights: Weights, trained: Weights, *, direction: Direction) -> list[WeightFault]:
    """Compare one graph's weights with those it should hold (`counterpart` or `trained_weights`)."""
    faults: dict[tuple[str, str], WeightFault] = {}
    graph = "encoder" if direction == "encode" else "decoder"
    for name, expected in trained.items():
        if name not in weights:
            continue
        stored = weights[name]
        step, weight = _place(name)
        ratio = _excess(stored, expected)
        if ratio > 1.0 and ratio > faults.get((step, weight), _NOTHING).difference:
            faults[step, weight] = WeightFault(
                step=step,
                weight=weight,
                direction=direction,
                difference=ratio,
                detail=f"the {graph}'s {name} is not the trained model's ({_describe(stored, expected)})",
            )
    return list(faults.values())


def counterpart(weights: Weights, layout: Layout, *, direction: Direction, negated: bool) -> dict[str, np.ndarray]:
    """What one graph should hold, from the other graph's weights or from the trained model's, in float64.

    Args:
        weights: of the other graph, or `FoldedGlow.named_arrays()` as a mapping (told by `prior/log_scale`).
        layout: of the model.
        direction: of the graph that is wanted.
        negated: as for `compare_graphs`.

    Returns:
        Initializer name of the graph wanted -> array.
    """
    folded = "prior/log_scale" in weights
    encoding = direction == "encode"
    result: dict[str, np.ndarray] = {}
    for steps in layout.levels:
        for number, step in enumerate(steps):
            key = f"{step}/invconv"
            if folded:
                kind = "" if encoding else "inverse_"
                matrix, bias = _matrix(weights[f"{key}/{kind}weight"]), _wide(weights[f"{key}/{kind}bias"])
            else:
                matrix = _matrix(weights[f"{key}/weight"])
                matrix = matrix if encoding or number else _model_order(matrix)
                matrix = np.linalg.inv(matrix)
                bias = -matrix @ _wide(weights[f"{key}/bias"])
            matrix = _stored_order(matrix) if encoding and number == 0 else matrix
            result[f"{key}/weight"], result[f"{key}/bias"] = matrix[:, :, None, None], bias
            for conv in _CONVS:
                flip = negated and conv == "conv3" and not (folded and encoding)
                for part in ("weight", "bias"):
                    name = f"{step}/coupling/{conv}/{part}"
                    result[name] = _signed(_wide(weights[name]), flip=flip)
        split = steps[0].partition("/")[0] + "/split/conv"
        if f"{split}/weight" in weights:
            for part in ("weight", "bias"):
                flip = encoding if folded else True
                result[f"{split}/{part}"] = _signed(_wide(weights[f"{split}/{part}"]), flip=flip)
    result["prior/mean"] = _wide(weights["prior/mean"])
    with np.errstate(all="ignore"):
        if folded:
            scale = np.exp(_wide(weights["prior/log_scale"]))
        else:
            scale = _wide(weights["prior/scale"]) if encoding else 1.0 / _wide(weights["prior/inverse_scale"])
        result["prior/inverse_scale" if encoding else "prior/scale"] = 1.0 / scale if encoding else scale
    return result


_NOTHING = WeightFault(step="", weight="", direction=None, difference=0.0, detail="")


def _compare_inverses(encoder: Weights, decoder: Weights, step: str, *, first: bool) -> WeightFault | None:
    stored = [weights[f"{step}/invconv/{part}"] for weights in (encoder, decoder) for part in ("weight", "bias")]
    u_e, u_b, u_d, u_c = (_unit(array) for array in stored)
    e, d = _matrix(stored[0]), _matrix(stored[2])
    if e.shape != d.shape:
        return WeightFault(
            step=step, weight="invconv", direction=None, difference=np.inf, detail="the two 1x1s differ in size"
        )
    e = _model_order(e) if first else e
    b, c = _wide(stored[1]), _wide(stored[3])
    # The inverse itself was taken in float64.
    exact = 2.0**-50 * float(np.linalg.cond(e)) if np.isfinite(e).all() else 0.0
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
    for part in ("weight", "bias"):
        name = f"{key}/{part}"
        if name not in encoder or name not in decoder:
            return WeightFault(
                step=step, weight=weight, direction=None, difference=np.inf, detail=f"only one graph holds {name}"
            )
        other = _signed(_wide(decoder[name]), flip=negated)
        ratio = _excess(encoder[name], other, also=decoder[name])
        if ratio > 1.0 and (worst is None or ratio > worst.difference):
            detail = f"{name} differs between the graphs ({_describe(encoder[name], other)})"
            worst = WeightFault(step=step, weight=weight, direction=None, difference=ratio, detail=detail)
    return worst


def _compare_priors(encoder: Weights, decoder: Weights) -> Iterator[WeightFault]:
    mean, other = encoder["prior/mean"], decoder["prior/mean"]
    with np.errstate(all="ignore"):
        scale = 1.0 / _wide(decoder["prior/scale"])
    inverse = encoder["prior/inverse_scale"]
    swapped = _swapped_classes(_wide(mean), _wide(other)) or _swapped_classes(_wide(inverse), scale)
    for weight, stored, wanted, also in (
        ("mean", mean, _wide(other), other),
        ("scale", inverse, scale, decoder["prior/scale"]),
    ):
        ratio = _excess(stored, wanted, also=also)
        if ratio > 1.0:
            detail = swapped or f"the prior's {weight} differs between the graphs ({_describe(stored, wanted)})"
            yield WeightFault(step="prior", weight=weight, direction=None, difference=ratio, detail=detail)


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
    mine = _wide(stored)
    limit = _unit(stored) * np.abs(expected) * _SLACK + _tiny(stored)
    if also is not None:
        reciprocal = not np.array_equal(np.abs(_wide(also)), np.abs(expected))
        limit = limit + (_unit(also) * np.abs(expected) * _SLACK if reciprocal or also.dtype != stored.dtype else 0.0)
    with np.errstate(all="ignore"):
        ratio = np.abs(mine - expected) / limit
    return float(np.max(np.where(mine == expected, 0.0, np.nan_to_num(ratio, nan=np.inf)), initial=0.0))


def _describe(stored: np.ndarray, expected: np.ndarray) -> str:
    if stored.shape != expected.shape:
        return f"shape {list(stored.shape)} against {list(expected.shape)}"
    mine = _wide(stored)
    if not np.isfinite(mine).all():
        return "values that are not finite"
    scale = float(np.sqrt(np.mean(expected**2)))
    if scale == 0.0:
        return f"by up to {np.abs(mine - expected).max():.1e}"
    return f"by up to {np.abs(mine - expected).max() / scale:.1e} of its rms"


def _place(name: str) -> tuple[str, str]:
    """`level1/step01/coupling/conv1/bias` -> (`level1/step01`, `conv1`)."""
    parts = name.split("/")
    if parts[0] == "prior":
        return "prior", "mean" if parts[1] == "mean" else "scale"
    return "/".join(parts[:2]), "split" if parts[1] == "split" else parts[-2]


def _matrix(weight: np.ndarray) -> np.ndarray:
    return _wide(weight)[:, :, 0, 0]


def _wide(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, dtype=np.float64)


def _signed(array: np.ndarray, *, flip: bool) -> np.ndarray:
    """Change the sign of the second half of the outputs."""
    if not flip:
        return array
    result = array.copy()
    result[len(result) // 2 :] *= -1.0
    return result


def _order(channels: int) -> list[int]:
    """SpaceToDepth's channel (2i+j)*C+c holds the model's 4c+2i+j."""
    return [4 * c + offset for offset in range(4) for c in range(channels // 4)]


def _stored_order(matrix: np.ndarray) -> np.ndarray:
    return matrix[:, _order(matrix.shape[1])]


def _model_order(matrix: np.ndarray) -> np.ndarray:
    result = np.empty_like(matrix)
    result[:, _order(matrix.shape[1])] = matrix
    return result


def _unit(array: np.ndarray) -> float:
    return _U[str(array.dtype)]


def _tiny(*arrays: np.ndarray) -> float:
    return max(_TINY[str(array.dtype)] for array in arrays)
