"""Encoder and decoder of the paper's CIFAR-10 model, side by side in one run on the CPU.

Everything is timed in turn, round after round, so that a disturbance hits all rows alike. The ratio is the median over
the rounds of a row's time over that of ONNX Runtime in the same round, with the quartiles behind it: compare only rows
that compute in the same format. `exact pixels` says what a row is worth: the share of pixels that come back through its
own encoder and decoder, of samples of the model. OpenVINO's default is a warning, no contender: it takes bfloat16
wherever the CPU has it. The share of the matrix-product rate goes by the best round and by the float32 rate, the best
of NumPy, ONNX Runtime and torch in the same run; bfloat16 can pass 1. Usage:
    python benchmarks/throughput.py [--quick] [--rounds N] [--no-compile | --no-torch] [--threads 1 [--cpu-time]]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import torch
from _contenders import BASE, BF16, Contender, contenders, graph
from _paper import paper_glow
from rich.console import Console
from rich.table import Table

from glow_deploy.bench.matrix_rate import matrix_rate
from glow_deploy.folding.fold import fold
from glow_deploy.inspect.flops import Convolution, convolutions
from glow_deploy.protocol import Role

Clock = Callable[[], float]
Run = Callable[[], object]


def round_times(runs: dict[str, Run], rounds: int, clock: Clock) -> dict[str, np.ndarray]:
    """Seconds of each round, float64 [rounds]; what does not run is told and left out."""
    times: dict[str, list[float]] = {}
    for name, run in runs.items():
        try:
            run()
            run()
        except Exception as error:  # torch.compile needs a C++ compiler, and says so in many ways
            print(f"{name} does not run here: {str(error).splitlines()[0][:150]}")
        else:
            times[name] = []
    for _ in range(rounds):
        for name, measured in times.items():
            time.sleep(0.005)  # threads of the one before may still be waiting for work, on a core each
            start = clock()
            runs[name]()
            measured.append(clock() - start)
    return {name: np.array(measured) for name, measured in times.items()}


def _run(row: Contender, role: Role, x: np.ndarray, latents: list[np.ndarray]) -> Run:
    return partial(row.encode, x) if role == "encoder" else partial(row.decode, latents)


def exact_pixels(row: Contender, x: np.ndarray) -> float:
    """Share of pixels of 8 bits that come back, 0 to 1."""
    back = row.decode(row.encode(x)).astype(np.float64)
    return float(np.mean(np.abs(back - x) < 2.0**-9))


def float32_rate(largest: Convolution, batch: int, *, threads: int | None, rounds: int, clock: Clock) -> float:
    """Operations per second of products of that size, the best of NumPy, ONNX Runtime and torch."""
    shape = (largest.rows, largest.inner, largest.columns * batch)
    a, b = torch.randn(*shape[:2]), torch.randn(shape[1], min(shape[2], 4096))
    best = round_times({"torch": lambda: a @ b}, 20 * rounds, clock)["torch"].min()
    torch_rate = 2 * a.shape[0] * a.shape[1] * b.shape[1] / best
    return max(torch_rate, matrix_rate([shape], threads=threads, clock=clock).flops_per_second)


def show(
    console: Console, title: str, times: dict[str, np.ndarray], rows: list[Contender], exact: dict[str, float], *,
    batch: int, flops: int, rate: float,
) -> None:  # fmt: skip
    table = Table(title=f"{title}: {flops / 1e9:.1f} GFLOP; float32 matrix products at {rate / 1e9:.0f} GFLOP/s")
    for column in ("what", "computes in"):
        table.add_column(column)
    for column in ("ms", "images/s", "ratio (quartiles)", "share of matrix rate", "exact pixels"):
        table.add_column(column, justify="right")
    for row in rows:
        if row.name in times:
            seconds = float(np.median(times[row.name]))
            low, middle, high = np.percentile(times[row.name] / times[BASE], [25, 50, 75])
            table.add_row(
                row.name,
                row.computes,
                f"{1e3 * seconds:.1f}",
                f"{batch / seconds:.1f}",
                f"{middle:.2f} ({low:.2f}-{high:.2f})",
                f"{flops / times[row.name].min() / rate:.2f}",
                f"{exact[row.name]:.2%}",
            )
    console.print(table)
    if BF16 in times:
        faster = np.median(times[BASE] / times[BF16])
        print(f"{title}: bf16-mixed runs {faster:.2f} times as fast as float32 in ONNX Runtime")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a model of 2 steps and width 32, to see that it runs")
    parser.add_argument("--rounds", type=int, default=10, help="at batch 1; half as many at batch 16")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out; it compiles for minutes")
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    parser.add_argument("--threads", type=int, help="of every runtime; without it each takes what it likes")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count the process's CPU time: on a busy machine, with --threads 1"
    )
    options = parser.parse_args()
    if options.cpu_time and options.threads != 1:
        parser.error("--cpu-time adds up the time of all threads: give --threads 1 with it")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    clock: Clock = time.process_time if options.cpu_time else time.perf_counter
    glow = paper_glow(**({"width": 32, "steps": 2} if options.quick else {}))
    folded = fold(glow)
    console = Console(width=150)
    with torch.inference_mode():
        rows = contenders(
            glow, folded, threads=options.threads, torch_too=not options.no_torch, compiled=not options.no_compile
        )
        generator = np.random.default_rng(0)
        shapes = folded.latent_shapes
        latents = [0.7 * generator.standard_normal((16, *shape)).astype(np.float32) for shape in shapes]
        samples = np.clip(np.floor(rows[0].decode(latents) * 2**8), 0, 2**8 - 1)
        x = ((samples + 0.5) / 2**8).astype(np.float32)
        exact = {row.name: exact_pixels(row, x) for row in rows if "torch.compile" not in row.name}
        exact |= {row.name: float("nan") for row in rows if row.name not in exact}  # compiled for each batch size
        roles: tuple[Role, ...] = ("decoder", "encoder")
        for role in roles:
            found = convolutions(onnx.load_from_string(graph(folded, role, "fp32")))
            largest = max(found, key=lambda convolution: convolution.flops)
            for batch, rounds in ((1, options.rounds), (16, max(options.rounds // 2, 1))):
                runs = {row.name: _run(row, role, x[:batch], [z[:batch] for z in latents]) for row in rows}
                times = round_times(runs, rounds, clock)
                rate = float32_rate(largest, batch, threads=options.threads, rounds=rounds, clock=clock)
                flops = batch * sum(convolution.flops for convolution in found)
                show(console, f"{role}, batch {batch}", times, rows, exact, batch=batch, flops=flops, rate=rate)


if __name__ == "__main__":
    main()
