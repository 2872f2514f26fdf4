"""Draw docs/edits.png: attributes added to held-out faces and removed from them, by a bundle's own engines.

    glow-deploy demo --out demo-out
    glow-deploy train --data faces --init demo-out/ckpt.pt --out longer --max-seconds 900
    glow-deploy export longer/ckpt.pt --out longer/bundle --data faces
    glow-deploy directions longer/bundle --data faces --out faces.directions.npz
    python scripts/draw_edits.py longer/bundle faces.directions.npz docs/edits.png

The faces are the first of the test split that lack the attribute, and the first that have it; none are chosen by hand.
Edits are scaled back where they are not sound (`--beyond`), and those are marked by a dot.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from glow_deploy.artifact.identity import engine_model_id
from glow_deploy.data import ImageSet, load_images
from glow_deploy.directions.directions import Directions
from glow_deploy.directions.editing import EditSettings, edit_latents
from glow_deploy.directions.files import load_directions
from glow_deploy.engines import Engine
from glow_deploy.engines.pair import open_pair, pair_files
from glow_deploy.images import x_to_values
from glow_deploy.latents import EncodeSettings, encode_images

ROWS = (("eyeglasses", "glasses"), ("beard", "beard"), ("smiling", "smile"), ("hat", "hat"))
BESIDE = {"eyeglasses": "sunglasses"}  # faces with the second are no faces without the first
AMOUNTS = (0.0, 1.0, 2.0, 3.0)
FACES = 2
SCALE, GAP, LEFT, TOP, MIDDLE = 4, 4, 72, 24, 20


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("directions", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    faces = load_images("faces", split="test")
    with open_pair(arguments.bundle, device="cpu") as (encoder, decoder):
        model_id = engine_model_id(pair_files(arguments.bundle)[1])
        directions = load_directions(arguments.directions, decoder.inputs, model_id=model_id)
        halves = {
            (name, sign): strips(encoder, decoder, directions, faces, name=name, sign=sign)
            for name, _ in ROWS
            for sign in (1.0, -1.0)
        }
    draw(halves).save(arguments.out, optimize=True)


def strips(
    encoder: Engine, decoder: Engine, directions: Directions, faces: ImageSet, *, name: str, sign: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Pictures, uint8 [faces, amounts, C, H, W], and which were damped, bool [faces, amounts]."""
    assert faces.attributes is not None
    having = faces.attributes[:, faces.attribute_names.index(name)]
    beside = faces.attributes[:, faces.attribute_names.index(BESIDE.get(name, name))]
    rows = np.flatnonzero(having if sign < 0 else ~(having | beside))[:FACES]
    latents = encode_images(encoder, faces.batch(rows), settings=EncodeSettings(draws=0))
    edits = [{name: sign * amount} for amount in AMOUNTS]
    edited = edit_latents(encoder, decoder, latents, directions, edits=edits, settings=EditSettings(beyond=True))
    flat = edited.x.reshape(-1, *edited.x.shape[2:])
    return x_to_values(flat, decoder.n_bits).reshape(edited.x.shape), edited.damped


def draw(halves: dict[tuple[str, float], tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]) -> Image.Image:
    """Lay the strips out with their names: added on the left, removed on the right."""
    side = 16 * SCALE
    cell = side + GAP
    half = len(AMOUNTS) * cell
    width = LEFT + 2 * half + MIDDLE
    height = TOP + len(ROWS) * (FACES * cell + GAP)
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=13)
    for column, sign in enumerate((1.0, -1.0)):
        for place, amount in enumerate(AMOUNTS):
            x = LEFT + column * (half + MIDDLE) + place * cell
            text = "face" if amount == 0 else f"{sign * amount:+g}"
            pen.text((x + side / 2, TOP / 2), text, fill="black", font=font, anchor="mm")
    for row, (name, label) in enumerate(ROWS):
        top = TOP + row * (FACES * cell + GAP)
        pen.text((LEFT - 10, top + FACES * cell / 2), label, fill="black", font=font, anchor="rm")
        for column, sign in enumerate((1.0, -1.0)):
            pictures, damped = halves[name, sign]
            for face, place in np.ndindex(damped.shape):
                x, y = LEFT + column * (half + MIDDLE) + place * cell, top + face * cell
                values = pictures[face, place].transpose(1, 2, 0)
                image.paste(Image.fromarray(values).resize((side, side), Image.Resampling.NEAREST), (x, y))
                if damped[face, place]:
                    pen.ellipse((x + side - 9, y + 3, x + side - 3, y + 9), fill="#d00000")
    return image


if __name__ == "__main__":
    main()
