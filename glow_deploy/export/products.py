"""Convolutions of integers by torch's matrix products in float32: several times as fast as NumPy's in float64.

They are exact for the same reason as the graphs are: every partial sum stays below 2^24, in whatever order it is
summed. They are written as matrix products because a library may choose Winograd for a convolution, which has no such
bound, and in full precision, whatever torch's settings allow.
"""

from __future__ import annotations

import numpy as np

from glow_deploy.engines.pytorch import full_precision

__all__ = ["convolve_by_torch"]


def convolve_by_torch(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Convolve with zero padding, float64 [N,O,H,W]: exact for integers whose sums stay below 2^24.

    Args:
        x: [N,C,H,W].
        weight: [O,C,k,k], k odd.
    """
    import torch
    from torch.nn.functional import fold, unfold

    outputs, inputs, size, _ = weight.shape
    values = torch.from_numpy(np.asarray(x, np.float32))
    taps = torch.from_numpy(np.asarray(weight, np.float32))
    with torch.inference_mode(), full_precision("cpu"):
        if size == 1:
            result = taps.flatten(1) @ values.flatten(2)
        elif inputs < outputs:
            result = taps.flatten(1) @ unfold(values, size, padding=size // 2)
        else:
            # One product with all taps, then their shifted sum: cheap with fewer outputs than inputs.
            spread = taps.flip((2, 3)).permute(0, 2, 3, 1).reshape(-1, inputs) @ values.flatten(2)
            result = fold(spread, values.shape[2:], size, padding=size // 2)
        found: np.ndarray = result.reshape(len(x), outputs, *x.shape[2:]).double().numpy()
    return found
