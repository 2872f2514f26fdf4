"""What a run learns from, where it goes and what it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from glow_core import config
from glow_core.training.paper import PresetName

__all__ = [
    "Device",
    "DryRun",
    "Init",
    "Memory",
    "Out",
    "Precision",
    "Preset",
    "Resume",
    "RunOptions",
    "Threads",
    "Weights",
]

Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="RUN", help="The folder that the run is written to: ckpt.pt, logs, samples."),
]
Resume = Annotated[
    Path | None,
    typer.Option("--resume", metavar="RUN", help="Continue the run in this folder. It keeps its own settings."),
]
Init = Annotated[
    Path | None,
    typer.Option(
        "--init",
        metavar="CKPT",
        help="Start from the weights of a checkpoint that `train` or `convert` wrote. The model keeps its shape.",
    ),
]
Weights = Annotated[
    config.Weights,
    typer.Option(
        "--weights",
        help="Which weights of --init to take: ema are the averaged ones where there are any, raw the others.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda[:N]",
        help="auto takes a GPU where there is one. Under torchrun each process takes one.",
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", min=1, help="CPU threads. Default: PyTorch chooses.")
]
MemoryKind = Literal["auto", "plain", "checkpoint", "reversible"]
Memory = Annotated[
    MemoryKind,
    typer.Option(
        "--memory",
        help="What the backward pass keeps: plain all, checkpoint a step's input, reversible a level's. The less it "
        "keeps, the more it computes. auto: the first of these that takes at most half of the memory.",
    ),
]
PrecisionKind = Literal["float32", "bf16-mixed"]
Precision = Annotated[
    PrecisionKind,
    typer.Option(
        "--precision",
        help="bf16-mixed: conditioners compute in bfloat16 while training, all else in float32.",
    ),
]
Preset = Annotated[
    PresetName | None,
    typer.Option(
        "--preset", help="Model, batch, warm-up and images of a run of the paper. Other options go before it."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what a step takes in memory and time, measured on random images. Read nothing."
    ),
]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Values of these options, and of others that say which images there are and how they are read."""

    data: str | None
    out: Path | None
    resume: Path | None
    init: Path | None
    weights: config.Weights
    device: str
    threads: int | None
    memory: MemoryKind
    precision: PrecisionKind
    preset: PresetName | None
    dry_run: bool
    resize: bool
    skip_unreadable: bool
    layout: Literal["nhwc", "nchw"] | None
    float_range: Literal["unit", "centred", "signed", "byte"] | None
    depth: int | None
    force: bool
