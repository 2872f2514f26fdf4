"""What a run of `glow-deploy train` is made from: which options go together, its images and its model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

if TYPE_CHECKING:
    from glow_core import GlowConfig

__all__ = ["given_options", "load_initial", "load_pair", "new_config", "refuse_on_resume", "refuse_with_init"]

_WITH_RESUME = {
    "resume", "max_steps", "max_epochs", "max_seconds", "data", "resize", "device", "threads", "json", "quiet",
}  # fmt: skip

_SHAPE = {
    "image_size", "channels", "levels", "steps", "width", "coupling", "permutation", "bounded_scale", "n_bits",
    "class_conditional", "edge_bias", "prior",
}  # fmt: skip


def given_options(context: typer.Context) -> set[str]:
    """Return the options that were written on the command line."""
    # The source is compared by name: Typer does not export its type.
    return {
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "DEFAULT") not in ("DEFAULT", "DEFAULT_MAP")
    }


def refuse_on_resume(given: set[str]) -> None:
    """Refuse what a resumed run would ignore.

    Raises:
        UsageError: some of it was given.
    """
    from glow_deploy.errors import UsageError

    if "out" in given:
        raise UsageError("--resume RUN goes on in RUN; leave --out away")
    fixed = given - _WITH_RESUME
    if fixed:
        raise UsageError(
            f"a resumed run keeps its own settings: leave {_spelt(fixed)} away, or start a new run with --out"
        )


def refuse_with_init(given: set[str]) -> None:
    """Refuse what would describe another model than the one to start from, and a choice between no weights.

    Raises:
        UsageError: some of it was given.
    """
    from glow_deploy.errors import UsageError

    if "init" not in given:
        if "weights" in given:
            raise UsageError("--weights chooses among the weights of a checkpoint to start from; give --init CKPT too")
        return
    fixed = given & _SHAPE
    if fixed:
        raise UsageError(
            f"the model of --init keeps its own shape: leave {_spelt(fixed)} away, or start without --init"
        )


def load_pair(spec: str, shape: tuple[tuple[int, int] | None, int | None], resize: bool) -> tuple[Any, Any]:
    """Return the training and validation images of a data set, of this size (H, W) and with so many channels."""
    from glow_deploy.data import load_images

    size, channels = shape
    train_images = load_images(spec, split="train", size=size, channels=channels, resize=resize)
    found = train_images.shape
    validation = load_images(spec, split="validation", size=(found[1], found[2]), channels=found[0], resize=resize)
    return train_images, validation


def load_initial(init: Path, *, weights: Literal["ema", "raw"]) -> tuple[GlowConfig, dict[str, Any]]:
    """Return the model and the tensors of a checkpoint of this tool's.

    Raises:
        CheckpointError: it is none, or damaged.
    """
    from glow_core.checkpoint import read_native

    checkpoint = read_native(init)
    return checkpoint.config, checkpoint.glow(weights=weights).state_dict()


def new_config(images: Any, *, class_conditional: bool, **options: Any) -> GlowConfig:
    """Describe a new model of these images.

    Raises:
        UsageError: it shall know classes, and the images have no labels.
        ConfigError: an option is out of range, or does not suit the images' size.
    """
    from glow_core import GlowConfig
    from glow_deploy.errors import UsageError

    channels, height, width = images.shape
    classes = None
    if class_conditional:
        if images.labels is None:
            raise UsageError("--class-conditional needs labels, and these images have none")
        classes = images.num_classes
    return GlowConfig(image_size=(height, width), channels=channels, num_classes=classes, **options)


def _spelt(names: Iterable[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in sorted(names))
