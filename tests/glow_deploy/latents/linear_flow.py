"""A flow whose density is known."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from glow_deploy.protocol import EngineDetails, TensorSpec

SHAPES = ((2, 2, 2), (4, 1, 1))
IMAGE = (3, 2, 2)
DIMS = 12
N_BITS = 5
CLASSES = 9


class LinearFlow:
    """A flow with a density that is known: z = A x + b, in float64 inside; an engine outside."""

    def __init__(self, role, *, classes=False, dtype="float32", spoil=None):
        rng = np.random.default_rng(3)
        self.a = rng.normal(size=(DIMS, DIMS)) + 4 * np.eye(DIMS)
        self.b = rng.normal(size=DIMS)
        self.role = role
        self.n_bits = N_BITS
        self.num_classes = CLASSES if classes else None
        self.spoil = spoil or (lambda z: np.zeros(len(z), bool))
        self.batches: list[int] = []
        zs = tuple(TensorSpec(name=f"z{i}", dtype=dtype, shape=s) for i, s in enumerate(SHAPES, 1))
        x = (TensorSpec(name="x", dtype=dtype, shape=IMAGE),)
        y = (TensorSpec(name="y", dtype="int64", shape=()),) if classes else ()
        log_prob = (TensorSpec(name="log_prob", dtype=dtype, shape=()),)
        self.inputs, self.outputs = (x + y, zs + log_prob) if role == "encoder" else (zs + y, x)
        self.details = EngineDetails(
            backend="linear", provider="numpy", device="cpu", precision="fp64", tf32=False, versions={}
        )

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert list(feeds) == [spec.name for spec in self.inputs]
        for spec in self.inputs:
            assert feeds[spec.name].dtype == spec.dtype
            assert feeds[spec.name].shape[1:] == spec.shape
        shift = feeds["y"][:, None].astype(float) if "y" in feeds else 0.0
        kind = self.outputs[0].dtype
        if self.role == "encoder":
            x = feeds["x"].reshape(len(feeds["x"]), -1).astype(float)
            self.batches.append(len(x))
            z = x @ self.a.T + self.b + shift
            log_prob = -0.5 * (z**2).sum(1) - 0.5 * DIMS * math.log(2 * math.pi) + np.linalg.slogdet(self.a)[1]
            return {
                "z1": z[:, :8].reshape(-1, *SHAPES[0]).astype(kind),
                "z2": z[:, 8:].reshape(-1, *SHAPES[1]).astype(kind),
                "log_prob": log_prob.astype(kind),
            }
        z = np.concatenate([feeds[f"z{i}"].reshape(len(feeds["z1"]), -1) for i in (1, 2)], axis=1).astype(float)
        self.batches.append(len(z))
        x = np.linalg.solve(self.a, (z - shift - self.b).T).T
        x[self.spoil(z)] = np.nan
        return {"x": x.reshape(-1, *IMAGE).astype(kind)}

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def flat(z) -> np.ndarray:
    return np.concatenate([level.reshape(len(level), -1) for level in z], axis=1)


def pictures(n=9) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, *IMAGE), dtype=np.uint8)
