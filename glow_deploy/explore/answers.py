"""What the server tells the page, as plain JSON values."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from glow_deploy._version import __version__
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.directions.directions import Directions
from glow_deploy.images import png_bytes, x_to_values
from glow_deploy.latents import class_posterior

from .changes import Change
from .commands import Source
from .familiarity import GoldenRange
from .pictures import LATENT_SCALE, data_uri, difference_picture, latent_picture, picture_uri
from .uploads import FORMATS
from .workbench import Opened, Shown, Workbench

__all__ = ["describe_bundle", "describe_image", "describe_model", "describe_shown", "name_of"]

_MOST_CLASSES = 3  # whose probability is told


def describe_model(bench: Workbench) -> dict[str, Any]:
    """What the page shows before any image is opened, and what its sliders need."""
    details = bench.decoder.details
    return {
        **describe_bundle(
            bench.bundle,
            golden=0 if bench.golden is None else len(bench.golden),
            familiar=bench.golden_range,
            directions=bench.directions,
            max_upload=bench.settings.max_upload,
        ),
        "engine": {
            "backend": details.backend,
            "provider": details.provider,
            "device": details.device,
            "precision": details.precision,
        },
    }


def describe_bundle(
    bundle: Bundle, *, golden: int, familiar: GoldenRange | None, directions: Directions | None, max_upload: int
) -> dict[str, Any]:
    """What a page tells of a bundle, whatever runs it.

    Args:
        bundle: the folder.
        golden: golden images that can be opened.
        familiar: the range of all of them.
        directions: of attributes.
        max_upload: bytes of a picture file.
    """
    manifest = bundle.manifest
    channels, height, width = manifest.image_shape
    return {
        "id": manifest.model_id,
        "name": name_of(bundle.path),
        "version": __version__,
        "image": {"channels": channels, "height": height, "width": width, "n_bits": manifest.n_bits},
        "levels": [list(shape) for shape in manifest.latent_shapes],
        "classes": manifest.num_classes,
        "golden": golden,
        "golden_source": manifest.golden_source,
        "golden_range": None if familiar is None else asdict(familiar),
        "latent_scale": LATENT_SCALE,
        "upload": {"bytes": max_upload, "formats": list(FORMATS)},
        "directions": None
        if directions is None
        else {
            "source": _short(directions.source),
            "limit": directions.limit,
            "attributes": [
                {"name": one.name, "low": one.range[0], "high": one.range[1], "auc": one.auc}
                for one in directions.attributes
            ],
        },
    }


def describe_image(
    bench: Workbench, opened: Opened, source: Source, *, token: str, notes: tuple[str, ...]
) -> dict[str, Any]:
    """An image, what the model says about it, and how well it comes back."""
    x = bench.original_x(opened)
    steps = float(2**bench.n_bits)
    lost = ~np.isfinite(opened.x_hat)
    error = np.where(lost, 0.0, opened.x_hat.astype(np.float64) - x.astype(np.float64)) * steps
    difference = difference_picture(opened.x_hat, x, n_bits=bench.n_bits)
    values = bench.seen_values(opened)
    latents = opened.latents
    return {
        "token": token,
        "model": bench.bundle.manifest.model_id,
        "name": source.name,
        "file": source.file,
        "notes": list(notes),
        "trouble": opened.trouble,
        "picture": picture_uri(values),
        "reconstruction": picture_uri(_clipped(opened, bench), lost),
        "difference": difference.uri,
        "difference_steps": difference.full_scale,
        "error": {
            "non_finite": int(lost.sum()),
            "max_steps": float(np.abs(error).max()),
            "rms_steps": float(math.sqrt((error**2).mean())),
            "exact": bench.exact_pixels(opened),
            "values": int(x.size),
        },
        "bits_per_dim": _number(latents.bits_per_dim),
        "bits_per_dim_centre": _number(latents.bits_per_dim_centre),
        "familiar": _familiar(bench, opened),
        "draws": bench.settings.draws,
        "label": opened.label,
        "likeliest": _likeliest(opened),
        "levels": [_level(z) for z in opened.z],
    }


def describe_shown(bench: Workbench, opened: Opened, shown: Shown, change: Change, *, command: str) -> dict[str, Any]:
    """A picture decoded from changed latents."""
    pixels = bench.seen_values(opened)
    return {
        "picture": data_uri(png_bytes(shown.values)),
        "kept": shown.kept,
        "fault": shown.fault,
        "label": shown.label,
        "changed_values": int((pixels != shown.values).sum()),
        "values": int(pixels.size),
        "overshoot_steps": shown.overshoot,
        "clipped": shown.clipped,
        "round_trip": shown.round_trip,
        "mean_square": [float((z.astype(np.float64) ** 2).mean()) for z in shown.z],
        "amounts": {name: amount * shown.kept for name, amount in change.attributes.items()},
        "command": command,
    }


def _familiar(bench: Workbench, opened: Opened) -> str:
    bits = _number(opened.latents.bits_per_dim_centre)
    return "unknown" if bench.golden_range is None or bits is None else bench.golden_range.familiar(bits)


def name_of(path: Path) -> str:
    """The folder's name; with its parent's where it says no more than what it is."""
    path = path.resolve()
    return f"{path.parent.name}/{path.name}" if path.name == "bundle" and path.parent.name else path.name


def _short(source: str) -> str:
    """Where directions come from, without the folders of the machine that they were made on."""
    return source if source.startswith("hf:") else source.replace("\\", "/").rstrip("/").rpartition("/")[2] or source


def _level(z: np.ndarray) -> dict[str, Any]:
    pictures = {theme: latent_picture(z, theme=theme) for theme in ("light", "dark")}
    _, width, height = pictures["light"]
    return {
        "shape": list(z.shape),
        "pictures": {theme: uri for theme, (uri, _, _) in pictures.items()},
        "width": width,
        "height": height,
        "mean_square": float((z.astype(np.float64) ** 2).mean()),
        "beyond": int((np.abs(z) > LATENT_SCALE).sum()),
        "count": int(z.size),
    }


def _clipped(opened: Opened, bench: Workbench) -> np.ndarray:
    return x_to_values(np.where(np.isfinite(opened.x_hat), opened.x_hat, 0.0), bench.n_bits)


def _likeliest(opened: Opened) -> list[dict[str, float]]:
    if opened.latents.class_log_prob is None:
        return []
    shares = class_posterior(opened.latents.class_log_prob)[0]
    best = np.argsort(-shares, kind="stable")[:_MOST_CLASSES]
    return [{"label": int(label), "share": float(shares[label])} for label in best]


def _number(value: np.ndarray | None) -> float | None:
    return None if value is None else float(value[0])
