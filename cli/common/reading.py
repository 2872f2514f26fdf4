"""What a file of images does not say about its values, as options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from glow_deploy.data.reading import Reading

__all__ = ["Depth", "FloatRange", "Layout", "reading_of"]

_PANEL = "What files of images do not say"

Layout = Annotated[
    Literal["nhwc", "nchw"] | None,
    typer.Option(
        "--layout", help="Of arrays in .npy and .npz files. Default: nhwc, channels last.", rich_help_panel=_PANEL
    ),
]
FloatRange = Annotated[
    Literal["unit", "centred", "signed", "byte"] | None,
    typer.Option(
        "--float-range",
        help="What floats run over from black to white: 0..1, -0.5..0.5, -1..1 or 0..255.",
        rich_help_panel=_PANEL,
    ),
]
Depth = Annotated[
    int | None,
    typer.Option(
        "--depth", metavar="N", min=9, max=16, help="Bits of what is stored in 16, such as 12.", rich_help_panel=_PANEL
    ),
]


def reading_of(
    *,
    layout: Literal["nhwc", "nchw"] | None,
    float_range: Literal["unit", "centred", "signed", "byte"] | None,
    depth: int | None,
) -> Reading:
    """Gather the values of these options."""
    from glow_deploy.data.reading import Reading

    return Reading(layout=layout, float_range=float_range, depth=depth)
