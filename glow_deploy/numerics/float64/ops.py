"""The operators of our graphs in NumPy, one function each, in the precision of what they are given.

Each follows the ONNX operator of its name (onnx.ai/onnx/operators, opset 20) as far as a Glow uses it, and refuses the
rest with `UnsupportedError`: a convolution has stride 1 and keeps the size, a split is along whole channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["OPERATORS", "Operator", "UnsupportedError"]

Attributes = Mapping[str, Any]
Operator = Callable[[Sequence[np.ndarray], Attributes], list[np.ndarray]]


class UnsupportedError(ValueError):
    """A variant of an operator that no graph of ours holds."""


def conv(inputs: Sequence[np.ndarray], attributes: Attributes) -> list[np.ndarray]:
    """A convolution of odd size as matrix products; x [N,C,H,W], weight [O,C,k,k], bias [O] or none."""
    x, weight = inputs[0], inputs[1]
    size = weight.shape[2]
    reach = size // 2
    plain = {"group": 1, "strides": [1, 1], "dilations": [1, 1], "kernel_shape": [size, size], "auto_pad": b"NOTSET"}
    for name, value in plain.items():
        if attributes.get(name, value) != value:
            raise UnsupportedError(f"{name} {attributes[name]}; only {value} is known")
    if weight.shape[3] != size or size % 2 == 0 or list(attributes.get("pads", [0] * 4)) != [reach] * 4:
        raise UnsupportedError("only square convolutions of odd size that keep the image's size are known")
    if size == 1:
        result = _product(weight[:, :, 0, 0], x)
    elif weight.shape[0] < weight.shape[1]:
        result = _scatter(x, weight)
    else:
        result = _gather(x, weight)
    if len(inputs) > 2:
        result += inputs[2][:, None, None]
    return [result]


def _product(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[O,C] times [N,C,H,W] over the channels."""
    n, channels, height, width = x.shape
    product: np.ndarray = matrix @ x.reshape(n, channels, height * width)
    return product.reshape(n, matrix.shape[0], height, width)


def _gather(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Collect the k*k shifted inputs, then one product: cheap while there are fewer inputs than outputs."""
    n, channels, height, width = x.shape
    outputs, size = weight.shape[0], weight.shape[2]
    reach = size // 2
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    columns = np.empty((n, channels, size, size, height, width), dtype=x.dtype)
    for row in range(size):
        for column in range(size):
            columns[:, :, row, column] = padded[:, :, row : row + height, column : column + width]
    return _product(weight.reshape(outputs, -1), columns.reshape(n, channels * size * size, height, width))


def _scatter(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """One product with all k*k taps, then add their shifted results: cheap with fewer outputs than inputs."""
    n, _, height, width = x.shape
    outputs, channels, size, _ = weight.shape
    reach = size // 2
    taps = _product(weight.transpose(2, 3, 0, 1).reshape(-1, channels), x)
    taps = taps.reshape(n, size, size, outputs, height, width)
    result = np.zeros((n, outputs, height + 2 * reach, width + 2 * reach), dtype=taps.dtype)
    for row in range(size):
        for column in range(size):
            top, left = 2 * reach - row, 2 * reach - column
            result[:, :, top : top + height, left : left + width] += taps[:, row, column]
    return np.ascontiguousarray(result[:, :, reach : reach + height, reach : reach + width])


def split(inputs: Sequence[np.ndarray], attributes: Attributes) -> list[np.ndarray]:
    """Equal parts, `num_outputs` of them, or parts of the sizes that the second input lists."""
    x = inputs[0]
    axis = attributes.get("axis", 0)
    if len(inputs) > 1:
        return list(np.split(x, np.cumsum(inputs[1])[:-1], axis=axis))
    parts = attributes.get("num_outputs")
    if parts is None or x.shape[axis] % parts:
        raise UnsupportedError(f"{x.shape[axis]} channels cannot be split into {parts} equal parts")
    return list(np.split(x, parts, axis=axis))


def space_to_depth(inputs: Sequence[np.ndarray], attributes: Attributes) -> list[np.ndarray]:
    """[N,C,H,W] -> [N,b*b*C,H/b,W/b], channel (b*i+j)*C+c."""
    x, block = inputs[0], attributes["blocksize"]
    n, channels, height, width = x.shape
    if height % block or width % block:
        raise UnsupportedError(f"an image of {height}x{width} has no blocks of {block}x{block}")
    parts = x.reshape(n, channels, height // block, block, width // block, block).transpose(0, 3, 5, 1, 2, 4)
    return [parts.reshape(n, channels * block * block, height // block, width // block)]


def depth_to_space(inputs: Sequence[np.ndarray], attributes: Attributes) -> list[np.ndarray]:
    """The way back from depth; mode CRD takes channel b*b*c+b*i+j, mode DCR (b*i+j)*C+c."""
    x, block = inputs[0], attributes["blocksize"]
    n, channels, height, width = x.shape
    if channels % (block * block):
        raise UnsupportedError(f"{channels} channels do not make blocks of {block}x{block}")
    left = channels // (block * block)
    if attributes.get("mode", b"DCR") == b"CRD":
        parts = x.reshape(n, left, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = x.reshape(n, block, block, left, height, width).transpose(0, 3, 4, 1, 5, 2)
    return [parts.reshape(n, left, height * block, width * block)]


def reduce_sum(inputs: Sequence[np.ndarray], attributes: Attributes) -> list[np.ndarray]:
    """The sum over the axes that the second input lists."""
    if len(inputs) < 2 or attributes.get("noop_with_empty_axes", 0):
        raise UnsupportedError("a sum without a list of axes is not known")
    axes = tuple(int(axis) for axis in inputs[1])
    return [np.asarray(inputs[0].sum(axis=axes, keepdims=bool(attributes.get("keepdims", 1))))]


def gather(inputs: Sequence[np.ndarray], attributes: Attributes) -> list[np.ndarray]:
    """The entries of the first input that the second, integers, points to."""
    table, index = inputs
    axis = attributes.get("axis", 0)
    if not np.issubdtype(index.dtype, np.integer):
        raise UnsupportedError("an index must be a whole number")
    if index.size and not (-table.shape[axis] <= index.min() and index.max() < table.shape[axis]):
        raise UnsupportedError(f"an index is outside the table of {table.shape[axis]} entries")
    return [np.take(table, index, axis=axis)]


def concat(inputs: Sequence[np.ndarray], attributes: Attributes) -> list[np.ndarray]:
    """All inputs one after the other along an axis."""
    return [np.concatenate(inputs, axis=attributes["axis"])]


def cast(inputs: Sequence[np.ndarray], attributes: Attributes) -> list[np.ndarray]:
    """Nothing, whichever float type is asked for: rounding is what this evaluation leaves out."""
    from onnx import TensorProto

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    if attributes["to"] not in floats or not np.issubdtype(inputs[0].dtype, np.floating):
        raise UnsupportedError("only casts from one float type to another are known")
    return [inputs[0]]


def sigmoid(inputs: Sequence[np.ndarray], _: Attributes) -> list[np.ndarray]:
    """1 / (1 + exp(-v)), from exp(-|v|) so that no digits are lost at either end."""
    v = inputs[0]
    small = np.exp(-np.abs(v))
    return [np.where(v >= 0, 1.0, small) / (1.0 + small)]


def _unary(function: Callable[[np.ndarray], np.ndarray]) -> Operator:
    return lambda inputs, _: [function(inputs[0])]


def _binary(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Operator:
    return lambda inputs, _: [function(inputs[0], inputs[1])]


# The operators of `artifact.lint.ALLOWED_OPS` without those that exact graphs alone have; a test keeps it so.
OPERATORS: Mapping[str, Operator] = {
    "Add": _binary(np.add),
    "Cast": cast,
    "Concat": concat,
    "Conv": conv,
    "DepthToSpace": depth_to_space,
    "Div": _binary(np.divide),
    "Exp": _unary(np.exp),
    "Gather": gather,
    "Log": _unary(np.log),
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "ReduceSum": reduce_sum,
    "Relu": _unary(lambda x: np.maximum(x, 0.0)),
    "Sigmoid": sigmoid,
    "Softplus": _unary(lambda x: np.logaddexp(0.0, x)),
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Sub": _binary(np.subtract),
}
