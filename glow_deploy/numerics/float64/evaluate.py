"""One of our ONNX graphs, node by node in NumPy float64.

It gives the function that the stored weights stand for: every weight is widened from the type it is stored in (float32,
float16, bfloat16), everything is computed in float64, and Cast does nothing. So a mixed-precision graph evaluated here
is the graph with narrow *weights* and no rounding of activations. Any tensor can be read by its name, and any can be
replaced, which starts a decode in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glow_deploy.artifact.taps import constant_tensors
from glow_deploy.errors import BundleError, UsageError

from .ops import OPERATORS, UnsupportedError

if TYPE_CHECKING:
    import onnx

__all__ = ["BATCH", "Float64Graph", "evaluate"]

BATCH = 16  # images at a time: a full-size model's widest tensor is then about 70 MB


class Float64Graph:
    """A graph made ready for many evaluations. Stored weights are not copied; each is widened where it is used.

    Args:
        model: an encoder or decoder that `artifact.lint.lint_model` accepts: sizes are not looked at again here.
        source: the file's name, for messages.

    Raises:
        BundleError: it holds an operator that is not part of a Glow.
    """

    def __init__(self, model: onnx.ModelProto, *, source: str = "the graph") -> None:
        from onnx import helper, numpy_helper

        self._source = source
        self._nodes = list(model.graph.node)
        self._attributes: list[dict[str, Any]] = []
        self._weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._inputs = {
            value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)[1:]
            for value in model.graph.input
        }
        self._constant = constant_tensors(model)
        self._maker: dict[str, int] = {}
        for index, node in enumerate(self._nodes):
            if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
                raise BundleError(f"{source}: node {node.name!r} is a {node.op_type}, which is not part of a Glow")
            # Before operator set 18 a Split makes as many parts as it has outputs, and does not say so.
            known = {"num_outputs": len(node.output)} if node.op_type == "Split" else {}
            self._attributes.append(known | {a.name: helper.get_attribute_value(a) for a in node.attribute})
            self._maker.update(dict.fromkeys(node.output, index))

    @property
    def input_names(self) -> tuple[str, ...]:
        """`x` or `z1` ... `zL`, and `y` of a class-conditional model."""
        return tuple(self._inputs)

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Every tensor that some node computes for each image, in the graph's order."""
        return tuple(name for name in self._maker if name not in self._constant)

    def weight(self, name: str) -> np.ndarray:
        """An initializer as float64 (an integer one as it is).

        Raises:
            BundleError: the graph has none of that name.
        """
        return _widen(self._stored(name))

    def has_weight(self, name: str) -> bool:
        """Whether the graph has an initializer of that name."""
        return name in self._weights

    def weight_size(self, name: str) -> int:
        """How many values an initializer holds.

        Raises:
            BundleError: the graph has none of that name.
        """
        return int(self._stored(name).size)

    def roundoff(self, name: str) -> float:
        """Unit roundoff of the type that a weight is stored in: 2^-24 for float32.

        Raises:
            BundleError: the graph has no weight of that name.
        """
        # The distance from 1 to the next number is two of them, in every binary type; bfloat16 has no np.finfo.
        one = np.ones(1, dtype=self._stored(name).dtype)
        return float(np.nextafter(one, 2 * one).astype(np.float64)[0] - 1.0) / 2.0

    def _stored(self, name: str) -> np.ndarray:
        if name not in self._weights:
            raise BundleError(f"{self._source}: has no weight {name!r}")
        return self._weights[name]

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        *,
        outputs: Sequence[str],
        overrides: Mapping[str, np.ndarray] | None = None,
        batch: int = BATCH,
    ) -> dict[str, np.ndarray]:
        """Compute tensors by name, and of the graph only what they need.

        Args:
            feeds: graph inputs [N, ...] by name; those that nothing asked for needs may be missing.
            outputs: names of tensors: any node's outputs, or graph inputs.
            overrides: [N, ...] in place of what the graph would compute under these names.
            batch: images at a time, which bounds memory and does not change results beyond the last digits.

        Returns:
            The tensors asked for [N, ...], float64. Overflow gives infinities and NaN, no error.

        Raises:
            UsageError: an unknown name, a missing input, or arrays that do not fit each other or the graph.
            BundleError: the graph holds a variant of an operator that no Glow has, or its nodes do not fit together.
        """
        given = {**feeds, **(overrides or {})}
        self._check(feeds, overrides or {}, outputs)
        plan = self._needed(outputs, given)
        sizes = {len(array) for array in given.values()}
        if len(sizes) > 1:
            raise UsageError(f"the arrays given hold different numbers of images: {sorted(sizes)}")
        n = sizes.pop() if sizes else 0
        if n == 0 or batch < 1:
            raise UsageError("evaluating a graph needs at least one image, and a batch of at least one")
        parts = [
            self._run_batch({name: array[first : first + batch] for name, array in given.items()}, plan, outputs)
            for first in range(0, n, batch)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in outputs}

    def _check(
        self, feeds: Mapping[str, np.ndarray], overrides: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> None:
        for name, array in feeds.items():
            if name not in self._inputs:
                raise UsageError(f"{self._source} has no input {name!r}: it has {', '.join(self._inputs)}")
            if array.shape[1:] != self._inputs[name]:
                raise UsageError(f"{self._source}: {name!r} must be [N, {self._inputs[name]}], not {array.shape}")
        for name in (*overrides, *outputs):
            if name not in self._maker and name not in self._inputs:
                raise UsageError(f"{self._source} has no tensor {name!r}")
            if name in self._constant:
                raise UsageError(f"{self._source}: {name!r} comes from weights alone and is the same for every image")

    def _needed(self, outputs: Sequence[str], given: Mapping[str, np.ndarray]) -> list[tuple[int, list[str]]]:
        """The nodes to run, in order, each with the tensors that nothing after it reads."""
        wanted = [name for name in outputs if name not in given]
        needed: set[int] = set()
        while wanted:
            name = wanted.pop()
            if name in given or name in self._weights:
                continue
            if name in self._inputs:
                raise UsageError(f"{self._source}: the input {name!r} is needed and was not given")
            if name not in self._maker:
                raise BundleError(f"{self._source}: nothing computes the tensor {name!r}")
            if self._maker[name] not in needed:
                needed.add(self._maker[name])
                wanted += [used for used in self._nodes[self._maker[name]].input if used]
        kept = set(outputs)
        plan: list[tuple[int, list[str]]] = []
        for index in sorted(needed, reverse=True):
            node = self._nodes[index]
            last = [name for name in (*node.input, *node.output) if name not in kept and name not in self._weights]
            kept.update(last)
            plan.append((index, last))
        return plan[::-1]

    def _run_batch(
        self, given: Mapping[str, np.ndarray], plan: Sequence[tuple[int, list[str]]], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        values = {name: _widen(array) for name, array in given.items()}
        with np.errstate(all="ignore"):
            for index, last in plan:
                node = self._nodes[index]
                for name, result in zip(node.output, self._compute(index, values), strict=True):
                    # An override wins over the node that shares its other outputs.
                    values.setdefault(name, result)
                for name in last:
                    values.pop(name, None)
        return {name: values[name] for name in outputs}

    def _compute(self, index: int, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        node = self._nodes[index]
        where = f"{self._source}: node {node.name!r} ({node.op_type})"
        try:
            inputs = [values[name] if name in values else _widen(self._weights[name]) for name in node.input if name]
        except KeyError as error:
            raise BundleError(f"{where} reads {error}, which is computed after it") from None
        try:
            results = OPERATORS[node.op_type](inputs, self._attributes[index])
        except UnsupportedError as error:
            raise BundleError(f"{where}: {error}") from None
        except (ValueError, KeyError, IndexError, TypeError) as error:
            shapes = ", ".join(str(array.shape) for array in inputs)
            raise BundleError(f"{where} cannot take tensors of the shapes {shapes} ({error})") from None
        if len(results) != len(node.output):
            raise BundleError(f"{where} gives {len(results)} tensors; the graph names {len(node.output)}")
        return results


def evaluate(
    model: onnx.ModelProto,
    feeds: Mapping[str, np.ndarray],
    *,
    outputs: Sequence[str],
    overrides: Mapping[str, np.ndarray] | None = None,
    batch: int = BATCH,
) -> dict[str, np.ndarray]:
    """Evaluate one of our graphs once; for several evaluations of one graph make a `Float64Graph`.

    Arguments, result and errors are those of `Float64Graph.run`.
    """
    return Float64Graph(model).run(feeds, outputs=outputs, overrides=overrides, batch=batch)


def _widen(array: np.ndarray) -> np.ndarray:
    # bfloat16 is no np.floating, so whole numbers are what is told apart.
    return array if np.issubdtype(array.dtype, np.integer) else np.asarray(array, dtype=np.float64)
