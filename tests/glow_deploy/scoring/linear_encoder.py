"""An encoder whose density is known."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from glow_deploy.protocol import EngineDetails, TensorSpec

IMAGE, SHAPES, DIMS, N_BITS = (3, 2, 2), ((2, 2, 2), (4, 1, 1)), 12, 5


class LinearEncoder:
    """z = A (x - 0.5) + shift, whose density is known; an engine outside, float64 inside."""

    role, n_bits = "encoder", N_BITS

    def __init__(self, *, classes=None, spoil=None):
        rng = np.random.default_rng(3)
        self.a = rng.normal(size=(DIMS, DIMS)) + 4 * np.eye(DIMS)
        self.num_classes = classes
        self.spoil = spoil or (lambda x: np.zeros(len(x), bool))
        self.batches: list[int] = []
        self.inputs = (TensorSpec(name="x", dtype="float32", shape=IMAGE),)
        if classes:
            self.inputs += (TensorSpec(name="y", dtype="int64", shape=()),)
        zs = tuple(TensorSpec(name=f"z{i}", dtype="float32", shape=s) for i, s in enumerate(SHAPES, 1))
        self.outputs = (*zs, TensorSpec(name="log_prob", dtype="float32", shape=()))
        self.details = EngineDetails(
            backend="linear", provider="numpy", device="cpu", precision="fp64", tf32=False, versions={}
        )

    def formula(self, x: np.ndarray, y: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        z = (x.reshape(len(x), -1).astype(float) - 0.5) @ self.a.T + (0 if y is None else 0.5 * y[:, None])
        log_det = np.linalg.slogdet(self.a)[1]
        return z, -0.5 * (z**2).sum(axis=1) - 0.5 * DIMS * math.log(2 * math.pi) + log_det

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert list(feeds) == [spec.name for spec in self.inputs]
        self.batches.append(len(feeds["x"]))
        z, log_prob = self.formula(feeds["x"], feeds.get("y"))
        bad = self.spoil(feeds["x"])
        z[bad], log_prob[bad] = np.inf, np.nan
        return {
            "z1": z[:, :8].reshape(-1, *SHAPES[0]).astype(np.float32),
            "z2": z[:, 8:].reshape(-1, *SHAPES[1]).astype(np.float32),
            "log_prob": log_prob.astype(np.float32),
        }

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *IMAGE), dtype=np.uint8)
