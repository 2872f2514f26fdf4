"""Options that more than one command has, spelt once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Backends",
    "Batch",
    "Checkpoint",
    "Data",
    "Device",
    "Engine",
    "Force",
    "Json",
    "Quiet",
    "Resize",
    "Seed",
    "Temperature",
    "TrustEngine",
]

Backends = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="pytorch-fp64, pytorch-fp32, onnxruntime-cpu, onnxruntime-cuda, tensorrt, tensorrt-rtx or simulated; "
        "may be repeated. Without it, every one usable here.",
    ),
]
Checkpoint = Annotated[
    Path | None, typer.Option("--ckpt", metavar="CKPT", help="The checkpoint the bundle was exported from.")
]
Batch = Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Images run at once; changes no result.")]
Device = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda[:N]", help="Where to run; never a silent fall-back.")
]
Engine = Annotated[
    Path,
    typer.Option("--engine", metavar="FILE", help="An ONNX file or a TensorRT plan, recognised by its content."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there already.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Also write the result as JSON; - for stdout alone.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only, and no progress.")]
Resize = Annotated[
    bool, typer.Option("--resize", help="Fit pictures of another size or mode instead of refusing them.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Sample i depends on (seed, i) alone.")]
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature", "-t", metavar="X", min=0.0, max=100.0, help="Scales every latent; 1 is the model itself."
    ),
]
TrustEngine = Annotated[
    bool,
    typer.Option(
        "--trust-engine", help="Run a plan without a sidecar or with another sha256. A plan is executable code."
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SPEC",
        help="Images: a folder, an .npz, an IDX folder, [b]faces[/b], or [b]hf:OWNER/NAME[/b].",
    ),
]
