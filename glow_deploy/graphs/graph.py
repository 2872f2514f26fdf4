"""An ONNX graph as it is built: nodes, and beside them the weights, which stay plain arrays until they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

__all__ = ["Graph"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A graph whose weights are shared with the folded model: no copy of a full-size model's 180 MB is made for them.

    Attributes:
        skeleton: the model without initializers.
        weights: initializer name -> array, in the order in which they are written.
    """

    skeleton: onnx.ModelProto
    weights: Mapping[str, np.ndarray]

    def to_model(self) -> onnx.ModelProto:
        """Return one ordinary ONNX model with its own copy of the weights."""
        model = onnx.ModelProto()
        model.CopyFrom(self.skeleton)
        for name, array in self.weights.items():
            tensor = model.graph.initializer.add(
                name=name, data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape
            )
            tensor.raw_data = array.tobytes()
        return model
