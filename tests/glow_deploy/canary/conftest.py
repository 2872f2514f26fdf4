"""Stand-ins for kernels: the canary's convolutions in NumPy, rounded and summed the way a library might."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from glow_deploy.canary import make_canary
from glow_deploy.canary.graph import canary_graph
from glow_deploy.canary.patterns import predict

detect_module = importlib.import_module("glow_deploy.canary.detect")  # hidden by the function of that name

# Transforms of Winograd's F(4x4, 3x3) (Lavin & Gray 2016), the least exact float32 kernel in common use.
INPUT = np.float32(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
KERNEL = np.float32(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
RESULT = np.float32([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


class Kernels:
    """Roundings, sums and whole convolutions, all in float32 unless a rounding says otherwise."""

    @staticmethod
    def same(values):
        return values

    @staticmethod
    def tf32(values):
        bits = values.view(np.uint32)
        return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)  # cvt.rna.tf32.f32

    @staticmethod
    def tf32_cut(values):
        return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    @staticmethod
    def fp16(values):
        return values.astype(np.float16).astype(np.float32)

    @staticmethod
    def fp16_flushed(values):
        return np.where(np.abs(values) < 2.0**-14, np.float32(0), Kernels.fp16(values))

    @staticmethod
    def bf16(values):
        ml_dtypes = pytest.importorskip("ml_dtypes")
        return values.astype(ml_dtypes.bfloat16).astype(np.float32)

    @staticmethod
    def flushed(values):
        """What a processor set to flush subnormal float32 numbers to zero makes of a value."""
        return np.where(np.abs(values) < np.finfo(np.float32).tiny, np.float32(0), values)

    @staticmethod
    def blas(columns, weight):
        return columns @ weight

    @staticmethod
    def running(columns, weight):
        """One running sum in float32, from the first product to the last."""
        total = np.zeros((len(columns), weight.shape[1]), np.float32)
        for column, row in zip(columns.T, weight, strict=True):
            total += column[:, None] * row
        return total

    @staticmethod
    def backwards(columns, weight):
        return Kernels.running(columns[:, ::-1], weight[::-1])

    @staticmethod
    def blocked(columns, weight):
        parts = [Kernels.running(columns[:, i : i + 32], weight[i : i + 32]) for i in range(0, len(weight), 32)]
        return np.sum(parts, axis=0, dtype=np.float32)

    @staticmethod
    def pairwise(columns, weight):
        products = [column[:, None] * row for column, row in zip(columns.T, weight, strict=True)]
        while len(products) > 1:
            odd = [products.pop()] if len(products) % 2 else []
            products = [a + b for a, b in zip(products[::2], products[1::2], strict=True)] + odd
        return products[0]

    @staticmethod
    def running_fp16(columns, weight):
        """Sums kept in float16 between groups of eight products, as tensor cores may do."""
        total = np.zeros((len(columns), weight.shape[1]), np.float32)
        for i in range(0, len(weight), 8):
            total = Kernels.fp16(total + columns[:, i : i + 8] @ weight[i : i + 8])
        return total

    @staticmethod
    def direct(images, weight, *, x=same, w=same, total=blas, result=same):
        """[n,C,H,W] and [out,C,k,k] -> [n,out,H,W]: operands rounded by `x` and `w`, summed by `total`."""
        n, channels, height, width = images.shape
        kernel = weight.shape[2]
        pad = kernel // 2
        padded = np.pad(x(images), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        rows = [
            padded[:, :, i : i + height, j : j + width].transpose(0, 2, 3, 1).reshape(-1, channels)
            for i in range(kernel)
            for j in range(kernel)
        ]
        columns = np.concatenate(rows, axis=1)
        matrix = w(weight).transpose(2, 3, 1, 0).reshape(-1, len(weight))
        values = total(columns, np.ascontiguousarray(matrix))
        assert values.dtype == np.float32
        return result(np.ascontiguousarray(values.reshape(n, height, width, -1).transpose(0, 3, 1, 2)))

    @staticmethod
    def winograd(images, weight, *, x=same, w=same):
        """F(4x4, 3x3) in float32; `x` and `w` round the transformed operands, as a tensor-core kernel does."""
        n, _, height, width = images.shape
        padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
        tiles = np.lib.stride_tricks.sliding_window_view(padded, (6, 6), axis=(2, 3))[:, :, ::4, ::4]
        tiles = np.ascontiguousarray(INPUT @ tiles @ INPUT.T)
        spectra = np.ascontiguousarray(KERNEL @ weight @ KERNEL.T)
        products = np.einsum("ncijab,ocab->noijab", x(tiles), w(spectra), optimize=True)
        pieces = RESULT @ products.astype(np.float32) @ RESULT.T
        return pieces.transpose(0, 1, 2, 4, 3, 5).reshape(n, len(weight), height, width).astype(np.float32)


@pytest.fixture(scope="session", autouse=True)
def _predict_once():
    """Predictions depend on the operands alone: make those of each canary once."""
    made: dict[tuple, list] = {}

    def predict_once(canary, kind):
        key = (canary.images.tobytes(), kind)
        if key not in made:
            made[key] = list(predict(canary, kind))
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detect_module, "predict", predict_once)
        yield


@pytest.fixture(scope="session")
def kernels():
    return Kernels


@pytest.fixture(scope="session")
def runner():
    """`runner(one, three, canary)` runs the canary with `one` as its 1x1 and `three` as its 3x3 convolution."""

    def make(one, three=None, canary=None):
        weights = (canary or make_canary()).weights

        def run(x):
            images, times = x[:2], len(x) // 2
            parts = [one(images, weights["1x1"]), (three or one)(images, weights["3x3"])]
            return np.tile(np.concatenate(parts, axis=1), (times, 1, 1, 1))

        return run

    return make


@pytest.fixture(scope="session")
def stand_ins():
    """The stand-ins for CUDA and TensorRT of the engine tests."""
    path = Path(__file__).parents[1] / "engines" / "stand_ins.py"
    spec = importlib.util.spec_from_file_location("glow_test_stand_ins", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def graph():
    return canary_graph(make_canary())
