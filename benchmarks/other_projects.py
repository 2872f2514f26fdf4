"""How far the exports of other projects' checkpoints are from what those projects' own code computes.

Each checkpoint is exported by the command its user would type, then images that the original code was run on go through
the graphs in ONNX Runtime and through the imported model in float64. Usage:
    python benchmarks/other_projects.py [FOLDER]
FOLDER holds one folder a checkpoint, each with the file and a `reference.npz`; by default those of the tests.
"""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from glow_cli.main import app
from rich.console import Console
from rich.table import Table

from glow_core import Glow, ImportOptions, read_checkpoint
from glow_deploy import open_engine
from glow_deploy.images import bits_per_dim, pixels_to_x

_FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "other_projects"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One checkpoint, all differences the largest over all values of all images.

    Attributes:
        name: of its folder.
        project: whose layout it was recognised as.
        command: that exports it.
        z: latents, float64 against the original, in units of the original's rms: raw ones, before their priors, where
            the original code returns those.
        bits: bits/dim, float64 against the original.
        bits_onnx: bits/dim, ONNX Runtime against the original.
        round_trip: x -> z -> x in ONNX Runtime, in pixel steps.
        images: how many.
    """

    name: str
    project: str
    command: str
    z: float
    bits: float
    bits_onnx: float
    round_trip: float
    images: int


def raw_latents(glow: Glow, x: torch.Tensor) -> list[torch.Tensor]:
    """What each level gives before its prior turns it into a standard normal, finest first."""
    h, latents = x - 0.5, []
    for level in glow.flow_levels():
        h, _ = level.squeeze.encode(h)
        for step in level.flow_steps():
            h, _ = step.encode(h)
        if level.split is not None:
            h, leaving = h.chunk(2, dim=1)
            latents.append(leaving)
    return [*latents, h]


def measure(folder: Path, work: Path) -> Row:
    """Export one checkpoint and compare it with its reference."""
    described = json.loads((folder / "options.json").read_text())
    file, options = folder / described.pop("file"), described
    words = [
        *("glow-deploy", "export", file.name),
        *(word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))),
    ]
    bundle = work / folder.name
    app([*words[1:2], str(file), *words[3:], "--out", str(bundle), "--quiet"], standalone_mode=False)
    size = options.get("image_size")
    told = ImportOptions.from_dict({**options, **({} if size is None else {"image_size": _size(size)})})
    checkpoint = read_checkpoint(file, options=told)
    glow = checkpoint.glow().double()
    config = checkpoint.config
    with np.load(folder / "reference.npz") as archive:
        reference = {name: archive[name] for name in archive.files}
    x = pixels_to_x(reference["pixels"] >> (8 - config.n_bits), config.n_bits)
    y = reference.get("y")
    labels = None if y is None else torch.from_numpy(y)
    with torch.inference_mode():
        raw = raw_latents(glow, torch.from_numpy(x).double())
        normal, log_prob = glow.encode(torch.from_numpy(x).double(), labels)
    ours = {f"z{level}{end}": z for end, part in (("_raw", raw), ("", normal)) for level, z in enumerate(part, start=1)}
    z = max(_relative(ours[name].numpy(), want) for name, want in reference.items() if name in ours)
    feeds = {} if y is None else {"y": y}
    with open_engine(bundle / "encoder.onnx") as encoder, open_engine(bundle / "decoder.onnx") as decoder:
        latents = encoder.run({"x": x, **feeds})
        onnx = latents.pop("log_prob")
        x_hat = decoder.run({**latents, **feeds})["x"]
    expected = reference["bits_per_dim"]

    def worst(values: np.ndarray) -> float:
        return float(np.abs(bits_per_dim(values, dims=config.dims, n_bits=config.n_bits) - expected).max())

    origin = checkpoint.origin
    return Row(
        name=folder.name,
        project="glow-deploy" if origin is None else origin.project,
        command=shlex.join(words),
        z=z,
        bits=worst(log_prob.numpy()),
        bits_onnx=worst(onnx),
        round_trip=float(np.abs(x_hat.astype(np.float64) - x).max() * 2**config.n_bits),
        images=len(x),
    )


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.sqrt((expected**2).mean()))


def _size(text: str) -> list[int]:
    sides = [int(part) for part in str(text).split("x")]
    return [sides[0], sides[-1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=_FIXTURES)
    folders = sorted(path.parent for path in parser.parse_args().folder.glob("*/options.json"))
    table = Table(
        "checkpoint", "images", "z, float64", "bits/dim, float64", "bits/dim, ONNX", "x -> z -> x, pixel steps"
    )
    with TemporaryDirectory() as name:
        rows = [measure(folder, Path(name)) for folder in folders]
    for row in rows:
        figures = (row.z, row.bits, row.bits_onnx, row.round_trip)
        table.add_row(row.name, str(row.images), *(f"{figure:.1e}" for figure in figures))
    console = Console()
    console.print(table)
    for row in rows:
        console.print(f"{row.name}: {row.project}\n  {row.command}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
