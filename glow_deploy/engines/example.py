"""A flow so small that its numbers can be followed by hand, for documentation and for trying tools without a bundle."""

from __future__ import annotations

import math

import numpy as np

from glow_deploy.protocol import EngineDetails, Role, TensorSpec

from .base import EngineBase

__all__ = ["example_pair"]

_SCALE = 4.0
_DETAILS = EngineDetails(backend="example", provider="numpy", device="cpu", precision="fp32", tf32=False, versions={})


def example_pair(
    *, size: tuple[int, int] = (4, 4), channels: int = 1, n_bits: int = 5
) -> tuple[EngineBase, EngineBase]:
    """Return the encoder and the decoder of z = 4 (x - 0.5), cut into two levels along the channels of a squeeze.

    Args:
        size: (H, W), both even.
        channels: 1 or more.
        n_bits: 1..8.

    Examples:
        >>> encoder, decoder = example_pair()
        >>> [(spec.name, spec.shape) for spec in decoder.inputs]
        [('z1', (2, 2, 2)), ('z2', (2, 2, 2))]
        >>> x = np.full((1, 1, 4, 4), 0.75, np.float32)
        >>> z = encoder.run({"x": x})
        >>> float(z["z1"][0, 0, 0, 0])
        1.0
        >>> bool((decoder.run({"z1": z["z1"], "z2": z["z2"]})["x"] == x).all())
        True
    """
    return (
        _Example("encoder", size=size, channels=channels, n_bits=n_bits),
        _Example("decoder", size=size, channels=channels, n_bits=n_bits),
    )


class _Example(EngineBase):
    def __init__(self, role: Role, *, size: tuple[int, int], channels: int, n_bits: int) -> None:
        height, width = size[0] // 2, size[1] // 2
        x = TensorSpec(name="x", dtype="float32", shape=(channels, *size))
        z = tuple(TensorSpec(name=name, dtype="float32", shape=(2 * channels, height, width)) for name in ("z1", "z2"))
        log_prob = TensorSpec(name="log_prob", dtype="float32", shape=())
        inputs, outputs = ((x,), (*z, log_prob)) if role == "encoder" else (z, (x,))
        self._grid = (channels, height, width)
        super().__init__(role=role, n_bits=n_bits, inputs=inputs, outputs=outputs, details=_DETAILS)

    def _run(self, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        channels, height, width = self._grid
        if self.role == "encoder":
            squeezed = arrays["x"].reshape(batch, channels, height, 2, width, 2).transpose(0, 1, 3, 5, 2, 4)
            z = (_SCALE * (squeezed - np.float32(0.5))).reshape(batch, 4 * channels, height, width)
            flat = z.reshape(batch, -1).astype(np.float64)
            dims = flat.shape[1]
            log_prob = -0.5 * (flat**2).sum(axis=1) + dims * (math.log(_SCALE) - 0.5 * math.log(2 * math.pi))
            return {
                "z1": z[:, : 2 * channels],
                "z2": z[:, 2 * channels :],
                "log_prob": log_prob.astype(np.float32),
            }
        z = np.concatenate([arrays["z1"], arrays["z2"]], axis=1).reshape(batch, channels, 2, 2, height, width)
        x = z.transpose(0, 1, 4, 2, 5, 3).reshape(batch, channels, 2 * height, 2 * width)
        return {"x": x / np.float32(_SCALE) + np.float32(0.5)}

    def _close(self) -> None:
        pass
