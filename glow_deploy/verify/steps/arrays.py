"""Weights as they lie in the two graphs: channels in another order, and outputs of the other sign."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["EDGE", "PARTS", "as_matrix", "model_order", "signed", "stored_order", "wide"]

EDGE = "minus_edge"

PARTS: Mapping[str, int] = {"weight": 0, "bias": 0, EDGE: 1}
"""Initializers of a convolution -> the axis of its outputs; not every one has an edge, stored with the other sign."""


def as_matrix(weight: np.ndarray) -> np.ndarray:
    """A 1x1 convolution's weight [O,C,1,1] as a float64 matrix [O,C]."""
    return wide(weight)[:, :, 0, 0]


def wide(array: np.ndarray) -> np.ndarray:
    """Any float array in float64."""
    return np.asarray(array, dtype=np.float64)


def signed(array: np.ndarray, *, flip: bool, part: str) -> np.ndarray:
    """Change the sign of the second half of a convolution's outputs.

    Args:
        array: its weight [O,C,k,k], bias [O] or negated edge [1,O,...].
        flip: whether to; if not, the array is given back as it is.
        part: which of `PARTS` it is.
    """
    if not flip:
        return array
    result = array.copy()
    outputs = np.moveaxis(result, PARTS[part], 0)  # a view
    outputs[len(outputs) // 2 :] *= -1.0
    return result


def stored_order(matrix: np.ndarray) -> np.ndarray:
    """Put the inputs of a level's first 1x1 into the order in which the encoder's SpaceToDepth gives them."""
    return matrix[:, _order(matrix.shape[1])]


def model_order(matrix: np.ndarray) -> np.ndarray:
    """Undo `stored_order`."""
    result = np.empty_like(matrix)
    result[:, _order(matrix.shape[1])] = matrix
    return result


def _order(channels: int) -> list[int]:
    """SpaceToDepth's channel (2i+j)*C+c holds the model's 4c+2i+j."""
    return [4 * c + offset for offset in range(4) for c in range(channels // 4)]
