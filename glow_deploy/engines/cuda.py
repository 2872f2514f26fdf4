"""Device memory, streams, events and graphs through NVIDIA's `cuda-bindings`: no torch, no CuPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from glow_deploy.errors import EngineError, MissingDependencyError

__all__ = ["Cuda"]


class Cuda:
    """One GPU, with every call's return code checked.

    Args:
        index: CUDA ordinal.

    Raises:
        MissingDependencyError: no `cuda-bindings`, no driver, or no such GPU.
    """

    def __init__(self, index: int = 0) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError:
            raise MissingDependencyError(
                "running a TensorRT plan needs cuda-bindings, which is not installed: pip install 'glow-deploy[rtx]'"
            ) from None
        self._api: Any = runtime
        code, count = runtime.cudaGetDeviceCount()
        if int(code) != 0 or count == 0:
            _, driver = runtime.cudaDriverGetVersion()
            reason = "no NVIDIA driver is installed" if driver == 0 else self._text(code)
            raise MissingDependencyError(f"no NVIDIA GPU can be used here: {reason}")
        if index >= count:
            raise MissingDependencyError(f"there is no GPU number {index}: this machine shows {count}")
        self.index = index
        self.activate()
        properties = self._call("cudaGetDeviceProperties", index)
        self.name: str = bytes(properties.name).split(b"\0")[0].decode("utf-8", "replace")
        self.capability: tuple[int, int] = (int(properties.major), int(properties.minor))

    @property
    def target(self) -> str:
        """The GPU's compute capability as `sm89`."""
        return f"sm{self.capability[0]}{self.capability[1]}"

    def activate(self) -> None:
        """Make this GPU the current one of the calling thread."""
        self._call("cudaSetDevice", self.index)

    def allocate(self, nbytes: int) -> int:
        """Return the address of `nbytes` of device memory (at least one byte is taken)."""
        return int(self._call("cudaMalloc", max(nbytes, 1)))

    def free(self, address: int) -> None:
        """Give memory from `allocate` back."""
        self._call("cudaFree", address)

    def upload(self, array: np.ndarray, address: int, stream: int) -> None:
        """Copy a C-contiguous array to the device. The array must live until `synchronize`."""
        self._copy(address, array.ctypes.data, array.nbytes, "cudaMemcpyHostToDevice", stream)

    def download(self, address: int, array: np.ndarray, stream: int) -> None:
        """Fill a C-contiguous array from the device. It is complete after `synchronize`."""
        self._copy(array.ctypes.data, address, array.nbytes, "cudaMemcpyDeviceToHost", stream)

    def create_stream(self) -> int:
        """Return a new stream that does not wait for the default stream."""
        return int(self._call("cudaStreamCreateWithFlags", self._api.cudaStreamNonBlocking))

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream from `create_stream`."""
        self._call("cudaStreamDestroy", stream)

    def synchronize(self, stream: int) -> None:
        """Wait for all work on a stream; errors of that work surface here."""
        self._call("cudaStreamSynchronize", stream)

    def create_event(self) -> int:
        """Return a new event that records time."""
        return int(self._call("cudaEventCreate"))

    def record(self, event: int, stream: int) -> None:
        """Put an event behind the work already on a stream."""
        self._call("cudaEventRecord", event, stream)

    def elapsed_ms(self, start: int, stop: int) -> float:
        """Wait for `stop` and return the milliseconds between two recorded events."""
        self._call("cudaEventSynchronize", stop)
        return float(self._call("cudaEventElapsedTime", start, stop))

    def destroy_event(self, event: int) -> None:
        """Destroy an event from `create_event`."""
        self._call("cudaEventDestroy", event)

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """Record what `work` puts on `stream` as a graph, without running it, and return it ready to launch."""
        mode = self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            work()
        except BaseException:
            # Leaves the stream usable; the graph, if any, is of no use.
            code, graph = self._api.cudaStreamEndCapture(stream)
            if int(code) == 0:
                self._call("cudaGraphDestroy", graph)
            raise
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return int(self._call("cudaGraphInstantiate", graph, 0))
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: int, stream: int) -> None:
        """Run a graph from `capture` on a stream."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Destroy a graph from `capture`."""
        self._call("cudaGraphExecDestroy", graph)

    def _copy(self, target: int, source: int, nbytes: int, kind: str, stream: int) -> None:
        self._call("cudaMemcpyAsync", target, source, nbytes, getattr(self._api.cudaMemcpyKind, kind), stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        code, *results = getattr(self._api, name)(*arguments)
        if int(code) != 0:
            hint = " Run smaller batches." if code == self._api.cudaError_t.cudaErrorMemoryAllocation else ""
            raise EngineError(f"CUDA: {name} failed: {self._text(code)}.{hint}")
        return results[0] if results else None

    def _text(self, code: Any) -> str:
        _, text = self._api.cudaGetErrorString(code)
        return bytes(text).decode("utf-8", "replace")
