"""The shape of a new model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..options import parse_size

if TYPE_CHECKING:
    from glow_core import GlowConfig

__all__ = [
    "BoundedScale",
    "Channels",
    "ClassConditional",
    "Coupling",
    "EdgeBias",
    "ImageSize",
    "Levels",
    "ModelOptions",
    "NBits",
    "Permutation",
    "Prior",
    "Steps",
    "Width",
]

_PANEL = "Model"

CouplingKind = Literal["affine", "additive"]
PermutationKind = Literal["lu", "plain", "shuffle", "reverse"]
PriorKind = Literal["conditional", "independent"]

ImageSize = Annotated[
    str | None,
    typer.Option("--image-size", metavar="HxW", help="Default: the size of the images.", rich_help_panel=_PANEL),
]
Channels = Annotated[
    int | None,
    typer.Option("--channels", metavar="N", help="1 or 3. Default: those of the images.", rich_help_panel=_PANEL),
]
Levels = Annotated[
    int,
    typer.Option(
        "--levels", metavar="N", min=1, help="L: how often the image is halved in size.", rich_help_panel=_PANEL
    ),
]
Steps = Annotated[
    int, typer.Option("--steps", metavar="N", min=1, help="K: steps of flow in each level.", rich_help_panel=_PANEL)
]
Width = Annotated[
    int,
    typer.Option(
        "--width", metavar="N", min=1, help="Hidden channels of the network in a coupling.", rich_help_panel=_PANEL
    ),
]
Coupling = Annotated[
    CouplingKind,
    typer.Option(
        "--coupling",
        help="affine shifts and scales one half of the channels, additive only shifts it.",
        rich_help_panel=_PANEL,
    ),
]
Permutation = Annotated[
    PermutationKind,
    typer.Option("--permutation", help="lu and plain are invertible 1x1 convolutions.", rich_help_panel=_PANEL),
]
BoundedScale = Annotated[
    bool,
    typer.Option(
        "--bounded-scale/--unbounded-scale",
        help="Keep the affine scale in (0.5, 1). Samples then stay finite.",
        rich_help_panel=_PANEL,
    ),
]
NBits = Annotated[
    int, typer.Option("--n-bits", metavar="N", min=1, max=8, help="Bits of a pixel value.", rich_help_panel=_PANEL)
]
EdgeBias = Annotated[
    bool,
    typer.Option(
        "--edge-bias/--no-edge-bias",
        help="Tell the 3x3 convolutions where the image ends, as the paper's code does.",
        rich_help_panel=_PANEL,
    ),
]
Prior = Annotated[
    PriorKind,
    typer.Option(
        "--prior",
        help="conditional predicts the latent of a split from the half that stays, independent learns it alone.",
        rich_help_panel=_PANEL,
    ),
]
ClassConditional = Annotated[
    bool,
    typer.Option("--class-conditional", help="Learn a prior for each label of the images.", rich_help_panel=_PANEL),
]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Values of these options; None: as the images."""

    image_size: str | None
    channels: int | None
    levels: int
    steps: int
    width: int
    coupling: CouplingKind
    permutation: PermutationKind
    bounded_scale: bool
    n_bits: int
    edge_bias: bool
    prior: PriorKind
    class_conditional: bool

    def shape(self) -> tuple[tuple[int, int] | None, int | None]:
        """Return the size (H, W) and the channels that were asked for; None: as the images.

        Raises:
            UsageError: a size that is none.
        """
        return None if self.image_size is None else parse_size(self.image_size), self.channels

    def config(self, images: Any) -> GlowConfig:
        """Describe a new model of these images, which have `shape` (C, H, W) and maybe `labels`.

        Raises:
            UsageError: it shall know classes, and the images have no labels.
            ConfigError: an option is out of range, or does not suit the images' size.
        """
        from glow_core import GlowConfig
        from glow_deploy.errors import UsageError

        if self.class_conditional and images.labels is None:
            raise UsageError("--class-conditional needs labels, and these images have none")
        of_images = ("image_size", "channels", "class_conditional")
        channels, height, width = images.shape
        return GlowConfig(
            image_size=(height, width),
            channels=channels,
            num_classes=images.num_classes if self.class_conditional else None,
            **{name: value for name, value in asdict(self).items() if name not in of_images},
        )
