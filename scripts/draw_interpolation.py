"""Draw docs/interpolation.png: squares between four held-out faces, by a bundle's own engines.

    glow-deploy demo --out demo-out
    python scripts/draw_interpolation.py demo-out/bundle docs/interpolation.png

Straight lines on the left, great circles on the right. The corners are the first four faces of the test split.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from glow_deploy.data import load_images
from glow_deploy.engines.pair import open_pair
from glow_deploy.images import grid, write_png
from glow_deploy.latents.interpolation import InterpolationSettings, interpolate_images
from glow_deploy.latents.ways import InterpolationMode

MODES: tuple[InterpolationMode, ...] = ("linear", "spherical")
STEPS, SCALE, GAP = 6, 4, 12


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    corners = load_images("faces", split="test").batch(np.arange(4))
    squares = []
    with open_pair(arguments.bundle, device="cpu") as (encoder, decoder):
        for mode in MODES:
            settings = InterpolationSettings(steps=STEPS, mode=mode)
            found = interpolate_images(encoder, decoder, corners, settings=settings)
            squares.append(grid(found.pictures(), columns=found.columns, scale=SCALE))
            print(f"{mode}: corners exact {found.ends_exact.tolist()}, not finite {int((~found.finite).sum())}")
    gap = np.full((*squares[0].shape[:2], GAP), 255, np.uint8)
    write_png(arguments.out, np.concatenate([squares[0], gap, squares[1]], axis=2))


if __name__ == "__main__":
    main()
