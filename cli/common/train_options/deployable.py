"""Penalties that keep the model easy to deploy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import typer

__all__ = [
    "ConditioningPenalty",
    "DeployableOptions",
    "ExactAware",
    "InversePenalty",
    "InversePenaltyAt",
    "InversePenaltyEvery",
    "InversePenaltyImages",
]

_PANEL = "Made to be deployed"

Place = Literal["steps", "latents"]

InversePenalty = Annotated[
    float,
    typer.Option(
        "--inverse-penalty",
        metavar="X",
        min=0,
        help="Each doubling of the factor by which the decoder enlarges errors costs X bits/dim. Try 0.02.",
        rich_help_panel=_PANEL,
    ),
]
InversePenaltyAt = Annotated[
    Place,
    typer.Option(
        "--inverse-penalty-at",
        help="Where these errors begin: in every step of flow, or in the latents.",
        rich_help_panel=_PANEL,
    ),
]
InversePenaltyEvery = Annotated[
    int,
    typer.Option(
        "--inverse-penalty-every",
        metavar="N",
        min=1,
        help="Measure it in every N-th step only, and count it N times there.",
        rich_help_panel=_PANEL,
    ),
]
InversePenaltyImages = Annotated[
    int,
    typer.Option(
        "--inverse-penalty-images",
        metavar="N",
        min=1,
        help="Measure it on N images of the batch.",
        rich_help_panel=_PANEL,
    ),
]
ConditioningPenalty = Annotated[
    float,
    typer.Option(
        "--conditioning-penalty",
        metavar="X",
        min=0,
        help="Each squared doubling between the singular values of a 1x1 convolution costs X bits/dim. Try 0.03.",
        rich_help_panel=_PANEL,
    ),
]
ExactAware = Annotated[
    bool,
    typer.Option(
        "--exact-aware",
        help="Round the conditioners as `export --precision exact` will, so that the weights learn to bear it. With "
        "--init, for an additive model.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True, kw_only=True)
class DeployableOptions:
    """Values of these options."""

    inverse_penalty: float
    inverse_penalty_at: Place
    inverse_penalty_every: int
    inverse_penalty_images: int
    conditioning_penalty: float
    exact_aware: bool

    def settings(self) -> dict[str, Any]:
        """Return these options as arguments of `TrainSettings`."""
        return asdict(self)
