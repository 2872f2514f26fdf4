"""What a run writes, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

__all__ = ["CheckpointEvery", "FilesOptions", "SampleEvery", "Tensorboard", "ValidateEvery", "ValidationImages"]

_PANEL = "What is written"

ValidateEvery = Annotated[
    int,
    typer.Option(
        "--validate-every",
        metavar="N",
        min=0,
        help="Validate every N steps. 0: only at the end.",
        rich_help_panel=_PANEL,
    ),
]
ValidationImages = Annotated[
    int,
    typer.Option(
        "--validation-images",
        metavar="N",
        min=0,
        help="Validate on at most N images. 0: on all.",
        rich_help_panel=_PANEL,
    ),
]
CheckpointEvery = Annotated[
    int,
    typer.Option(
        "--checkpoint-every",
        metavar="N",
        min=0,
        help="Save every N steps, and whenever a minute has passed. 0: every minute only.",
        rich_help_panel=_PANEL,
    ),
]
SampleEvery = Annotated[
    int,
    typer.Option(
        "--sample-every",
        metavar="N",
        min=0,
        help="Draw samples every N steps. 0: only at the end.",
        rich_help_panel=_PANEL,
    ),
]
Tensorboard = Annotated[
    bool,
    typer.Option("--tensorboard/--no-tensorboard", help="Also write TensorBoard files.", rich_help_panel=_PANEL),
]


@dataclass(frozen=True, kw_only=True)
class FilesOptions:
    """Values of these options."""

    validate_every: int
    validation_images: int
    checkpoint_every: int
    sample_every: int
    tensorboard: bool

    def settings(self) -> dict[str, Any]:
        """Return these options as arguments of `TrainSettings`."""
        return {
            "validate_every": self.validate_every or None,
            "validation_images": self.validation_images or None,
            "checkpoint_every": self.checkpoint_every or None,
            "sample_every": self.sample_every or None,
            "tensorboard": self.tensorboard,
        }
