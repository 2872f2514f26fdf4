"""Running TensorRT plans of either flavour on a GPU, with device memory of our own and without torch."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from glow_deploy.artifact.flavors import LABELS, Flavor
from glow_deploy.artifact.signature import check_signature, tensor_names
from glow_deploy.errors import EngineError
from glow_deploy.interrupts import interrupts_deferred
from glow_deploy.protocol import EngineDetails, TensorSpec

from .base import EngineBase
from .cuda import Cuda
from .splitting import pad_rows, split_batch
from .trt_module import collection_paused, keep_log

if TYPE_CHECKING:
    from glow_deploy.artifact.metadata import GraphMetadata

__all__ = ["TensorRTEngine"]

_DTYPES = {"FLOAT": "float32", "INT64": "int64", "HALF": "float16", "INT32": "int32"}


class TensorRTEngine(EngineBase):
    """A plan on a GPU. Not for use by two threads at once.

    Batches beyond the optimization profile are split, those below it padded; the caller sees neither.

    Args:
        plan: its bytes, already checked.
        trt: the module `tensorrt` or `tensorrt_rtx`, whichever wrote the plan.
        cuda: the GPU.
        flavor: which of the two `trt` is.
        facts: what is known of the model.
        tf32: whether TF32 kernels may be in the plan.
        source: the plan's name, for messages.
        cuda_graphs: replay the work as a CUDA graph once the same batch size comes twice in a row.

    Raises:
        EngineError: TensorRT cannot deserialise or set up the plan.
        BundleError: the plan's tensors are not those of the model.
    """

    def __init__(
        self,
        plan: bytes,
        *,
        trt: Any,
        cuda: Cuda,
        flavor: Flavor,
        facts: GraphMetadata,
        tf32: bool,
        source: str,
        cuda_graphs: bool = False,
    ) -> None:
        self._trt = trt
        self._cuda = cuda
        self._source = source
        self._flavor: Flavor = flavor
        self._buffers: dict[str, tuple[int, int]] = {}  # name -> address, bytes
        self._rows = 0  # batch the context is set up for
        self._graph: int | None = None
        self._stream: int | None = None
        self._engine: Any = None
        self._context: Any = None
        self._runtime_config: Any = None
        # TensorRT for RTX captures by itself (its kernels may still be compiling while we would).
        self._capture = cuda_graphs and flavor == "tensorrt"
        cuda.activate()
        self._log = keep_log(trt)
        try:
            with collection_paused(), interrupts_deferred():
                self._runtime: Any = trt.Runtime(self._log)
        except TypeError:  # what pybind makes of a null pointer
            raise EngineError(f"{LABELS[flavor]} cannot start on {cuda.name}: {self._reason()}") from None
        self._runtime.engine_host_code_allowed = False
        try:
            with collection_paused(), interrupts_deferred():
                self._load(plan, cuda_graphs=cuda_graphs)
            inputs, outputs = self._signature()
            check_signature(facts, inputs, outputs, source=source)
            # A plan lists its tensors in an order that changes from build to build.
            inputs, outputs = _in_order(inputs, tensor_names(facts)[0]), _in_order(outputs, tensor_names(facts)[1])
            self._smallest, preferred, self._largest = self._profile(inputs)
            self._stream = cuda.create_stream()
        except BaseException:
            self._close()
            raise
        super().__init__(
            role=facts.role,
            n_bits=facts.n_bits,
            inputs=inputs,
            outputs=outputs,
            details=EngineDetails(
                backend="tensorrt" if flavor == "tensorrt" else "tensorrt-rtx",
                provider=f"{LABELS[flavor]} {trt.__version__}",
                device=f"cuda:{cuda.index} ({cuda.name})",
                precision=facts.precision,
                tf32=tf32,
                versions={trt.__name__: str(trt.__version__)},
                max_batch=self._largest,
                named_batches=(self._smallest, *preferred, self._largest),
            ),
            num_classes=facts.num_classes,
        )

    def _run(self, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        self._cuda.activate()
        results = {spec.name: np.empty((batch, *spec.shape), spec.dtype) for spec in self._outputs}
        for piece in split_batch(batch, smallest=self._smallest, largest=self._largest):
            rows = {name: pad_rows(array[piece.start : piece.stop], piece.rows) for name, array in arrays.items()}
            for name, array in self._run_piece(rows, piece.rows).items():
                results[name][piece.start : piece.stop] = array[: piece.stop - piece.start]
        return results

    def _run_piece(self, arrays: dict[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
        repeated = rows == self._rows
        if not repeated:
            self._prepare(rows)
        for name, array in arrays.items():
            self._cuda.upload(array, self._buffers[name][0], self._live_stream)
        if self._graph is not None:
            self._cuda.launch(self._graph, self._live_stream)
        else:
            self._enqueue()
        results = {spec.name: np.empty((rows, *spec.shape), spec.dtype) for spec in self._outputs}
        for name, array in results.items():
            self._cuda.download(self._buffers[name][0], array, self._live_stream)
        self._cuda.synchronize(self._live_stream)
        if repeated and self._capture and self._graph is None:
            # Only now: TensorRT wants to have run once with these shapes before it is captured.
            self._graph = self._cuda.capture(self._live_stream, self._enqueue)
        return results

    def _prepare(self, rows: int) -> None:
        """Set shapes and addresses for a batch of `rows`.

        A captured graph is void once its context changes, so it goes first.
        """
        self._drop_graph()
        self._rows = 0
        for spec in self._inputs:
            shape = (rows, *spec.shape)
            if not self._context.set_input_shape(spec.name, shape):
                raise EngineError(f"{self._label} refuses {spec.name} of shape {list(shape)}: {self._reason()}")
        unknown = self._context.infer_shapes()
        if unknown:
            raise EngineError(f"{self._label} cannot tell the shape of {', '.join(unknown)}: {self._reason()}")
        for spec in (*self._inputs, *self._outputs):
            shape = tuple(self._context.get_tensor_shape(spec.name))
            if shape != (rows, *spec.shape):
                raise EngineError(
                    f"{self._label} would give {spec.name} the shape {list(shape)}, not {[rows, *spec.shape]}"
                )
            address = self._buffer(spec, rows)
            if not self._context.set_tensor_address(spec.name, address):
                raise EngineError(f"{self._label} refuses the memory for {spec.name}: {self._reason()}")
        self._rows = rows

    def _buffer(self, spec: TensorSpec, rows: int) -> int:
        nbytes = rows * int(np.prod(spec.shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize
        address, room = self._buffers.get(spec.name, (0, 0))
        if nbytes > room:
            if address:
                del self._buffers[spec.name]
                self._cuda.free(address)
            address = self._cuda.allocate(nbytes)
            self._buffers[spec.name] = (address, nbytes)
        return address

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._live_stream):
            raise EngineError(f"{self._label} failed to run a batch of {self._rows}: {self._reason()}")

    def _load(self, plan: bytes, *, cuda_graphs: bool) -> None:
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(
                f"{self._label} cannot load the plan on {self._cuda.name}: {self._reason()}; compile it again here"
            )
        if self._flavor == "rtx":
            self._runtime_config = self._engine.create_runtime_config()
            strategy = self._trt.CudaGraphStrategy
            self._runtime_config.cuda_graph_strategy = (
                strategy.WHOLE_GRAPH_CAPTURE if cuda_graphs else strategy.DISABLED
            )
            # The default swaps kernels in the background while the engine is in use, so that what was verified
            # would not be what runs a moment later.
            specialization = self._trt.DynamicShapesKernelSpecializationStrategy
            self._runtime_config.dynamic_shapes_kernel_specialization_strategy = specialization.EAGER
            self._context = self._engine.create_execution_context(self._runtime_config)
        else:
            self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"{self._label} cannot set the plan up: {self._reason()} Is GPU memory used up?")

    def _signature(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        sides: dict[bool, list[TensorSpec]] = {True: [], False: []}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            kind = self._engine.get_tensor_dtype(name).name
            if kind not in _DTYPES:
                raise EngineError(f"{self._label}: {name} is of the type {kind}, which is not supported")
            shape = tuple(self._engine.get_tensor_shape(name))
            is_input = self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
            sides[is_input].append(TensorSpec(name=name, dtype=_DTYPES[kind], shape=shape[1:]))
        return tuple(sides[True]), tuple(sides[False])

    def _profile(self, inputs: tuple[TensorSpec, ...]) -> tuple[int, tuple[int, ...], int]:
        """Smallest batch that every input allows, those it is tuned for, and the largest."""
        if self._engine.num_optimization_profiles < 1:
            raise EngineError(f"{self._label}: the plan has no optimization profile: compile it again")
        smallest, largest = 1, 2**31 - 1
        tuned: set[int] = set()
        for spec in inputs:
            low, best, high = (tuple(shape) for shape in self._engine.get_tensor_profile_shape(spec.name, 0))
            smallest, largest = max(smallest, low[0]), min(largest, high[0])
            tuned.add(best[0])
        if smallest > largest:
            raise EngineError(f"{self._label}: no batch size fits the profiles of all inputs: compile it again")
        return smallest, tuple(sorted(size for size in tuned if smallest <= size <= largest)), largest

    def _drop_graph(self) -> None:
        if self._graph is not None:
            graph, self._graph = self._graph, None
            self._cuda.destroy_graph(graph)

    def _close(self) -> None:
        # Work first, then what it uses, then what made that: TensorRT objects do not keep their parents alive.
        # After a failed kernel every CUDA call fails, and the context takes the memory with it.
        with suppress(EngineError):
            self._cuda.activate()
            if self._stream is not None:
                self._cuda.synchronize(self._stream)
            self._drop_graph()
        self._context = None
        self._runtime_config = None
        self._engine = None
        self._runtime = None
        with suppress(EngineError):
            for address, _ in self._buffers.values():
                self._cuda.free(address)
            if self._stream is not None:
                self._cuda.destroy_stream(self._stream)
        self._buffers.clear()
        self._stream = None

    @property
    def _live_stream(self) -> int:
        assert self._stream is not None  # set before the first run, cleared only by close
        return self._stream

    @property
    def _label(self) -> str:
        return f"{LABELS[self._flavor]} ({self._source})"

    def _reason(self) -> str:
        kept = self._log.errors or self._log.messages
        return kept[-1][:300] if kept else "TensorRT gave no reason"


def _in_order(specs: tuple[TensorSpec, ...], names: list[str]) -> tuple[TensorSpec, ...]:
    return tuple(sorted(specs, key=lambda spec: names.index(spec.name)))
