"""How fast a step of training is, beside the layout that public PyTorch Glows have.

That layout is written out in _public.py. All have the paper's CIFAR-10 shape (L=3, K=32, width 512, 32x32). A step is a
forward and a backward pass; all ways take their steps in turn, round after round; a ratio is the median over rounds,
with the lowest and the highest.
Usage:
    python benchmarks/training.py [--threads N] [--cpu-seconds] [--rounds N] [--batch N] [--depth K] [--width W]
        [--size N] [--compile]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from _public import PublicGlow
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from glow_core import Glow, GlowConfig
from glow_core.training.precision import set_precision


def build(options: argparse.Namespace) -> tuple[dict[str, nn.Module], Tensor]:
    """Models whose couplings are no identities, and images."""
    torch.manual_seed(0)
    x = torch.rand(options.batch, 3, options.size, options.size)
    config = GlowConfig(image_size=(options.size, options.size), levels=3, steps=options.depth, width=options.width)
    glow = Glow(config).to(memory_format=torch.channels_last)
    glow.initialize(x)
    public = PublicGlow(3, options.depth, options.width)
    with torch.no_grad():
        for parameter in (*glow.parameters(), *public.parameters()):
            parameter.add_(0.003 * torch.randn_like(parameter))
    coarse = copy.deepcopy(glow)
    set_precision(coarse, "bf16-mixed")
    models: dict[str, nn.Module] = {
        "public layout": public.train(),
        "float32": glow.train(),
        "bf16-mixed": coarse.train(),
    }
    if options.compile:
        compiled = torch.compile(copy.deepcopy(glow))
        assert isinstance(compiled, nn.Module)
        models["torch.compile"] = compiled
    return models, x


def step(model: nn.Module, x: Tensor) -> None:
    """One step's gradients, without the optimizer, which is the same for all."""
    for parameter in model.parameters():
        parameter.grad = None
    (-model(x).mean() / x[0].numel()).backward()


def measure(
    models: dict[str, nn.Module], x: Tensor, *, rounds: int, clock: Callable[[], float]
) -> list[dict[str, float]]:
    """Seconds of a step, each way in turn, after a round that warms up."""
    taken = []
    for _ in range(rounds + 1):
        seconds = {}
        for name, model in models.items():
            start = clock()
            step(model, x)
            seconds[name] = clock() - start
        taken.append(seconds)
    return taken[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, help="default: PyTorch chooses")
    parser.add_argument("--cpu-seconds", action="store_true", help="of one thread: for a machine busy with other work")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--compile", action="store_true", help="ours by torch.compile too; compiling takes minutes")
    parser.add_argument("--quick", action="store_true", help="a small model, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.depth, options.width, options.batch, options.size, options.rounds = 1, 8, 2, 8, 1
    if options.cpu_seconds:
        options.threads = 1
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    models, x = build(options)
    taken = measure(
        models, x, rounds=options.rounds, clock=time.process_time if options.cpu_seconds else time.perf_counter
    )
    kind = "CPU seconds" if options.cpu_seconds else "seconds"
    table = Table(
        title=f"L=3, K={options.depth}, width {options.width}, {options.size}x{options.size}, batch {options.batch}, "
        f"{torch.get_num_threads()} threads, {options.rounds} rounds"
    )
    for column in ("way", f"{kind} a step, median", "lowest", "highest", "times as fast, median", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name in models:
        seconds = [each[name] for each in taken]
        faster = [each["public layout"] / each[name] for each in taken]
        figures = (statistics.median(seconds), min(seconds), max(seconds))
        ratios = (statistics.median(faster), min(faster), max(faster))
        table.add_row(name, *(f"{figure:.3f}" for figure in figures), *(f"{ratio:.2f}" for ratio in ratios))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
