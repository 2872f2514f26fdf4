"""Export time of the paper's CIFAR-10 model, beside torch.onnx on the same folded decoder.

Every row is a process of its own, start-up included. Usage: python benchmarks/export_time.py [--quick]
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

_TORCH_ONNX = """
import sys, torch
sys.path.insert(0, {here!r})
from _paper import FoldedDecoder
from glow_core import load_checkpoint
from glow_deploy.folding.fold import fold
glow = load_checkpoint({checkpoint!r})
decoder = FoldedDecoder(fold(glow)).eval()
z = tuple(torch.randn(2, *shape) for shape in glow.config.latent_shapes)
names = ["z1", "z2", "z3"]
if {dynamo}:
    batch = torch.export.Dim("batch", min=1, max=1024)
    kind = dict(dynamo=True, dynamic_shapes=[{{0: batch}}] * 3)
else:
    kind = dict(dynamo=False, dynamic_axes={{name: {{0: "batch"}} for name in [*names, "x"]}})
torch.onnx.export(decoder, z, {out!r}, input_names=names, output_names=["x"], verbose=False, **kind)
"""


def timed(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)[:200]}\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a model of 2 steps and width 32, to see that it runs")
    quick = parser.parse_args().quick
    here = str(Path(__file__).parent)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = folder / "ckpt.pt"
        write_paper_checkpoint(checkpoint, **({"width": 32, "steps": 2} if quick else {}))
        ours = [sys.executable, "-m", "glow_cli", "export", str(checkpoint), "--golden", "4"]
        rows = {
            "glow-deploy export --golden 4 (encoder, decoder, self-check, golden vectors)": timed(
                [*ours, "--out", str(folder / "bundle")]
            )
        }
        for exporter, dynamo in (
            ("dynamo", True),
            ("TorchScript", False),
        ):
            code = _TORCH_ONNX.format(
                here=here, checkpoint=str(checkpoint), dynamo=dynamo, out=str(folder / f"torch-{dynamo}.onnx")
            )
            rows[f"torch.onnx, {exporter} (decoder alone)"] = timed([sys.executable, "-c", code])
        sizes = sum(path.stat().st_size for path in (folder / "bundle").glob("*.onnx")) / 2**20
    base = next(iter(rows.values()))
    table = Table(
        title=f"Export of L=3, K=32, width 512 ({sizes:.0f} MiB of graphs)" if not quick else "Export, tiny model"
    )
    table.add_column("what")
    table.add_column("seconds", justify="right")
    table.add_column("ratio", justify="right")
    for label, seconds in rows.items():
        table.add_row(label, f"{seconds:.1f}", f"{seconds / base:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
