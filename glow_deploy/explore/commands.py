"""The command line that does what the page shows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glow_deploy.artifact.flavors import SUFFIXES
from glow_deploy.directions.directions import Directions

from .changes import Change
from .settings import ExploreSettings

__all__ = ["Source", "equivalent_command"]

_LATENTS = "latents.npz"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an image of the page comes from.

    Attributes:
        name: what the page calls it.
        file: the file name that it has, or gets when it is saved.
        fitted: whether it had to be made to fit the model.
        label: the class it was encoded as, or None.
    """

    name: str
    file: str
    fitted: bool
    label: int | None


def equivalent_command(
    bundle: Path,
    settings: ExploreSettings,
    change: Change,
    *,
    image: Source,
    other: Source | None,
    directions: Directions | None = None,
) -> str:
    """Write the command that leads to the same picture, or the nearest there is.

    Attributes alone are `edit`; a way to another image alone is `interpolate`, which shows all of it. What no single
    command does is the decode of the latents that the page offers to save; with nothing changed, it is the encode of
    the image.

    Args:
        bundle: the folder.
        settings: of the page.
        change: of the sliders.
        image: that is changed.
        other: the second image, or None.
        directions: of the page.
    """
    where = ["--device", settings.device] if settings.device != "auto" else []
    where += ["--trust-engine"] if settings.trust_engine else []
    flavor = ["--flavor", settings.flavor] if settings.flavor != "onnx" else []
    resize = ["--resize"] if image.fitted else []
    classes = [] if image.label is None else ["--class", str(image.label)]
    ending = SUFFIXES.get(settings.flavor, ".onnx")
    amounts = {name: amount for name, amount in change.attributes.items() if amount}
    scaled = {*change.temperatures, change.temperature} != {1.0}
    if scaled or change.label not in (None, image.label) or (amounts and change.share):
        return _join(["decode", "--engine", bundle / f"decoder{ending}", _LATENTS, *where])
    if amounts and directions is not None and settings.directions is not None:
        attributes = [part for name, amount in amounts.items() for part in ("--attribute", f"{name}={amount:g}")]
        ranges = {name: directions[name].range for name in amounts}
        beyond = any(not ranges[name][0] <= amount <= ranges[name][1] for name, amount in amounts.items())
        return _join(
            [
                *("edit", bundle, _file(image), "--directions", settings.directions),
                *(*attributes, *(["--beyond"] if beyond else []), *classes, *resize, *flavor, *where),
            ]
        )
    if change.share and other is not None:
        mode = ["--mode", change.mode] if change.mode != "linear" else []
        both = [] if image.label is None else ["--class", f"{image.label},{other.label}"]
        resize = ["--resize"] if image.fitted or other.fitted else []
        return _join(["interpolate", bundle, _file(image), _file(other), *mode, *both, *resize, *flavor, *where])
    engine = bundle / f"encoder{ending}"
    return _join(["encode", "--engine", engine, _file(image), "--out", _LATENTS, *classes, *resize, *where])


def _file(source: Source) -> str:
    """A file name that no command takes for an option."""
    return f"./{source.file}" if source.file.startswith("-") else source.file


def _join(parts: Sequence[str | Path]) -> str:
    return shlex.join(["glow-deploy", *map(str, parts)])
