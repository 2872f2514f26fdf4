"""The command line that does what the page shows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from .changes import Change
from .settings import ExploreSettings

__all__ = ["equivalent_command"]

_LATENTS = "latents.npz"


def equivalent_command(
    bundle: Path, settings: ExploreSettings, change: Change, *, image: str, other: str | None, label: int | None
) -> str:
    """Write the command that leads to the same picture, or the nearest there is.

    Attributes alone are `edit`, a way to another image alone is `interpolate`. What no single command does is the
    decode of the latents that the page offers to save; with nothing changed, it is the encode of the image.

    Args:
        bundle: the folder.
        settings: of the page.
        change: of the sliders.
        image: file name of the image.
        other: that of the second image, or None.
        label: the class that the image was encoded as, or None.
    """
    where = ["--device", settings.device] if settings.device != "auto" else []
    where += ["--trust-engine"] if settings.trust_engine else []
    flavor = ["--flavor", settings.flavor] if settings.flavor != "onnx" else []
    classes = [] if label is None else ["--class", str(label)]
    scaled = {*change.temperatures, change.temperature} != {1.0}
    amounts = {name: amount for name, amount in change.attributes.items() if amount}
    reclassed = change.label is not None and change.label != label
    if not scaled and not reclassed and amounts and not change.share and settings.directions is not None:
        attributes = [part for name, amount in amounts.items() for part in ("--attribute", f"{name}={amount:g}")]
        return _join(
            ["edit", bundle, _file(image), "--directions", settings.directions, *attributes, *classes, *flavor, *where]
        )
    if not scaled and not reclassed and not amounts and change.share and other is not None:
        mode = ["--mode", change.mode] if change.mode != "linear" else []
        return _join(["interpolate", bundle, _file(image), _file(other), *mode, *classes, *flavor, *where])
    endings = {"onnx": ".onnx", "tensorrt": ".trt", "rtx": ".rtx.trt"}
    if not scaled and not reclassed and not amounts and not change.share:
        engine = bundle / f"encoder{endings[settings.flavor]}"
        return _join(["encode", "--engine", engine, _file(image), "--out", _LATENTS, *classes, *where])
    engine = bundle / f"decoder{endings[settings.flavor]}"
    return _join(["decode", "--engine", engine, _LATENTS, *where])


def _file(name: str) -> str:
    """A file name that no command takes for an option."""
    return f"./{name}" if name.startswith("-") else name


def _join(parts: Sequence[str | Path]) -> str:
    return shlex.join(["glow-deploy", *map(str, parts)])
