"""A lossless codec, to show what an exact bundle is: pictures are encoded on one backend and decoded on another.

    glow-deploy train --data faces --coupling additive --n-bits 8 ... --out run
    glow-deploy export run/ckpt.pt --precision exact --out exact-bundle
    python lossless_codec.py encode exact-bundle PICTURES latents.npz --backend onnxruntime-cpu
    python lossless_codec.py decode exact-bundle latents.npz DECODED --backend openvino-cpu
    python lossless_codec.py compare PICTURES DECODED

It is no good at making files small. The integers hold every pixel, and below it the fraction bits of the exact grid,
which no general compressor can take away: that needs an entropy coder with the model's own density, and bits back. A
picture whose integers are not in the proven range is kept as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from glow_deploy import open_engine
from glow_deploy.data import load_images
from glow_deploy.engines.exact import ExactEngine
from glow_deploy.images import bits_per_dim, png_bytes, values_to_x, write_png, x_to_values
from glow_deploy.protocol import Engine

_BATCH = 64


def integers_of(path: Path, backend: str) -> Engine:
    """Open a graph as it is, its latents integers; the engine around it shows them as standard normal numbers."""
    engine = open_engine(path, backend=backend)
    if not isinstance(engine, ExactEngine):
        sys.exit(f"{path} is not exact: export with --precision exact")
    return engine.integers


def read_pictures(folder: Path, size: tuple[int, ...]) -> np.ndarray:
    """All pictures of a folder in the order of their names, uint8 [N,C,H,W]."""
    images = load_images(str(folder), split="test", size=size[1:], channels=size[0])
    return images.batch(np.arange(len(images)))


def encode(bundle: Path, pictures: Path, target: Path, backend: str) -> None:
    """Write the integers of all pictures, each level in the smallest type that holds it."""
    with integers_of(bundle / "encoder.onnx", backend) as encoder:
        n_bits = encoder.n_bits
        if n_bits != 8:
            sys.exit(f"this model knows pixels of {n_bits} bits, and pictures have 8: take a model of 8 bits")
        values = read_pictures(pictures, encoder.inputs[0].shape)
        x = values_to_x(values, n_bits)
        parts = [encoder.run({"x": x[first : first + _BATCH]}) for first in range(0, len(x), _BATCH)]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    inside = found["in_range"] == 1
    stored = {name: narrowest(array[inside]) for name, array in found.items() if name[:1] == "z"}
    np.savez_compressed(target, inside=inside, left=values[~inside], **stored)
    model = bits_per_dim(found["log_prob"][inside], dims=x[0].size, n_bits=n_bits).mean()
    png = sum(len(png_bytes(picture)) for picture in values)
    whole = len(png_bytes(np.concatenate(list(values), axis=1)))
    print(
        f"{len(values)} pictures, {int((~inside).sum())} of them kept as they are; bits/dim of the model: {model:.2f}"
    )
    print(f"{target}: {target.stat().st_size:,} bytes; PNG, one file a picture: {png:,}; one PNG of all: {whole:,};")
    print(f"bare pixels: {values.size:,}")


def narrowest(z: np.ndarray) -> np.ndarray:
    """The same integers in the smallest type that holds them all."""
    largest = int(np.abs(z).max()) if z.size else 0
    return z.astype(np.int8 if largest < 2**7 else np.int16 if largest < 2**15 else np.int32)


def decode(bundle: Path, source: Path, target: Path, backend: str) -> None:
    """Write the pictures, numbered in the order in which they were encoded."""
    with np.load(source) as stored, integers_of(bundle / "decoder.onnx", backend) as decoder:
        inside = stored["inside"]
        z = {name: stored[name].astype(np.float32) for name in stored.files if name[:1] == "z"}
        left, count = stored["left"], int(inside.sum())
        values = np.empty((len(inside), *left.shape[1:]), np.uint8)
        values[~inside] = left
        numbers = np.flatnonzero(inside)
        for first in range(0, count, _BATCH):
            part = {name: array[first : first + _BATCH] for name, array in z.items()}
            zeros = np.zeros((len(part["z1"]), 1, 1, 1), np.float32)
            found = decoder.run({**part, "as_normal": zeros})
            if not (found["in_range"] == 1).all():
                sys.exit(f"{source}: these are not the integers of this bundle")
            values[numbers[first : first + _BATCH]] = x_to_values(found["x"], decoder.n_bits)
    target.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(values):
        write_png(target / f"{number:06}.png", picture)
    print(f"wrote {len(values)} pictures to {target}")


def compare(first: Path, second: Path) -> int:
    """Compare the pictures of two folders, pixel for pixel."""
    sets = [load_images(str(folder), split="test") for folder in (first, second)]
    one, two = (images.batch(np.arange(len(images))) for images in sets)
    if one.shape != two.shape:
        print(f"{one.shape[0]} pictures of {one.shape[1:]} and {two.shape[0]} of {two.shape[1:]}")
        return 1
    differing = int((one != two).sum())
    print(f"{differing} of {one.size:,} values differ in {len(one)} pictures")
    return int(differing > 0)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, places in (
        ("encode", ("bundle", "pictures", "latents")),
        ("decode", ("bundle", "latents", "pictures")),
        ("compare", ("first", "second")),
    ):
        command = commands.add_parser(name)
        for place in places:
            command.add_argument(place, type=Path)
        if name != "compare":
            command.add_argument("--backend", default="onnxruntime-cpu", help="onnxruntime-cpu, openvino-cpu, ...")
    given = parser.parse_args()
    if given.command == "compare":
        sys.exit(compare(given.first, given.second))
    backend = "auto" if given.backend == "onnxruntime-cpu" else given.backend
    if given.command == "encode":
        encode(given.bundle, given.pictures, given.latents, backend)
    else:
        decode(given.bundle, given.latents, given.pictures, backend)


if __name__ == "__main__":
    main()
