"""What exact integers cost a trained additive Glow in likelihood, width by width, and whether two backends ever differ.

The ranges come from the images that a checkpoint carries, the change from test images that neither training nor the
ranges saw, each with noise of its own. With --cross both graphs of each model run in ONNX Runtime and in OpenVINO, and
all four ways from one to the other are compared, integer for integer and pixel for pixel. With --native hidden sums are
rounded to 16 bit: by casts in ONNX Runtime, by convolutions of that type in OpenVINO. Usage:
    python benchmarks/exact_likelihood.py CKPT DATA [CKPT DATA ...] [--bits 4 ... 11] [--limit N] [--cross N]
        [--split train] [--native bf16|fp16]
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from glow_core import read_checkpoint
from glow_deploy.data import Split, load_images
from glow_deploy.engines.onnxruntime import open_onnx
from glow_deploy.engines.open import open_graph
from glow_deploy.exact.arrays import ExactGlow
from glow_deploy.exact.build import BITS, LEAST_BITS, MOST_BITS, build_exact
from glow_deploy.exact.decoder import build_exact_decoder
from glow_deploy.exact.encoder import build_exact_encoder
from glow_deploy.exact.interpret import ExactModel
from glow_deploy.exact.linear import linear_steps
from glow_deploy.exact.narrow import FORMATS, NarrowNumber
from glow_deploy.export.products import convolve_by_torch
from glow_deploy.export.reference import TrainedReference
from glow_deploy.folding import FoldedGlow
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.serialize import serialize
from glow_deploy.images import bits_per_dim, pixels_to_x, values_to_x
from glow_deploy.numerics.statistics import mean_bound

_BATCH = 64
_BAND = 0.005


def images_of(folded: FoldedGlow, data: str, limit: int, *, split: Split = "test") -> np.ndarray:
    """Images at bin centres."""
    channels, *size = folded.image_shape
    images = load_images(data, split=split, size=tuple(size), channels=channels, limit=limit)
    return values_to_x(images.batch(np.arange(min(limit, len(images)))), folded.n_bits)


def pieces(x: np.ndarray) -> list[np.ndarray]:
    """Batches."""
    return [x[first : first + _BATCH] for first in range(0, len(x), _BATCH)]


def change_of(folded: FoldedGlow, model: ExactModel, x: np.ndarray, trained: np.ndarray) -> tuple[float, float, int]:
    """The mean change of bits/dim, within what it is known at 95 %, and the images out of range."""
    parts = [model.encode(piece) for piece in pieces(x)]
    found = np.concatenate([part.log_prob for part in parts])
    outside = sum(int((~part.in_range).sum()) for part in parts)
    exact, real = (bits_per_dim(values, dims=folded.dims, n_bits=folded.n_bits) for values in (found, trained))
    change = exact - real
    mean, rms = float(change.mean()), float(np.sqrt((change**2).mean()))
    return mean, mean_bound(mean=mean, rms=rms, n=len(change)) - abs(mean), outside


def graphs_of(folded: FoldedGlow, model: ExactGlow, *, native: bool) -> tuple[bytes, bytes]:
    """Encoder and decoder."""
    return tuple(
        serialize(
            build(
                model,
                metadata=describe(folded, role=role, precision="exact", model_id=folded.model_id()),
                native=native,
            )
        )
        for role, build in (("encoder", build_exact_encoder), ("decoder", build_exact_decoder))
    )


def measure(
    console: Console,
    checkpoint: Path,
    data: str,
    *,
    widths: list[int],
    limit: int,
    cross: int,
    split: Split = "test",
    narrow: NarrowNumber | None = None,
) -> None:
    """Print the table of one model, and what crossing backends found."""
    stored = read_checkpoint(checkpoint)
    reference = TrainedReference(stored.glow(weights="ema"))
    folded = fold(reference.single)
    assert stored.images is not None
    calibration = pixels_to_x(stored.images[:128], folded.n_bits)
    levels = linear_steps(folded)
    x = images_of(folded, data, limit)
    noise = np.random.default_rng(0).random(x.shape)
    noisy = (np.floor(x * 2.0**folded.n_bits) + noise) / 2.0**folded.n_bits
    noisy = np.minimum(noisy, 1 - 2.0**-24).astype(np.float32)
    trained = np.concatenate([reference.code("fp64", piece, None).log_prob for piece in pieces(noisy)])
    real = float(bits_per_dim(trained, dims=folded.dims, n_bits=folded.n_bits).mean())
    title = f"{checkpoint.parent.name}: {data}, {folded.n_bits} bits, {len(x)} test images, {real:.4f} bits/dim"
    title += f", {narrow} convolutions" if narrow else ""
    build = partial(build_exact, folded, calibration, levels=levels, narrow=narrow, convolve=convolve_by_torch)
    table = Table(title=title, title_justify="left")
    for column in ("bits", "change of bits/dim", "95 % within", "below a pixel step", "out of range"):
        table.add_column(column, justify="right")
    automatic = None
    for bits in widths:
        built = build(bits=bits)
        mean, width, outside = change_of(folded, ExactModel(built.model, convolve=convolve_by_torch), noisy, trained)
        if automatic is None and mean + width <= _BAND:
            automatic = bits
        table.add_row(str(bits), f"{mean:+.4f}", f"{width:.4f}", str(built.model.fraction_bits), str(outside))
    console.print(table)
    console.print(f"the fewest bits that keep the change within {_BAND}: {automatic}")
    if cross:
        bits = BITS if BITS in widths else widths[-1]
        model = build(bits=bits).model
        carried = graphs_of(folded, model, native=False)
        typed = graphs_of(folded, model, native=True) if narrow else carried
        x = images_of(folded, data, cross, split=split)
        console.print(f"{bits} bits: {crossed(carried, typed, x, grid_bits=model.grid_bits)}")


def crossed(first: tuple[bytes, bytes], second: tuple[bytes, bytes], x: np.ndarray, *, grid_bits: int) -> str:
    """Run every image through both encoders, and each one's integers through both decoders.

    Args:
        first: encoder and decoder for ONNX Runtime.
        second: for OpenVINO.
        x: images at bin centres.
        grid_bits: of the model: what comes back is x taken down to a multiple of 2^-grid_bits.
    """
    encoders, decoders = (
        (open_onnx(ours, device="cpu"), open_graph(theirs, backend="openvino-cpu"))
        for ours, theirs in zip(first, second, strict=True)
    )
    integers = wrong_integers = pixels = wrong_pixels = outside = 0
    for piece in pieces(x):
        grid = np.floor(piece.astype(np.float64) * 2.0**grid_bits) / 2.0**grid_bits
        found = [encoder.run({"x": piece}) for encoder in encoders]
        names = [name for name in found[0] if name[:1] == "z" or name == "in_range"]
        integers += sum(found[0][name].size for name in names)
        wrong_integers += sum(int((found[0][name] != found[1][name]).sum()) for name in names)
        inside = found[0]["in_range"] == 1
        outside += int((~inside).sum())
        for part, decoder in product(found, decoders):
            z = {name: array for name, array in part.items() if name[:1] == "z"}
            back = decoder.run({**z, "as_normal": np.zeros((len(piece), 1, 1, 1), np.float32)})["x"]
            pixels += back[inside].size
            wrong_pixels += int((back[inside] != grid[inside]).sum())
    for engine in (*encoders, *decoders):
        engine.close()
    return (
        f"ONNX Runtime and OpenVINO, {len(x):,} images, {outside} out of range: {wrong_integers:,} of {integers:,} "
        f"integers differ, and {wrong_pixels:,} of {pixels:,} values that came back, four ways"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="CKPT DATA", help="checkpoints, each with its data set")
    parser.add_argument("--bits", type=int, nargs="*", default=list(range(LEAST_BITS, MOST_BITS + 1)))
    parser.add_argument("--limit", type=int, default=300, help="test images at most")
    parser.add_argument(
        "--cross",
        type=int,
        default=0,
        metavar="N",
        help=f"cross the backends on N test images, at {BITS} bits or the last",
    )
    parser.add_argument("--split", choices=("train", "test"), default="test", help="of the images that --cross takes")
    parser.add_argument("--native", choices=[*FORMATS], help="round hidden sums to this format")
    given = parser.parse_args()
    most = FORMATS[given.native].bits if given.native else MOST_BITS
    widths = [bits for bits in given.bits if bits <= most]
    if not widths:
        parser.error(f"{given.native} holds {most} bits at most")
    if len(given.pairs) % 2:
        parser.error("give a data set after every checkpoint")
    console = Console(width=120)
    for checkpoint, data in zip(given.pairs[::2], given.pairs[1::2], strict=True):
        measure(
            console,
            Path(checkpoint),
            data,
            widths=widths,
            limit=given.limit,
            cross=min(given.cross, 1_000_000),
            split=given.split,
            narrow=given.native,
        )


if __name__ == "__main__":
    main()
