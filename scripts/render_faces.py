"""Render the embedded data set `faces`: 16x16 RGB pixel-art faces with exact binary attributes.

Needs an environment of its own, because nothing else in this repository uses these packages:

    python -m venv /tmp/faces-venv
    /tmp/faces-venv/bin/pip install dicebear-core==10.7.0 dicebear-styles==10.6.0 resvg-py==0.5.0 pillow numpy
    /tmp/faces-venv/bin/python scripts/render_faces.py glow_deploy/data/faces.npz

A face is a pure function of its seed string `face-<number>`; the numbers count up and a face that equals an earlier one
at 5 bits is left out, so two runs give the same faces. An attribute is set where its part was chosen and can be seen:
where the same face drawn without that part differs by a pixel.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import resvg_py
from dicebear import Avatar, Style
from PIL import Image

SIZE = 16
TRAIN, VALIDATION, TEST = 6000, 300, 300
BACKGROUND = "#d8e4f0"
# Per cent. The style's own defaults leave some attributes too rare to learn.
OPTIONS = {
    "glassesProbability": 45,
    "beardProbability": 35,
    "hatProbability": 25,
    "accessoriesProbability": 60,
}
ATTRIBUTES = (
    "eyeglasses",
    "sunglasses",
    "beard",
    "hat",
    "earrings",
    "smiling",
    "long_hair",
    "dark_hair",
    "blond_hair",
    "brown_hair",
    "dyed_hair",
    "pale_skin",
    "dark_skin",
)
HAIR = {
    "dark_hair": {"#611c17", "#603015", "#612616", "#28150a", "#603a14"},
    "brown_hair": {"#83623b"},
    "blond_hair": {"#cab188", "#a78961"},
    "dyed_hair": {"#009bbd", "#bd1700", "#91cb15"},
}
PALE = {"#ffdbac", "#f5cfa0", "#eac393"}
DARK = {"#b68655", "#a26d3d", "#8d5524"}


def draw(style: Style, seed: str, **without: int) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
    """Draw one face, uint8 [16, 16, 3], and tell which parts it is made of."""
    avatar = Avatar(style, {"seed": seed, **OPTIONS, **without}).to_json()
    png = resvg_py.svg_to_bytes(
        svg_string=avatar["svg"], width=SIZE, height=SIZE, background=BACKGROUND, skip_system_fonts=True
    )
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB")), avatar["options"]


def attributes(style: Style, seed: str, face: npt.NDArray[np.uint8], options: dict[str, Any]) -> list[bool]:
    """Tell which of `ATTRIBUTES` a face has."""

    def visible(part: str) -> bool:
        if not options.get(f"{part}Variant"):
            return False
        bare, other = draw(style, seed, **{f"{part}Probability": 0})
        rest = {key: value for key, value in options.items() if not key.startswith(part)}
        if rest != {key: value for key, value in other.items() if not key.startswith(part)}:
            raise RuntimeError(f"{seed}: leaving out {part} changed another part")
        return bool((bare != face).any())

    hair, skin = options["hairColor"][0], options["skinColor"][0]
    glasses = options.get("glassesVariant") or ""
    tags = {
        "eyeglasses": glasses.startswith("light") and visible("glasses"),
        "sunglasses": glasses.startswith("dark") and visible("glasses"),
        "beard": visible("beard"),
        "hat": visible("hat"),
        "earrings": visible("accessories"),
        "smiling": options["mouthVariant"].startswith("happy"),
        "long_hair": options["hairVariant"].startswith("long"),
        "pale_skin": skin in PALE,
        "dark_skin": skin in DARK,
        **{name: hair in colours for name, colours in HAIR.items()},
    }
    return [tags[name] for name in ATTRIBUTES]


def faces() -> Iterator[tuple[npt.NDArray[np.uint8], list[bool]]]:
    """Draw distinct faces without end."""
    style = Style(json.loads(files("dicebear_styles").joinpath("pixel-art.json").read_text("utf-8")))
    seen: set[bytes] = set()
    number = 0
    while True:
        seed = f"face-{number}"
        number += 1
        face, options = draw(style, seed)
        key = (face >> 3).tobytes()
        if key not in seen:
            seen.add(key)
            yield face, attributes(style, seed, face, options)


def main() -> None:
    """Write the .npz file and print how common each attribute is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=TRAIN + VALIDATION + TEST)
    arguments = parser.parse_args()
    drawn = [face for face, _ in zip(faces(), range(arguments.count), strict=False)]
    images = np.stack([face for face, _ in drawn])
    tags = np.array([row for _, row in drawn], dtype=bool)
    split = np.repeat(np.array([0, 1, 2], np.uint8), [TRAIN, VALIDATION, TEST])[: arguments.count]
    np.savez_compressed(
        arguments.out,
        images=images,
        attributes=tags,
        attribute_names=np.array(ATTRIBUTES),
        split=split,
        split_names=np.array(["train", "validation", "test"]),
    )
    for name, share in zip(ATTRIBUTES, tags.mean(axis=0), strict=True):
        print(f"{name:12s} {share:6.1%}")
    print(f"{len(images)} faces, {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
