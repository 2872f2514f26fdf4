"""What graphs held when they were exported: digests of their nodes and of the weights of every step, in the manifest.

The sha256 of a file tells that it changed, and not what. These are made from the arrays that the graphs were built
from, so they also tell where a file was written again by something else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .json_values import table, text

if TYPE_CHECKING:
    import onnx

__all__ = ["NODES", "graph_digests", "part_digests", "part_of_weight", "read_digests"]

NODES = "nodes"
"""The part of a graph that is no weight: what is computed from them."""

_ROLES = ("encoder", "decoder")


def part_of_weight(name: str) -> str:
    """Return the part of the model that an initializer belongs to: `level1/step01`, `level1/split`, `prior`, ..."""
    head, _, rest = name.partition("/")
    return f"{head}/{rest.partition('/')[0]}" if head.startswith("level") else head


def part_digests(weights: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return a sha256 of every part's names, element types, shapes and values.

    Args:
        weights: initializer name -> array as it is stored, in any order.
    """
    digests: dict[str, Any] = {}
    for name in sorted(weights):
        array = weights[name]
        digest = digests.setdefault(part_of_weight(name), hashlib.sha256())
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}\n".encode())
        # As bytes, whatever the element type: bfloat16 is none that a memoryview knows.
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return {part: digest.hexdigest() for part, digest in digests.items()}


def graph_digests(model: onnx.ModelProto, weights: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return a sha256 of every part of a graph: its nodes, inputs and outputs, and its weights by step.

    Args:
        model: the graph; its initializers are not looked at.
        weights: initializer name -> array as it is stored, in any order.
    """
    digest = hashlib.sha256()
    opsets = sorted((entry.domain or "ai.onnx", entry.version) for entry in model.opset_import)
    digest.update(repr(opsets).encode())
    for group in (model.graph.input, model.graph.output, model.graph.node):
        for item in group:
            data = item.SerializeToString(deterministic=True)
            digest.update(f"{len(data)} ".encode() + data)
        digest.update(b";")
    return {NODES: digest.hexdigest(), **part_digests(weights)}


def read_digests(values: object, *, where: str) -> Mapping[str, Mapping[str, str]] | None:
    """Read what a manifest keeps, by role; None where it is of a release that kept nothing.

    Raises:
        ValueError: malformed.
    """
    if values is None:
        return None
    roles = table(values, where)
    if set(roles) != set(_ROLES):
        raise ValueError(f"{where} must hold digests of {' and '.join(_ROLES)}")
    return {
        role: {part: text(table(parts, f"{where}.{role}"), part, where=f"{where}.{role}") for part in parts}
        for role, parts in roles.items()
    }
