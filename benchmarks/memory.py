"""What a step of training keeps and takes, with each way to keep activations, against the depth of the model.

Saved bytes are what autograd holds for the backward pass, weights left out: after the forward pass, and at most. The
resident peak is that of a process of its own that makes one step, with weights, gradients and PyTorch itself. Times are
CPU seconds of one thread, all ways in turn, round after round; the ratio is the median over the rounds. The model is
the paper's CIFAR-10 one (L=3, width 512, 32x32) at a batch of 16. `--celeba` makes one step of its CelebA-HQ model
(256x256, L=6, K=32) at a batch of 1 instead. `public layout` is _public.py. Usage:
    OMP_NUM_THREADS=1 python benchmarks/memory.py [--depths 8 16 32 64] [--times K ...] [--rounds N] [--celeba]
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _public import PublicGlow
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from glow_core import Glow, GlowConfig
from glow_core.training.memory import LossPass, count_saved, loss_pass
from glow_core.training.optimization import make_optimizer
from glow_core.training.settings import TrainSettings

WAYS = ("plain", "checkpoint", "reversible")
PUBLIC = "public layout"
MIB = 2**20


def config_of(options: argparse.Namespace, steps: int) -> GlowConfig:
    if options.celeba:
        return GlowConfig(image_size=(256, 256), levels=6, steps=steps, width=options.width, n_bits=5)
    return GlowConfig(image_size=(32, 32), levels=3, steps=steps, width=options.width)


def moved(model: nn.Module) -> nn.Module:
    """The model, with couplings that are no identities."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.003 * torch.randn_like(parameter))
    return model.train()


def images_of(config: GlowConfig, batch: int) -> Tensor:
    torch.manual_seed(0)
    return torch.rand(batch, config.channels, *config.image_size)


def build(config: GlowConfig, x: Tensor) -> Glow:
    glow = Glow(config).to(memory_format=torch.channels_last)
    glow.initialize(x)
    moved(glow)
    return glow


def gradients(model: nn.Module, x: Tensor, *, n_bits: int, after_forward: Callable[[], object] = lambda: None) -> float:
    """Set the gradients of bits/dim, and return it."""
    loss = n_bits - model(x).mean() / (x[0].numel() * math.log(2))
    after_forward()
    for parameter in model.parameters():
        parameter.grad = None
    loss.backward()
    return float(loss.detach())


def measure_one(options: argparse.Namespace, steps: int, way: str) -> dict[str, float]:
    """One step in this process: its memory."""
    config = config_of(options, steps)
    x = images_of(config, options.batch)
    if way == PUBLIC:
        model = glow = moved(PublicGlow(config.levels, steps, config.width))
    else:
        glow = build(config, x)
        model = loss_pass(glow, way)
    found: dict[str, float] = {}
    start, cpu = time.perf_counter(), time.process_time()
    with count_saved(glow) as counter:
        loss = gradients(model, x, n_bits=config.n_bits, after_forward=lambda: found.update(saved=counter.held))
    found |= {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu, "bits_per_dim": loss}
    if options.celeba:
        optimizer = make_optimizer(glow.parameters(), TrainSettings(max_steps=1))
        optimizer.step()
    found["resident"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found["parameters"] = sum(parameter.numel() for parameter in glow.parameters())
    found["saved_peak"] = counter.peak
    if isinstance(model, LossPass) and way == "reversible":
        found["drift"] = max(plan.drift for plan in model.plans())
    return found


def in_a_process(options: argparse.Namespace, steps: int, way: str) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__)), "--one", str(steps), way, "--width", str(options.width)]
    command += ["--batch", str(options.batch), *(["--celeba"] if options.celeba else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def ratios(options: argparse.Namespace, steps: int) -> dict[str, tuple[float, float]]:
    """CPU seconds of a step, and the median of what it takes more than the plain one of its round."""
    config = config_of(options, steps)
    x = images_of(config, options.batch)
    glow = build(config, x)
    models = {way: loss_pass(glow, way) for way in WAYS}
    rounds: list[dict[str, float]] = []
    for _ in range(options.rounds + 1):  # the first warms up
        taken = {}
        for way, model in models.items():
            start = time.process_time()
            gradients(model, x, n_bits=config.n_bits)
            taken[way] = time.process_time() - start
        rounds.append(taken)
    rounds = rounds[1:]
    return {
        way: (
            statistics.median(taken[way] for taken in rounds),
            statistics.median(taken[way] / taken["plain"] for taken in rounds),
        )
        for way in WAYS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[8, 16, 32], metavar="K")
    parser.add_argument("--times", type=int, nargs="*", metavar="K", help="depths that are timed; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--celeba", action="store_true", help="one step of 256x256, L=6, K=32 at a batch of 1")
    parser.add_argument("--quick", action="store_true", help="a small model, to see that it runs")
    parser.add_argument("--one", nargs=2, metavar=("K", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.batch is None:
        options.batch = 1 if options.celeba else 16
    if options.quick:
        options.width, options.batch, options.depths, options.rounds = 32, 4, [2, 4], 1
    if options.one:
        json.dump(measure_one(options, int(options.one[0]), options.one[1]), sys.stdout)
        return
    console = Console(width=120)
    if options.celeba:
        steps = 2 if options.quick else 32
        found = in_a_process(options, steps, "reversible")
        console.print(
            f"256x256, L=6, K={steps}, width {options.width}, batch {options.batch}, {found['parameters']:,.0f} "
            f"parameters: one step with --memory reversible, {found['bits_per_dim']:.3f} bits/dim, "
            f"{found['seconds']:.0f} s ({found['cpu_seconds']:.0f} s of CPU), resident peak "
            f"{found['resident'] / 1e9:.1f} GB, drift {found['drift']:.1e}"
        )
        return
    table = Table(title=f"L=3, width {options.width}, 32x32, batch {options.batch}")
    for column in ("K", "memory", "saved, MiB", "at most, MiB", "resident peak, MiB", "drift"):
        table.add_column(column, justify="left" if column == "memory" else "right")
    for steps in options.depths:
        for way in (PUBLIC, *WAYS):
            found = in_a_process(options, steps, way)
            table.add_row(
                str(steps),
                way,
                f"{found['saved'] / MIB:.1f}",
                f"{found['saved_peak'] / MIB:.1f}",
                f"{found['resident'] / MIB:.0f}",
                f"{found['drift']:.1e}" if "drift" in found else "",
            )
    console.print(table)
    table = Table(title="CPU seconds of a step on one thread, and the ratio to plain")
    for column in ("K", *WAYS):
        table.add_column(column, justify="right")
    for steps in options.depths if options.times is None else options.times:
        times = ratios(options, steps)
        table.add_row(str(steps), *(f"{seconds:.2f} ({ratio:.2f})" for seconds, ratio in times.values()))
    console.print(table)


if __name__ == "__main__":
    main()
