"""How long a run trains."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

__all__ = ["LengthOptions", "MaxEpochs", "MaxSeconds", "MaxSteps"]

_PANEL = "How long"

MaxSteps = Annotated[
    int | None,
    typer.Option(
        "--max-steps",
        metavar="N",
        min=1,
        help="Stop after N optimizer steps. Earlier sessions of the run count.",
        rich_help_panel=_PANEL,
    ),
]
MaxEpochs = Annotated[
    float | None,
    typer.Option("--max-epochs", metavar="X", help="Stop after X passes over the images.", rich_help_panel=_PANEL),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(
        "--max-seconds",
        metavar="X",
        help="Stop after X seconds of training. Earlier sessions of the run count.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True, kw_only=True)
class LengthOptions:
    """Values of these options. Of several, the one that is reached first ends the run."""

    max_steps: int | None
    max_epochs: float | None
    max_seconds: float | None

    def __bool__(self) -> bool:
        """True where an end is given."""
        return any(value is not None for value in asdict(self).values())

    def require(self) -> None:
        """Refuse a run that would never end.

        Raises:
            UsageError: no end is given.
        """
        from glow_deploy.errors import UsageError

        if not self:
            raise UsageError(
                "training has no end: give --max-steps N, --max-epochs X or --max-seconds X, "
                "for example --max-seconds 600 for ten minutes"
            )
