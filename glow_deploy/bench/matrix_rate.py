"""How fast this machine multiplies matrices: the ceiling that engines on its CPU are measured against."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from glow_deploy.errors import UsageError
from glow_deploy.runtime import import_onnxruntime

__all__ = ["MatrixRate", "matrix_rate"]

# One product should last long enough for the clock and short enough to be repeated.
_LEAST_COLUMNS, _MOST_COLUMNS = 64, 4096


@dataclass(frozen=True, kw_only=True)
class MatrixRate:
    """The best float32 matrix-product rate found.

    Attributes:
        flops_per_second: floating-point operations per second; a multiplication and an addition are two.
        library: `numpy` or `onnxruntime`, whichever was faster.
        shape: (rows, inner, columns) of the product.
    """

    flops_per_second: float
    library: str
    shape: tuple[int, int, int]


def matrix_rate(
    shapes: Sequence[tuple[int, int, int]],
    *,
    seconds: float = 0.6,
    threads: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> MatrixRate:
    """Measure [rows, inner] x [inner, columns] in float32, in NumPy and in ONNX Runtime, and keep the best.

    The minimum of the times is used, so that the ceiling is what the machine can do undisturbed.

    Args:
        shapes: sizes to try, like those of the model; columns are brought between 64 and 4096.
        seconds: time for each shape and library.
        threads: for ONNX Runtime; NumPy's BLAS goes by its own environment variables.
        clock: tells the time in seconds.

    Raises:
        UsageError: no shapes.
    """
    best: MatrixRate | None = None
    generator = np.random.default_rng(0)
    for rows, inner, wanted in dict.fromkeys(shapes):
        columns = min(max(wanted, _LEAST_COLUMNS), _MOST_COLUMNS)
        a = generator.standard_normal((rows, inner), dtype=np.float32)
        b = generator.standard_normal((inner, columns), dtype=np.float32)
        out = np.empty((rows, columns), np.float32)
        runners = {"numpy": _numpy_product(a, b, out), "onnxruntime": _session_product(a, b, threads)}
        for library, run in runners.items():
            rate = 2.0 * rows * inner * columns / _fastest(run, seconds, clock)
            if best is None or rate > best.flops_per_second:
                best = MatrixRate(flops_per_second=rate, library=library, shape=(rows, inner, columns))
    if best is None:
        raise UsageError("the graph has no convolutions, so there is no matrix product to compare with")
    return best


def _numpy_product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> Callable[[], object]:
    return lambda: np.matmul(a, b, out=out)


def _session_product(a: np.ndarray, b: np.ndarray, threads: int | None) -> Callable[[], object]:
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [b.shape[1], a.shape[1]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [b.shape[1], a.shape[0]])
    # The weight is a constant, as in a model, so that ONNX Runtime packs it once.
    weight = numpy_helper.from_array(np.ascontiguousarray(a.T), "weight")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "weight"], ["y"])], "product", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {"x": np.ascontiguousarray(b.T)}
    return lambda: session.run(None, feeds)


def _fastest(run: Callable[[], object], seconds: float, clock: Callable[[], float]) -> float:
    run()
    best = float("inf")
    end = clock() + seconds
    while True:
        start = clock()
        run()
        now = clock()
        best = min(best, now - start)
        if now >= end:
            return best
