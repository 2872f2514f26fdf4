"""The images that a verification looks at: the bundle's golden ones, and fresh ones."""

from __future__ import annotations

from functools import partial

import numpy as np

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import UsageError
from glow_deploy.images import values_to_x
from glow_deploy.progress import StageProgress
from glow_deploy.verify.matrix.images import Images, TrueValues, check_bin_centres
from glow_deploy.verify.report.verification import GOLDEN_SET

from .settings import VerifySettings

__all__ = ["image_sources", "left_out_notes"]

_MOST_NAMED = 16


def image_sources(bundle: Bundle, settings: VerifySettings, progress: StageProgress | None) -> list[Images]:
    """Open the golden images, then those of `data`.

    Args:
        bundle: with its manifest read.
        settings: of the run.
        progress: told how many pictures of `data` have been looked at.

    Raises:
        UsageError: there are none, or nothing to compare them with.
        BundleError: the golden vectors are damaged.
        DataError: `data` cannot be read.
    """
    manifest = bundle.manifest
    sources = []
    golden = bundle.golden()
    if golden is not None:
        check_bin_centres(golden.x, n_bits=manifest.n_bits, where=f"{bundle.path / 'golden.npz'}")
        words = {
            "data": "chosen at export",
            "checkpoint": "of the checkpoint's validation set",
            "samples": "drawn from the model itself at T=0.7",
        }
        sources.append(
            Images(
                name=GOLDEN_SET,
                description=words.get(str(manifest.golden_source), "of the bundle"),
                count=len(golden),
                read=partial(np.take, golden.x, axis=0),
                y=golden.y,
                reference=TrueValues(z=golden.z, log_prob=golden.log_prob, x_hat=golden.x_hat),
            )
        )
    if settings.data is not None:
        sources.append(_data_source(settings.data, bundle, settings, progress))
    if not sources:
        more = "" if settings.ckpt is not None else " and ckpt="
        raise UsageError(
            f"{bundle.path} has no golden vectors: give images with data={more}, or export with golden vectors"
        )
    if golden is None and settings.ckpt is None:
        raise UsageError(
            f"{bundle.path} has no golden vectors, so its latents and log_prob cannot be compared with the trained "
            "model's: give ckpt=, or export with golden vectors"
        )
    return sources


def _data_source(data: str, bundle: Bundle, settings: VerifySettings, progress: StageProgress | None) -> Images:
    from glow_deploy.data import load_images

    manifest = bundle.manifest
    channels, height, width = manifest.image_shape
    images = load_images(
        data,
        split="test",
        size=(height, width),
        channels=channels,
        limit=settings.limit,
        resize=settings.resize,
        skip_unreadable=settings.skip_unreadable,
        reading=settings.reading,
        progress=progress,
    )
    count = len(images) if settings.limit is None else min(settings.limit, len(images))
    return Images(
        name="data",
        description=f"of {data}" + (" (no splits: training images may be among them)" if images.undivided else ""),
        count=count,
        read=lambda rows: values_to_x(images.batch(rows), manifest.n_bits),
        y=None if manifest.num_classes is None else images.labels_for(manifest.num_classes)[:count],
        notes=images.notes,
        left_out=images.left_out,
    )


def left_out_notes(images: Images) -> list[str]:
    """Say which pictures cannot be read and were left out; nothing where all are there."""
    if not images.left_out:
        return []
    names = ", ".join(left.name for left in images.left_out[:_MOST_NAMED])
    more = len(images.left_out) - _MOST_NAMED
    return [
        f"left out of {images.name}, because they cannot be read: {len(images.left_out):,} ({names}"
        f"{f' and {more:,} more' if more > 0 else ''})"
    ]
