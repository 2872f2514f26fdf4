"""Rows per second of one core in `glow-deploy bulk`, where the time goes, and what 10^8 images would take.

python benchmarks/bulk.py demo-out/bundle

CPU seconds of this process, one thread: other work on the machine lengthens the clock's seconds, and these less. The
images are the embedded faces, as a Parquet file; a model of another size wants a data set of its own: `--data`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from rich.console import Console
from rich.table import Table

from glow_deploy.artifact.identity import engine_facts
from glow_deploy.bulk import BulkSettings, Where, run_bulk
from glow_deploy.bulk.shards import write_shard
from glow_deploy.bulk.sources import find_sources, survey
from glow_deploy.data import load_images
from glow_deploy.engines.open import open_engine
from glow_deploy.images import png_bytes, read_picture
from glow_deploy.latents.noise import dequantisation

ONE = Where(device="cpu", threads=1)
IMAGES = 10**8


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", default="faces", help="images, as other commands take them")
    parser.add_argument("--rows", type=int, default=4096, help="of each run")
    chosen = parser.parse_args()
    facts = engine_facts(chosen.bundle / "encoder.onnx")
    found = load_images(chosen.data, split="train", size=facts.image_size, channels=facts.channels, limit=chosen.rows)
    values = found.batch(np.arange(len(found)))
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        encoded = [png_bytes(picture) for picture in values]
        table = pyarrow.table({"image": [{"bytes": data, "path": None} for data in encoded]})
        pyarrow.parquet.write_table(table, place / "in.parquet", row_group_size=512)
        rates = run_actions(chosen.bundle, place, len(values))
        parts = measure_parts(chosen.bundle, place, values, encoded)
    show(console, "whole runs", rates)
    show(console, "parts, per row", {name: (seconds, 0) for name, seconds in parts.items()})
    plan(console, rates, parts)


def run_actions(bundle: Path, place: Path, rows: int) -> dict[str, tuple[float, int]]:
    """CPU seconds and bytes written a row, of each action as it is run."""
    settings = {
        "encode, 0 draws": ("encode", BulkSettings(draws=0)),
        "encode, 1 draw": ("encode", BulkSettings(draws=1)),
        "encode, 8 draws": ("encode", BulkSettings(draws=8)),
        "score, 1 draw": ("score", BulkSettings(draws=1)),
        "score, 8 draws": ("score", BulkSettings(draws=8)),
        "sample": ("sample", BulkSettings(count=rows)),
    }
    found = {}
    for name, (action, chosen) in settings.items():
        given = [] if action == "sample" else [place / "in.parquet"]
        done = []
        for attempt in range(3):
            out = place / f"{name}-{attempt}"
            done.append(cpu(lambda: run_bulk(action, bundle, given, out=out, settings=chosen, where=ONE)))  # noqa: B023
        size = sum(path.stat().st_size for path in out.iterdir())
        found[name] = (min(done) / rows, size // rows)
    return found


def measure_parts(bundle: Path, place: Path, values: np.ndarray, encoded: list[bytes]) -> dict[str, float]:
    """CPU seconds a row of what an action is made of."""
    count = len(values)
    size, channels = values.shape[2:], values.shape[1]
    (source,) = find_sources([place / "in.parquet"])
    numbers = np.arange(count)
    with open_engine(bundle / "encoder.onnx", device="cpu", threads=1) as encoder:
        x = np.random.default_rng(0).random((64, *values.shape[1:]), dtype=np.float32)
        feeds = {"x": x} if encoder.num_classes is None else {"x": x, "y": np.zeros(64, np.int64)}
        encoder.run(feeds)
        parts = {
            "looking at the input": cpu(lambda: survey(source)) / count,
            "decoding the picture": cpu(lambda: [read_picture(data, size=size, channels=channels) for data in encoded])
            / count,
            "one run of the encoder": cpu(lambda: [encoder.run(feeds) for _ in range(count // 64)])
            / (count // 64 * 64),
            "one draw of noise": cpu(lambda: dequantisation(0, numbers, values.shape[1:])) / count,
        }
        z = {name: array for name, array in encoder.run(feeds).items() if name[0] == "z"}
    columns = {name: np.concatenate([array] * (count // 64)) for name, array in z.items()}
    columns["number"] = np.arange(count // 64 * 64)
    parts["writing latents"] = cpu(lambda: write_shard(place / "w.parquet", columns, kind="parquet")) / len(
        columns["number"]
    )
    return parts


def show(console: Console, title: str, rows: dict[str, tuple[float, int]]) -> None:
    """Print seconds a row as rates."""
    table = Table(title=title)
    for name in ("", "ms a row", "rows a second and core", "bytes a row"):
        table.add_column(name, justify="left" if not name else "right")
    for name, (seconds, size) in rows.items():
        table.add_row(name, f"{seconds * 1000:.3f}", f"{1 / seconds:,.0f}", f"{size:,}" if size else "")
    console.print(table)


def plan(console: Console, rates: dict[str, tuple[float, int]], parts: dict[str, float]) -> None:
    """Print what 10^8 images would take: a calculation."""
    table = Table(title=f"{IMAGES:,} images: calculated, not run")
    for name in ("", "core hours", "hours on 64 cores", "TB written", "MB/s written by 64 cores"):
        table.add_column(name, justify="left" if not name else "right")
    for name, (seconds, size) in rates.items():
        hours = seconds * IMAGES / 3600
        table.add_row(
            name,
            f"{hours:,.1f}",
            f"{hours / 64:.2f}",
            f"{size * IMAGES / 1e12:.2f}",
            f"{64 * size / seconds / 1e6:,.0f}",
        )
    console.print(table)
    console.print(f"looking at the inputs: {parts['looking at the input'] * IMAGES / 3600:.2f} core hours of these")


if __name__ == "__main__":
    main()
