"""How well maps of surprise find what does not belong: faces with pasted patches, by the picture and by the pixel.

Usage: python benchmarks/anomaly_maps.py BUNDLE [--images N] [--draw FILE.png]

BUNDLE is of a model of the embedded faces, as `glow-deploy demo` leaves it. What is normal and the threshold are learnt
on the validation images; the test images are others. Each defect is a square of a quarter of the side at a random
place: of another face, of noise, of one colour, the face there upside down, or its pixels shuffled.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.data import load_images
from glow_deploy.engines.open import open_engine
from glow_deploy.images import write_png
from glow_deploy.numerics.auc import auc, auc_interval
from glow_deploy.scoring.map_picture import map_picture
from glow_deploy.scoring.surprise import default_patch, measure_surprise
from glow_deploy.scoring.threshold import SurpriseMaps, fit_threshold

KINDS = ("another face", "noise", "one colour", "upside down", "shuffled")
Values = npt.NDArray[np.uint8]


def spoil(values: Values, kind: str, rng: np.random.Generator) -> tuple[Values, npt.NDArray[np.bool_]]:
    """Paste a square into each picture; returns the pictures and where the squares are, bool [n, H, W]."""
    spoilt, where = values.copy(), np.zeros((len(values), *values.shape[2:]), bool)
    height, width = values.shape[2:]
    side = min(height, width) // 4
    for index, picture in enumerate(spoilt):
        top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        place = (slice(None), slice(top, top + side), slice(left, left + side))
        other = values[(index + 1 + rng.integers(len(values) - 1)) % len(values)]
        a, b = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        square = picture[place].copy()
        if kind == "another face":
            square = other[:, a : a + side, b : b + side]
        elif kind == "noise":
            square = rng.integers(0, 256, square.shape)
        elif kind == "one colour":
            square[:] = rng.integers(0, 256, (len(square), 1, 1))
        elif kind == "upside down":
            square = square[:, ::-1]
        else:
            square = rng.permuted(square.reshape(len(square), -1), axis=1).reshape(square.shape)
        picture[place] = square
        where[(index, *place[1:])] = True
    return spoilt, where


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--normal", type=int, default=400)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--patch", type=int)
    parser.add_argument("--draw", type=Path)
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    channels, height, width = bundle.manifest.image_shape

    def some(split: Literal["validation", "test"], count: int) -> Values:
        every = load_images("faces", split=split, size=(height, width), channels=channels)
        return every.batch(np.linspace(0, len(every) - 1, min(count, len(every)), dtype=int))

    faces, held_out = some("test", given.images), some("validation", given.normal)
    patch = given.patch or default_patch(height, width)
    rng = np.random.default_rng(0)
    table = Table(title=f"{len(faces)} test faces, and as many with a square pasted in; patches of {patch} pixels")
    for title in ("defect", "map", "AUROC by picture", "(95 %)", "AUROC by pixel", "found", "mistaken"):
        table.add_column(title, justify="left" if title in ("defect", "map") else "right")
    with open_engine(bundle.path / "encoder.onnx", device="cpu") as encoder:
        threshold = fit_threshold(
            measure_surprise(encoder, held_out, patch=patch),
            rate=given.rate,
            model_id=bundle.manifest.model_id,
            precision=bundle.manifest.precision,
            source="validation images",
        )
        normal = threshold.maps(measure_surprise(encoder, faces, patch=patch))
        shown: list[tuple[Values, SurpriseMaps]] = []
        for kind in KINDS:
            spoilt, where = spoil(faces, kind, rng)
            strange = threshold.maps(measure_surprise(encoder, spoilt, patch=patch))
            shown.append((spoilt, strange))
            for name in ("latents", "patches", "both"):
                clean, dirty = getattr(normal, name), getattr(strange, name)
                tops = np.concatenate([part.reshape(len(part), -1).max(axis=1) for part in (clean, dirty)])
                truth = np.arange(len(tops)) >= len(clean)
                by_picture = auc(tops, truth)
                low, high = auc_interval(by_picture, positives=int(truth.sum()), negatives=int((~truth).sum()))
                found = mistaken = ""
                if name == "both":
                    found = f"{(strange.highest > threshold.value).mean():.0%}"
                    mistaken = f"{(normal.highest > threshold.value).mean():.0%}"
                table.add_row(
                    kind if name == "latents" else "",
                    name,
                    f"{by_picture:.3f}",
                    f"{low:.3f} to {high:.3f}",
                    f"{auc(dirty.ravel(), where.ravel()):.3f}",
                    found,
                    mistaken,
                )
    Console(width=120).print(table)
    print(
        f"threshold for at most {given.rate:.0%} of normal pictures: {threshold.value:.2f}, learnt on "
        f"{threshold.normal} and {threshold.calibration} validation images"
    )
    if given.draw is not None:
        rows = [map_picture(values[3], maps, 3, threshold=threshold.value) for values, maps in shown]
        write_png(given.draw, np.concatenate(rows, axis=1))


if __name__ == "__main__":
    main()
