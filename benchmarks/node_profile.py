"""Which parts of a graph take the time: the paper's CIFAR-10 model in ONNX Runtime and in OpenVINO, node by node.

Of every node the best of all runs counts, as the runtime's own profiler tells it. The convolutions stand by level with
their rate of arithmetic, beside the machine's rate of float32 matrix products, and with the rate at which their
weights are read: where the first is low, the second says whether memory is why. With --threads 1 even a busy machine
gives steady figures. Usage:
    python benchmarks/node_profile.py [--role decoder] [--batch 1] [--threads 1] [--runs 30] [--transposed] [--quick]
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from _contenders import graph
from _paper import paper_glow
from rich.console import Console
from rich.table import Table

from glow_deploy.bench.matrix_rate import matrix_rate
from glow_deploy.folding import FoldedGlow
from glow_deploy.folding.fold import fold
from glow_deploy.inspect.flops import convolutions
from glow_deploy.runtime import import_onnxruntime

Feeds = dict[str, np.ndarray]
Times = dict[str, tuple[str, float]]  # node -> what it is, and milliseconds

_PART = re.compile(r"(level\d+)/(?:step\d+/)?(?:coupling/)?(conv[123]|relu[12]|invconv|split/conv)(?=[:/]|$)")
_FUSED = {"relu1": "conv1", "relu2": "conv2"}  # a convolution goes by its ReLU's name in ONNX Runtime


def in_onnxruntime(model: bytes, feeds: Feeds, *, runs: int, threads: int) -> Times:
    onnxruntime = import_onnxruntime()
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 4
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder, "profile"))
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for _ in range(runs):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    found: Times = {}
    for event in events:
        if event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            best = min(found.get(name, ("", np.inf))[1], event["dur"] / 1e3)
            found[name] = (event["args"]["op_name"], best)
    return found


def in_openvino(model: bytes, feeds: Feeds, *, runs: int, threads: int) -> Times:
    import openvino

    core = openvino.Core()
    read = core.read_model(model)
    read.reshape({name: array.shape for name, array in feeds.items()})  # as the backend openvino-cpu does
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERF_COUNT": True}
    request = core.compile_model(read, "CPU", settings).create_infer_request()
    found: Times = {}
    for _ in range(runs):
        request.infer(feeds)
        for node in request.get_profiling_info():
            took = node.real_time.total_seconds() * 1e3
            if took > 0:
                found[node.node_name] = (node.node_type, min(found.get(node.node_name, ("", np.inf))[1], took))
    return found


def transposed(model: bytes) -> bytes:
    """Write conv3, whose outputs are few, as the transposed convolution that gives the same numbers.

    ONNX Runtime makes one matrix product of that, with nine times the outputs, and adds the nine up.
    """
    proto = onnx.load_from_string(model)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.name.endswith("/coupling/conv3"):
            tensor = weights[node.input[1]]
            flipped = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor).swapaxes(0, 1)[:, :, ::-1, ::-1])
            tensor.CopyFrom(onnx.numpy_helper.from_array(flipped, tensor.name))
            node.op_type = "ConvTranspose"
    return proto.SerializeToString()


def group(times: Times) -> dict[str, tuple[int, float]]:
    """Part of the model, or kind of node -> how many nodes, and milliseconds."""
    found: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for name, (kind, took) in times.items():
        part = _PART.search(name)
        key = f"other: {kind}"
        if part is not None and kind.lower().startswith("conv") and kind != "Convert":
            key = f"{part[1]}/{_FUSED.get(part[2], part[2])}"
        count, total = found[key]
        found[key] = (count + 1, total + took)
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


def work(model: onnx.ModelProto, batch: int) -> dict[str, tuple[int, int]]:
    """Part of the model -> operations, and bytes of its weights."""
    sizes = {tensor.name: len(tensor.raw_data) for tensor in model.graph.initializer}
    weights = {node.name: sum(sizes.get(name, 0) for name in node.input) for node in model.graph.node}
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for convolution in convolutions(model):
        part = _PART.search(convolution.name)
        assert part is not None, convolution.name
        flops, size = found[f"{part[1]}/{part[2]}"]
        found[f"{part[1]}/{part[2]}"] = (flops + batch * convolution.flops, size + weights[convolution.name])
    return found


def show(console: Console, title: str, times: Times, done: dict[str, tuple[int, int]], rate: float) -> None:
    groups = group(times)
    total = sum(took for _, took in groups.values())
    flops = sum(count for count, _ in done.values())
    table = Table(title=f"{title}: {total:.1f} ms in all, {flops / total / 1e6 / rate:.2f} of the matrix-product rate")
    table.add_column("part")
    for column in ("nodes", "ms", "share", "GFLOP/s", "of matrix rate", "GB/s of weights"):
        table.add_column(column, justify="right")
    for name, (count, took) in groups.items():
        rates: Iterable[str] = ("", "", "")
        if name in done:
            speed = done[name][0] / took / 1e6
            rates = (f"{speed:.0f}", f"{speed / rate:.2f}", f"{done[name][1] / took / 1e6:.1f}")
        table.add_row(name, str(count), f"{took:.2f}", f"{took / total:.1%}", *rates)
    console.print(table)


def feeds_of(folded: FoldedGlow, role: str, batch: int) -> Feeds:
    generator = np.random.default_rng(0)
    if role == "encoder":
        return {"x": generator.random((batch, *folded.image_shape), dtype=np.float32)}
    return {
        f"z{index}": generator.standard_normal((batch, *shape), dtype=np.float32)
        for index, shape in enumerate(folded.latent_shapes, start=1)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a model of 2 steps and width 32, to see that it runs")
    parser.add_argument("--role", choices=("encoder", "decoder"), default="decoder")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--transposed", action="store_true", help="also with conv3 as a transposed convolution")
    options = parser.parse_args()
    folded = fold(paper_glow(**({"width": 32, "steps": 2} if options.quick else {})))
    feeds = feeds_of(folded, options.role, options.batch)
    console = Console(width=120)
    profiles = [
        ("ONNX Runtime, fp32", "fp32", in_onnxruntime),
        ("OpenVINO, fp32", "fp32", in_openvino),
        ("OpenVINO, bf16-mixed", "bf16-mixed", in_openvino),
    ]
    if options.transposed:
        profiles.insert(1, ("ONNX Runtime, conv3 transposed", "fp32", in_onnxruntime))
    largest = max(convolutions(onnx.load_from_string(graph(folded, options.role, "fp32"))), key=lambda conv: conv.flops)
    shape = (largest.rows, largest.inner, largest.columns * options.batch)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    rate = matrix_rate([shape], seconds=2, threads=options.threads, clock=clock).flops_per_second / 1e9
    for label, precision, profile in profiles:
        model = graph(folded, options.role, precision)
        proto = onnx.load_from_string(model)
        model = transposed(model) if "transposed" in label else model
        times = profile(model, feeds, runs=options.runs, threads=options.threads)
        show(console, f"{label}, {options.role}, batch {options.batch}", times, work(proto, options.batch), rate)


if __name__ == "__main__":
    main()
