"""What every backend looks like from outside: named tensors in, named NumPy arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol

import numpy as np

__all__ = ["Engine", "EngineDetails", "Role", "TensorSpec"]

Role = Literal["encoder", "decoder"]


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of an engine.

    Attributes:
        name: `x`, `y`, `log_prob` or `z1` ... `zL`.
        dtype: NumPy name, `float32`, `float64` or `int64`.
        shape: without the batch dimension, so `()` for `log_prob` and `y`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class EngineDetails:
    """What really runs, as found after opening: never what was asked for.

    Attributes:
        backend: `pytorch-fp64`, `pytorch-fp32`, `onnxruntime-cpu`, `onnxruntime-cuda`, `openvino-cpu`, ...,
            `tensorrt` or `tensorrt-rtx`.
        provider: e.g. `CPUExecutionProvider`, `TensorRT-RTX 1.7.1`, `torch cpu`.
        device: `cpu` or `cuda:N`, with the GPU's name where there is one.
        precision: as recorded in the graph: `fp32`, ...; `fp64` for the reference.
        tf32: True where TF32 may be used, False where it is known to be off.
        versions: package name -> version of what runs the engine.
        max_batch: the largest batch run at once; larger requests are split. None: no limit.
        named_batches: sizes that the engine was built for: of a plan, what its profile names. Others may work as well.
    """

    backend: str
    provider: str
    device: str
    precision: str
    tf32: bool
    versions: Mapping[str, str]
    max_batch: int | None = None
    named_batches: tuple[int, ...] = ()


class Engine(Protocol):
    """An encoder or a decoder, ready to run. A context manager: device memory goes back on exit.

    `n_bits` is that of the model, so that a lone engine file is enough to read and write pictures.
    """

    @property
    def role(self) -> Role:
        """Which direction the engine computes."""
        ...

    @property
    def n_bits(self) -> int:
        """Bit depth of the model's pixels, 1 to 8."""
        ...

    @property
    def num_classes(self) -> int | None:
        """K of a class-conditional model, whose labels `y` are 0 .. K-1; None for a model without classes."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` gives."""
        ...

    @property
    def details(self) -> EngineDetails:
        """What really runs."""
        ...

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one batch of any size >= 1.

        Args:
            feeds: every input by name, C-contiguous or not, `[N, *shape]`, of the dtype in `inputs`.

        Returns:
            Every output by name, `[N, *shape]`.

        Raises:
            EngineError: a name, dtype or shape does not fit, or the backend failed.
        """
        ...

    def close(self) -> None:
        """Give memory and device back; twice is harmless."""
        ...

    def __enter__(self) -> Engine: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
