"""Start-up time: `glow-deploy --help` and the first sample from a tiny engine, beside the bare imports.

Every row is a process of its own; the best of several counts. Usage: python benchmarks/startup.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _paper import write_paper_checkpoint
from rich.console import Console
from rich.table import Table

from glow_deploy.export import ExportSettings, export
from glow_deploy.runtime import TELEMETRY_VARIABLE


def best(command: list[str], tries: int) -> float:
    times = []
    for _ in range(tries):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    os.environ.setdefault(TELEMETRY_VARIABLE, "1")  # as glow-deploy runs it; every row inherits it
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer tries")
    tries = 2 if parser.parse_args().quick else 9
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_paper_checkpoint(folder / "ckpt.pt", width=16, steps=2)
        export(folder / "ckpt.pt", out=folder / "bundle", settings=ExportSettings(golden=2))
        tool = [sys.executable, "-m", "glow_cli"]
        engine = ["--engine", str(folder / "bundle" / "decoder.onnx"), "-n", "1", "--out", str(folder / "one.png")]
        rows = {
            "python -c 'import typer, rich'": best([sys.executable, "-c", "import typer, rich"], tries),
            "glow-deploy --help": best([*tool, "--help"], tries),
            "glow-deploy sample -n 1 (tiny decoder)": best([*tool, "sample", *engine], tries),
            "python -c 'import onnxruntime'": best([sys.executable, "-c", "import onnxruntime"], tries),
            "python -c 'import torch'": best([sys.executable, "-c", "import torch"], tries),
        }
    base = next(iter(rows.values()))
    table = Table(title="Start-up")
    table.add_column("what")
    table.add_column("seconds", justify="right")
    table.add_column("ratio", justify="right")
    for label, seconds in rows.items():
        table.add_row(label, f"{seconds:.2f}", f"{seconds / base:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
