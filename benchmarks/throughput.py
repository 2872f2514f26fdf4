"""Encoder and decoder of the paper's CIFAR-10 model, side by side in one run on the CPU.

Everything is timed in turn, round after round, so that a disturbance hits all rows alike; the best round counts. The
share is the rate of the convolutions' arithmetic over the machine's matrix-product rate, the best of NumPy, ONNX
Runtime and torch, measured in the same run. All rows compute in float32 but those that say otherwise: at its default
OpenVINO takes bfloat16 on CPUs that have it, and that row compares unlike with like. Usage:
    python benchmarks/throughput.py [--quick] [--rounds N]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _paper import FoldedDecoder, FoldedEncoder, paper_glow
from rich.console import Console
from rich.table import Table

from glow_core import Glow, save_checkpoint
from glow_deploy import open_engine
from glow_deploy.artifact.lint import read_model
from glow_deploy.bench.matrix_rate import matrix_rate
from glow_deploy.export import ExportSettings, export
from glow_deploy.folding.fold import fold
from glow_deploy.inspect.flops import convolutions

Run = Callable[[], object]


def torch_runs(glow: Glow, role: str, feeds: dict[str, torch.Tensor], *, compiled: bool) -> dict[str, Run]:
    """The model as trained, and folded by hand: eager, channels-last, torch.compile."""
    folded = fold(glow)
    module = (FoldedEncoder if role == "encoder" else FoldedDecoder)(folded).eval()
    last = (FoldedEncoder if role == "encoder" else FoldedDecoder)(folded).eval().to(memory_format=torch.channels_last)
    values = list(feeds.values())
    strided = [value.contiguous(memory_format=torch.channels_last) for value in values]
    trained: Run = (lambda: glow.encode(*values)) if role == "encoder" else (lambda: glow.decode(values))
    runs: dict[str, Run] = {
        "PyTorch, as trained": trained,
        "PyTorch eager, folded": lambda: module(*values),
        "PyTorch channels-last, folded": lambda: last(*strided),
    }
    if compiled:
        fast = torch.compile(last, dynamic=False)
        runs["torch.compile channels-last, folded"] = lambda: fast(*strided)
    return runs


def openvino_runs(path: Path, feeds: dict[str, np.ndarray]) -> tuple[dict[str, Run], dict[str, str]]:
    """OpenVINO in float32, and in what it takes by itself where that is another format; and the formats of both."""
    runs: dict[str, Run] = {}
    formats: dict[str, str] = {}
    for backend, label in (("openvino-cpu", "OpenVINO"), ("openvino-cpu-default", "OpenVINO, its default")):
        engine = open_engine(path, backend=backend)
        told = engine.details.provider.rpartition(" in ")[2]
        if backend == "openvino-cpu" or told != "f32":
            runs[label] = lambda engine=engine: engine.run(feeds)
            formats[label] = told
    return runs, formats


def best_times(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    best: dict[str, float] = {}
    for name, run in list(runs.items()):
        try:
            run()
            run()
        except Exception as error:  # torch.compile needs a C++ compiler, and says so in many ways
            print(f"{name} does not run here: {str(error).splitlines()[0][:150]}")
            del runs[name]
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            elapsed = time.perf_counter() - start
            best[name] = min(best.get(name, elapsed), elapsed)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a model of 2 steps and width 32, to see that it runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out; it compiles for minutes")
    options = parser.parse_args()
    size = {"width": 32, "steps": 2} if options.quick else {}
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        glow = paper_glow(**size)
        save_checkpoint(glow, folder / "ckpt.pt")
        bundle = export(folder / "ckpt.pt", out=folder / "bundle", settings=ExportSettings(golden=2))
        for role in ("decoder", "encoder"):
            path = bundle.path / f"{role}.onnx"
            found = convolutions(read_model(path))
            flops = sum(convolution.flops for convolution in found)
            for batch in (1, 16):
                biggest = max(found, key=lambda convolution: convolution.flops)
                shape = (biggest.rows, biggest.inner, biggest.columns * batch)
                with open_engine(path, device="cpu") as engine:
                    generator = np.random.default_rng(0)
                    arrays = {
                        spec.name: generator.random((batch, *spec.shape), dtype=np.float32)
                        if role == "encoder"
                        else generator.standard_normal((batch, *spec.shape), dtype=np.float32)
                        for spec in engine.inputs
                    }
                    runs: dict[str, Run] = {"glow-deploy (ONNX Runtime)": lambda e=engine, a=arrays: e.run(a)}
                    others, formats = openvino_runs(path, arrays)
                    runs |= others
                    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
                    runs |= torch_runs(glow, role, tensors, compiled=not options.no_compile)
                    a, b = torch.randn(shape[0], shape[1]), torch.randn(shape[1], min(shape[2], 4096))
                    runs["torch product"] = lambda a=a, b=b: a @ b
                    times = best_times(runs, options.rounds)
                product = 2 * a.shape[0] * a.shape[1] * b.shape[1] / times.pop("torch product")
                found_rate = matrix_rate([shape])
                rate = max(product, found_rate.flops_per_second)
                table = Table(
                    title=f"{role}, batch {batch}: {flops * batch / 1e9:.1f} GFLOP; "
                    f"matrix products at {rate / 1e9:.0f} GFLOP/s"
                )
                for column in ("what", "computes in", "ms", "images/s", "ratio", "share of the matrix-product rate"):
                    table.add_column(column, justify="left" if column in ("what", "computes in") else "right")
                base = times["glow-deploy (ONNX Runtime)"]
                for label, seconds in times.items():
                    share = flops * batch / seconds / rate
                    table.add_row(
                        label,
                        formats.get(label, "f32"),
                        f"{1e3 * seconds:.1f}",
                        f"{batch / seconds:.1f}",
                        f"{seconds / base:.2f}",
                        f"{share:.2f}",
                    )
                console.print(table)


if __name__ == "__main__":
    main()
