"""Stand-ins for a GPU and for TensorRT that really move bytes and really compute, and are stricter than the originals.

Every public name of a stand-in must exist in the original (tests check it), so that code which runs on them uses no
name that TensorRT does not have.
"""

from __future__ import annotations

import enum

import numpy as np

from glow_deploy.errors import EngineError


class StandInCuda:
    """Device memory as a dictionary; kernels run when a stream is synchronised, as on a GPU."""

    def __init__(self, capability=(8, 9)):
        self.index, self.name, self.capability = 0, "Stand-in GPU", capability
        self.memory: dict[int, np.ndarray] = {}
        self.allocations = 0
        self.streams: set[int] = set()
        self.graphs: dict[int, list] = {}
        self.launches = 0
        self.queue: list = []
        self.recording: list | None = None
        self.fail_synchronize = False
        self._next = 4096

    @property
    def target(self):
        return f"sm{self.capability[0]}{self.capability[1]}"

    def activate(self):
        pass

    def allocate(self, nbytes):
        self._next += 1 << 32
        self.allocations += 1
        self.memory[self._next] = np.full(nbytes, 0xFF, np.uint8)  # NaN until written
        return self._next

    def free(self, address):
        del self.memory[address]

    def upload(self, array, address, stream):
        assert array.flags.c_contiguous
        assert stream in self.streams
        data = array.tobytes()
        assert len(data) <= self.memory[address].size, "written beyond the buffer"
        self._put(lambda: self._write(address, data))

    def download(self, address, array, stream):
        assert array.flags.c_contiguous
        assert stream in self.streams
        view = array.reshape(-1).view(np.uint8)
        self._put(lambda: np.copyto(view, self.memory[address][: view.size]))

    def create_stream(self):
        self._next += 1
        self.streams.add(self._next)
        return self._next

    def destroy_stream(self, stream):
        self.streams.remove(stream)

    def synchronize(self, stream):
        assert stream in self.streams
        if self.fail_synchronize:
            self.queue.clear()
            raise EngineError("CUDA: cudaStreamSynchronize failed: an illegal memory access was encountered.")
        for work in self.queue:
            work()
        self.queue.clear()

    def capture(self, stream, work):
        assert not self.queue, "captured with work pending"
        self.recording = []
        work()
        self._next += 1
        self.graphs[self._next] = self.recording
        self.recording = None
        return self._next

    def launch(self, graph, stream):
        self.launches += 1
        for work in self.graphs[graph]:
            self._put(work)

    def destroy_graph(self, graph):
        del self.graphs[graph]

    def _put(self, work):
        (self.queue if self.recording is None else self.recording).append(work)

    def _write(self, address, data):
        self.memory[address][: len(data)] = np.frombuffer(data, np.uint8)


class StandInTensorRT:
    """The part of the module `tensorrt` or `tensorrt_rtx` that the runner uses.

    Args:
        cuda: where the engines run.
        inputs: name -> (shape without batch, dtype name).
        outputs: the same.
        compute: dictionary of input arrays -> dictionary of output arrays.
        batches: smallest, preferred and largest of the profile.
        refuse: name of the step that fails: `deserialize`, `context`, `shape`, `infer`, `address`, `execute`.
        rtx: has the names that only TensorRT for RTX has.
    """

    def __init__(self, cuda, *, inputs, outputs, compute, batches=(1, 2, 4), refuse="", rtx=False):
        self.__name__ = "tensorrt_rtx" if rtx else "tensorrt"
        self.__version__ = "1.7.1.116" if rtx else "11.4.0.106"
        self.cuda, self.inputs, self.outputs, self.compute = cuda, inputs, outputs, compute
        self.batches, self.refuse, self.rtx = batches, refuse, rtx
        self.freed: list[str] = []
        self.contexts: list = []
        module = self

        class Runtime:
            def __init__(self, logger):
                self._logger = logger
                self.engine_host_code_allowed = None

            def deserialize_cuda_engine(self, serialized_engine):
                module.host_code_at_load = self.engine_host_code_allowed
                if module.refuse == "deserialize":
                    self._logger.log(module.ILogger.Severity.ERROR, "Magic tag does\nnot match")
                    return None
                return Engine(module, self._logger)

            def __del__(self):
                module.freed.append("runtime")

        self.Runtime = Runtime
        if rtx:
            self.CudaGraphStrategy = enum.Enum("CudaGraphStrategy", ["DISABLED", "WHOLE_GRAPH_CAPTURE"])
            self.DynamicShapesKernelSpecializationStrategy = enum.Enum(
                "DynamicShapesKernelSpecializationStrategy", ["LAZY", "EAGER", "NONE"]
            )

    class ILogger:
        class Severity(enum.Enum):
            INTERNAL_ERROR = 0
            ERROR = 1
            WARNING = 2
            INFO = 3

        def __init__(self):
            pass

    class TensorIOMode(enum.Enum):
        NONE = 0
        INPUT = 1
        OUTPUT = 2

    class DataType(enum.Enum):
        FLOAT = "float32"
        INT64 = "int64"
        BF16 = "bfloat16"


class RuntimeConfig:
    def __init__(self):
        self.cuda_graph_strategy = None
        self.dynamic_shapes_kernel_specialization_strategy = None


class Engine:
    """Stands in for ICudaEngine."""

    num_optimization_profiles = 1

    def __init__(self, module, logger):
        self._module, self._logger = module, logger
        self._tensors = {**module.inputs, **module.outputs}

    @property
    def num_io_tensors(self):
        return len(self._tensors)

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_dtype(self, name):
        return self._module.DataType(self._tensors[name][1])

    def get_tensor_shape(self, name):
        return (-1, *self._tensors[name][0])

    def get_tensor_mode(self, name):
        mode = self._module.TensorIOMode
        return mode.INPUT if name in self._module.inputs else mode.OUTPUT

    def get_tensor_profile_shape(self, name, profile_index):
        assert profile_index == 0
        assert name in self._module.inputs
        return [(batch, *self._tensors[name][0]) for batch in self._module.batches]

    def create_runtime_config(self):
        assert self._module.rtx, "standard TensorRT has other runtime options"
        return RuntimeConfig()

    def create_execution_context(self, runtime_config=None):
        if self._module.refuse == "context":
            return None
        context = Context(self._module, self._logger, runtime_config)
        self._module.contexts.append(context.record)
        return context

    def __del__(self):
        self._module.freed.append("engine")


class Context:
    """Stands in for IExecutionContext."""

    def __init__(self, module, logger, config):
        self._module, self._logger = module, logger
        self._shapes: dict[str, tuple] = {}
        self._addresses: dict[str, int] = {}
        self.record = {"config": config, "batches": [], "shapes_set": 0}

    def set_input_shape(self, name, shape):
        assert not self._module.cuda.graphs, "context changed under a captured graph"
        low, _, high = self._module.batches
        if self._module.refuse == "shape" or not low <= shape[0] <= high:
            return False
        self.record["shapes_set"] += 1
        self._shapes[name] = tuple(shape)
        return True

    def infer_shapes(self):
        return ["x"] if self._module.refuse == "infer" else [n for n in self._module.inputs if n not in self._shapes]

    def get_tensor_shape(self, name):
        if name in self._shapes:
            return self._shapes[name]
        rows = next(iter(self._shapes.values()))[0]
        return (rows, *self._module.outputs[name][0])

    def set_tensor_address(self, name, memory):
        assert memory in self._module.cuda.memory
        self._addresses[name] = memory
        return self._module.refuse != "address"

    def execute_async_v3(self, stream_handle):
        module, cuda = self._module, self._module.cuda
        if module.refuse == "execute":
            self._logger.log(module.ILogger.Severity.ERROR, "kernel launch failed")
            return False
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        assert set(addresses) == {*module.inputs, *module.outputs}

        def kernel():
            arrays = {}
            for name, (_, dtype) in module.inputs.items():
                count = int(np.prod(shapes[name]))
                arrays[name] = cuda.memory[addresses[name]].view(dtype)[:count].reshape(shapes[name]).copy()
            self.record["batches"].append(next(iter(shapes.values()))[0])
            for name, array in module.compute(arrays).items():
                data = np.ascontiguousarray(array, module.outputs[name][1]).tobytes()
                assert len(data) <= cuda.memory[addresses[name]].size, "written beyond the buffer"
                cuda._write(addresses[name], data)

        cuda._put(kernel)
        return True

    def __del__(self):
        self._module.freed.append("context")
