"""The share of the training loop that waits for pictures, with a real folder of JPEG files.

The embedded faces are enlarged and written as JPEG files, so that each picture of each step is read, decoded and
resized. The first step is left out: nothing could be read ahead of it. Usage:
    python benchmarks/idle.py [--steps N] [--batch N] [--side PIXELS] [--depth K] [--width W] [--threads N]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
from PIL import Image
from rich.console import Console

from glow_core import GlowConfig
from glow_core.training import Progress, TrainSettings, train
from glow_core.training.ahead import ReadAhead
from glow_deploy.data import load_images


def write_pictures(folder: Path, *, count: int, side: int) -> None:
    """Write faces as JPEG files of `side` pixels."""
    pixels = load_images("faces", split="train").batch(np.arange(count))
    for number, image in enumerate(pixels):
        picture = Image.fromarray(image.transpose(1, 2, 0)).resize((side, side))
        picture.save(folder / f"{number:05}.jpg", quality=90)


def measure(options: argparse.Namespace, folder: Path, out: Path) -> tuple[float, float]:
    """Seconds that the loop waited, and seconds that it took, after the first step."""
    images, validation = (
        load_images(folder, split=split, size=(32, 32), resize=True) for split in ("train", "validation")
    )
    waited: list[float] = []
    ends: list[float] = []
    batch = ReadAhead.batch

    def timed(self: ReadAhead, step: int) -> tuple[np.ndarray, np.ndarray]:
        start = time.perf_counter()
        found = batch(self, step)
        waited.append(time.perf_counter() - start)
        return found

    def note(progress: Progress) -> None:
        if progress.event == "step":
            ends.append(time.perf_counter())

    config = GlowConfig(image_size=(32, 32), levels=3, steps=options.depth, width=options.width)
    settings = TrainSettings(
        max_steps=options.steps + 1,
        batch_size=options.batch,
        threads=options.threads,
        device="cpu",
        validate_every=None,
        sample_count=0,
        checkpoint_every=None,
        checkpoint_seconds=None,
        init_images=options.batch,
        golden_images=0,
        tensorboard=False,
    )
    with patch.object(ReadAhead, "batch", timed):
        train(
            config,
            train_images=images,
            validation_images=validation,
            out=out,
            settings=settings,
            progress=note,
        )
    return sum(waited[1:]), ends[-1] - ends[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--side", type=int, default=256, help="of the files' pictures")
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name) / "pictures"
        folder.mkdir()
        write_pictures(folder, count=options.pictures, side=options.side)
        waited, taken = measure(options, folder, Path(name) / "run")
    Console().print(
        f"{options.steps} steps of {options.batch} JPEG files of {options.side}x{options.side}: {taken:.1f} s, of "
        f"which {waited:.3f} s waiting for pictures ({100 * waited / taken:.2f} %)"
    )


if __name__ == "__main__":
    main()
