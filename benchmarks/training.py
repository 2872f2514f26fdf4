"""How fast a step of training is, beside the layout that public PyTorch Glows have.

That layout is written out here, in float32: NCHW convolutions that autograd takes one by one, no actnorm in the
conditioner, the last convolution padded with ones, W put together from its factors in every step, halves by chunk and
cat. All have the paper's CIFAR-10 shape (L=3, K=32, width 512, 32x32). A step is a forward and a backward pass; all
ways take their steps in turn, round after round; a ratio is the median over rounds, with the lowest and the highest.
Usage:
    python benchmarks/training.py [--threads N] [--cpu-seconds] [--rounds N] [--batch N] [--depth K] [--width W]
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from glow_core import Glow, GlowConfig
from glow_core.training.precision import set_precision


class PublicZeroConv(nn.Module):
    """3x3 convolution that starts at zero, of a picture padded with ones."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        self.scale = nn.Parameter(torch.zeros(1, out, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,H,W] -> [N,out,H,W]."""
        y: Tensor = self.conv(F.pad(x, [1, 1, 1, 1], value=1))
        return y * torch.exp(3 * self.scale)


class PublicStep(nn.Module):
    """Actnorm, 1x1 convolution by LU factors, affine coupling."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        p, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(channels, channels))[0])
        diagonal = torch.diagonal(upper).clone()
        ones = torch.ones(channels, channels)
        fixed = {"p": p, "below": ones.tril(-1), "above": ones.triu(1), "sign": diagonal.sign()}
        for name, tensor in (*fixed.items(), ("eye", torch.eye(channels))):
            self.register_buffer(name, tensor)
        self.lower, self.upper = nn.Parameter(lower), nn.Parameter(upper.triu(1))
        self.log_s = nn.Parameter(diagonal.abs().log())
        self.net = nn.Sequential(
            nn.Conv2d(channels // 2, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1),
            nn.ReLU(inplace=True),
            PublicZeroConv(width, channels),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N,C,H,W] -> the same shape, and the log-determinant [N]."""
        pixels = x.shape[2] * x.shape[3]
        log_det = pixels * torch.log(torch.abs(self.scale)).sum()
        x = self.scale * (x + self.loc)
        upper = self.upper * self.above + torch.diag(self.sign * torch.exp(self.log_s))
        weight = self.p @ (self.lower * self.below + self.eye) @ upper
        x = F.conv2d(x, weight[:, :, None, None])
        log_det = log_det + pixels * self.log_s.sum()
        x1, x2 = x.chunk(2, 1)
        h, shift = self.net(x1).chunk(2, 1)
        scale = torch.sigmoid(h + 2)
        return torch.cat([x1, (x2 + shift) * scale], 1), log_det + torch.log(scale).flatten(1).sum(1)


class PublicGlow(nn.Module):
    """log_prob of an affine Glow with learned priors."""

    def __init__(self, levels: int, steps: int, width: int) -> None:
        super().__init__()
        self.levels, self.priors = nn.ModuleList(), nn.ModuleList()
        channels = 3
        for level in range(levels):
            channels *= 4
            self.levels.append(nn.ModuleList(PublicStep(channels, width) for _ in range(steps)))
            channels //= 1 if level == levels - 1 else 2
            self.priors.append(PublicZeroConv(channels, 2 * channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return log_prob [N] of images [N,3,H,W] in [0,1)."""
        total = x.new_zeros(len(x))
        h = x - 0.5
        for number, (steps, prior) in enumerate(zip(self.levels, self.priors, strict=True), start=1):
            batch, channels, height, width = h.shape
            h = h.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
            h = h.reshape(batch, 4 * channels, height // 2, width // 2)
            for step in steps:  # type: ignore[union-attr]
                h, log_det = step(h)
                total = total + log_det
            h, z = (torch.zeros_like(h), h) if number == len(self.levels) else h.chunk(2, 1)
            mean, log_scale = prior(h).chunk(2, 1)
            log_p = -0.5 * math.log(2 * math.pi) - log_scale - 0.5 * (z - mean) ** 2 / torch.exp(2 * log_scale)
            total = total + log_p.flatten(1).sum(1)
        return total


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
    return {"public layout": public.train(), "float32": glow.train(), "bf16-mixed": coarse.train()}, x


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
