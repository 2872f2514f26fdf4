"""How a run optimizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import typer

__all__ = [
    "Accumulate",
    "BatchSize",
    "ClipNorm",
    "Decay",
    "EmaDecay",
    "LearningRate",
    "OptimizationOptions",
    "Optimizer",
    "Seed",
    "WarmupSteps",
    "WeightDecay",
]

_PANEL = "Optimization"

OptimizerKind = Literal["adamax", "adam"]

BatchSize = Annotated[
    int,
    typer.Option("--batch-size", metavar="N", min=1, help="Images of a step, over all GPUs.", rich_help_panel=_PANEL),
]
Accumulate = Annotated[
    int,
    typer.Option(
        "--accumulate",
        metavar="N",
        min=1,
        help="Take the images of a step in N parts and add their gradients. It keeps less in memory.",
        rich_help_panel=_PANEL,
    ),
]
Optimizer = Annotated[
    OptimizerKind, typer.Option("--optimizer", help="The paper's code uses adamax.", rich_help_panel=_PANEL)
]
LearningRate = Annotated[
    float,
    typer.Option(
        "--learning-rate", "--lr", metavar="X", help="The learning rate after the warm-up.", rich_help_panel=_PANEL
    ),
]
WarmupSteps = Annotated[
    int,
    typer.Option(
        "--warmup-steps",
        metavar="N",
        min=0,
        help="The learning rate rises from 0 over this many steps.",
        rich_help_panel=_PANEL,
    ),
]
Decay = Annotated[
    float,
    typer.Option(
        "--decay",
        metavar="X",
        help="The learning rate falls to a hundredth over this share of the run, at its end. 0: it stays.",
        rich_help_panel=_PANEL,
    ),
]
WeightDecay = Annotated[
    float, typer.Option("--weight-decay", metavar="X", help="The weight of an L2 penalty.", rich_help_panel=_PANEL)
]
ClipNorm = Annotated[
    float,
    typer.Option(
        "--clip-norm",
        metavar="X",
        min=0,
        help="Scale larger gradients down to this norm. 0: never.",
        rich_help_panel=_PANEL,
    ),
]
EmaDecay = Annotated[
    float,
    typer.Option(
        "--ema-decay",
        metavar="X",
        help="How slowly the averaged weights follow. `export` takes them. 0: no average.",
        rich_help_panel=_PANEL,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        help="Decides the first weights, the order of the images and the noise.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True, kw_only=True)
class OptimizationOptions:
    """Values of these options."""

    batch_size: int
    accumulate: int
    optimizer: OptimizerKind
    learning_rate: float
    warmup_steps: int
    decay: float
    weight_decay: float
    clip_norm: float
    ema_decay: float
    seed: int

    def settings(self) -> dict[str, Any]:
        """Return these options as arguments of `TrainSettings`."""
        return asdict(self) | {"clip_norm": self.clip_norm or None}
