"""What `inpaint` and `project` share: options, opening the model, and the check with a bundle's encoder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from glow_core import config

from .classes import parse_classes
from .engines import FlavorName
from .targets import check_target

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from glow_deploy.engines.pytorch_gradient import ModelGradient

__all__ = [
    "BundleOption",
    "Ckpt",
    "Over",
    "PriorWeight",
    "Steps",
    "Truth",
    "Weights",
    "check_picture",
    "cost",
    "deployed_bits_per_dim",
    "need_torch",
    "one_class",
]

Ckpt = Annotated[
    Path, typer.Argument(metavar="CKPT", help="ckpt.pt, model.safetensors, or another project's checkpoint.")
]
Over = Annotated[
    Literal["latents", "pixels"],
    typer.Option(
        help="What is optimised. latents: through the decoder. pixels: through the encoder, by the exact likelihood; "
        "smoother, and faster."
    ),
]
PriorWeight = Annotated[
    float,
    typer.Option(metavar="X", min=1e-6, max=1e6, help="Of the model's prior against the pixels given; 1 is its own."),
]
Steps = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=3,
        max=100_000,
        help="Iterations at most, each of a pass through the model and back, rarely more.",
    ),
]
Truth = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The true picture, shown beside, and what PSNR is against.")
]
Weights = Annotated[config.Weights, typer.Option(help="Averaged weights where there are any, or those trained.")]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="BUNDLE", help="Measure the result with the deployed encoder of this bundle as well."
    ),
]


def need_torch() -> None:
    """Find out first whether the command can run at all.

    Raises:
        ModuleNotFoundError: PyTorch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise ModuleNotFoundError("torch is not installed", name="torch")


def check_picture(option: str, path: Path) -> None:
    """Refuse a PNG that cannot be written, before the work whose result would be lost.

    Raises:
        UsageError: another suffix, a folder, or in a folder that is not there or read-only.
    """
    from glow_deploy.errors import UsageError

    if path.suffix.lower() != ".png" or path.is_dir():
        raise UsageError(f"{option} {path}: a picture is written as PNG; name a .png file")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}")
    check_target(path)


def one_class(text: str | None, count: int) -> tuple[int, ...] | None:
    """Parse a `--class` that holds for all of `count` results.

    Raises:
        UsageError: not one whole number.
    """
    from glow_deploy.errors import UsageError

    found = parse_classes(text)
    if found is not None and len(found) != 1:
        raise UsageError(f"--class names {len(found)} classes; a picture is of one")
    return None if found is None else found * count


def deployed_bits_per_dim(
    bundle: Path,
    model: ModelGradient,
    values: npt.NDArray[np.uint8],
    *,
    labels: tuple[int, ...] | None,
    draws: int,
    seed: int,
    flavor: FlavorName,
    device: str,
    threads: int | None,
    trust_engine: bool,
) -> tuple[npt.NDArray[np.float64], str]:
    """Measure bits/dim of pictures, uint8 [N, C, H, W], with a bundle's encoder.

    Returns:
        float64 [N], and on what it ran, in words.

    Raises:
        UsageError: the bundle is not of this model.
    """
    import numpy as np

    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.artifact.flavors import graph_backend
    from glow_deploy.engines.open import open_engine
    from glow_deploy.engines.pair import pair_files
    from glow_deploy.errors import UsageError
    from glow_deploy.inverse import image_bits_per_dim
    from glow_deploy.latents import EncodeSettings

    encoder_file, _ = pair_files(bundle, flavor=flavor)
    if Bundle.open(bundle).manifest.model_id != model.model_id():
        raise UsageError(f"--bundle {bundle} was exported from another model, or from its other weights (--weights)")
    with open_engine(
        encoder_file, backend=graph_backend(flavor), device=device, threads=threads, trust_engine=trust_engine
    ) as encoder:
        figures = image_bits_per_dim(
            encoder,
            values,
            labels=None if labels is None else np.array(labels, np.int64),
            settings=EncodeSettings(draws=draws, seed=seed),
        )
        details = encoder.details
    return figures, f"{details.backend} ({details.provider}, {details.device})"


def cost(seconds: float, evaluations: int, nonfinite: int, *, deployed: str = "") -> str:
    """Say what it took."""
    lost = f"{nonfinite} of them not finite, each of which halved its step" if nonfinite else "all finite"
    return f"cost: {seconds:.1f} s{deployed}, {evaluations} passes with gradients, {lost}"
