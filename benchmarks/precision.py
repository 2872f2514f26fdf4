"""What each precision costs a trained Glow: round trip, likelihood, size, and the share of its work in 16 bit.

Every row runs the same held-out images through the same model. fp32 is measured in ONNX Runtime; the others are
simulated (operands rounded, float32 accumulation), because a CPU computes 16-bit convolutions in float32. `auto` is
calibrated on the checkpoint's own validation images, none of which is among the held-out ones. Usage:
    python benchmarks/precision.py [CKPT DATA ...] [--limit N] [--quick]
Without a checkpoint the demo's model is trained first, on the embedded faces (3 minutes).
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from glow_core import read_checkpoint
from glow_core.training import demo_config, demo_settings, train
from glow_deploy.budget import measure_budget
from glow_deploy.data import load_images
from glow_deploy.folding import FoldedGlow
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.decoder import build_decoder
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.graphs.rounding import Rounding
from glow_deploy.graphs.serialize import serialize
from glow_deploy.images import bits_per_dim, pixels_to_x, values_to_x
from glow_deploy.numerics.measures import ErrorAccumulator, ErrorSummary, Exactness, ExactnessAccumulator
from glow_deploy.precision.auto import AutoChoice, choose_plan
from glow_deploy.precision.simulate import float32_graphs, open_simulated
from glow_deploy.protocol import Engine

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Row:
    """One precision."""

    name: str
    x: ErrorSummary
    exact: Exactness
    bits: ErrorSummary
    share: float | None
    size: int | None
    predicted: float | None


def run(engines: tuple[Engine, Engine], x: np.ndarray, expected: np.ndarray | None, *, n_bits: int) -> tuple:
    """Round trip of all images; bits/dim against those expected, or against themselves."""
    encoder, decoder = engines
    error, exact, bits = ErrorAccumulator(), ExactnessAccumulator(n_bits), ErrorAccumulator()
    densities = []
    dims = int(np.prod(x.shape[1:]))
    for first in range(0, len(x), _BATCH):
        part = x[first : first + _BATCH]
        z = encoder.run({"x": part})
        density = bits_per_dim(z.pop("log_prob"), dims=dims, n_bits=n_bits)
        densities.append(density)
        x_hat = decoder.run(z)["x"]
        error.add(x_hat, part, first=first)
        exact.add(x_hat, part, first=first)
        bits.add(density, density if expected is None else expected[first : first + _BATCH], first=first)
    return error.summary(), exact.summary(), bits.summary(), np.concatenate(densities)


def size(folded: FoldedGlow, plan: PrecisionPlan) -> int:
    """Bytes of both ONNX files."""
    total = 0
    for role, build in (("encoder", build_encoder), ("decoder", build_decoder)):
        facts = describe(folded, role=role, precision=plan.name, model_id="0" * 64)
        total += len(serialize(build(folded, metadata=facts, plan=plan)))
    return total


def measure(checkpoint: Path, data: str, *, limit: int) -> tuple[FoldedGlow, AutoChoice, list[Row]]:
    """All precisions of one model."""
    stored = read_checkpoint(checkpoint)
    folded = fold(stored.glow())
    assert stored.images is not None
    calibration = pixels_to_x(stored.images, folded.n_bits)
    channels, height, width = folded.image_shape
    images = load_images(data, split="test", size=(height, width), channels=channels, limit=limit)
    x = values_to_x(images.batch(np.arange(min(limit, len(images)))), folded.n_bits)
    graphs = float32_graphs(folded)
    budget = measure_budget(graphs["encoder"], graphs["decoder"], calibration)
    choice = choose_plan(folded, calibration, profile=budget.profile)
    plans: dict[str, PrecisionPlan | None] = {
        name: PrecisionPlan.uniform(name, folded) for name in ("fp32", "mixed", "bf16-mixed", "fp16")
    }
    plans = {"fp32": plans["fp32"], "auto": choice.plan, **plans, "tf32": None}
    rows, expected = [], None
    for name, plan in plans.items():
        rounding = Rounding.uniform(folded, conditioners="tf32", trunk="tf32") if plan is None else Rounding.of(plan)
        with ExitStack() as stack:
            encoder, decoder = (stack.enter_context(engine) for engine in open_simulated(graphs, rounding))
            error, exact, bits, densities = run((encoder, decoder), x, expected, n_bits=folded.n_bits)
        expected = densities if expected is None else expected
        predicted = budget.predicted.get(name)
        rows.append(
            Row(
                name=name,
                x=error,
                exact=exact,
                bits=bits,
                share=None if plan is None else plan.share(folded),
                size=None if plan is None else size(folded, plan),
                predicted=None if predicted is None else predicted.rms,
            )
        )
    return folded, choice, rows


def table(title: str, rows: list[Row], *, n_bits: int) -> Table:
    """Errors in pixel steps."""
    result = Table(title=title, title_justify="left")
    for column in ("precision", "max", "p99.9", "rms", "predicted / observed", "exact pixels", "exact images"):
        result.add_column(column, justify="left" if column == "precision" else "right")
    for column in ("lost, 95 %", "mean Δ bits/dim", "MiB", "in 16 bit"):
        result.add_column(column, justify="right")
    steps = 2**n_bits
    for row in rows:
        x, exact = row.x, row.exact
        result.add_row(
            row.name,
            *(f"{value * steps:.2g}" for value in (x.max, x.p999, x.rms)),
            "-" if row.predicted is None else f"{row.predicted / x.rms:.2f}",
            f"{exact.pixel_rate:.4%}",
            f"{exact.images_exact}/{exact.images}",
            f"< {exact.bound:.2%}",
            f"{row.bits.mean:+.1e}",
            "-" if row.size is None else f"{row.size / 2**20:.2f}",
            "-" if row.share is None else f"{row.share:.1%}",
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", metavar="CKPT DATA", help="checkpoints, each with its data set")
    parser.add_argument("--limit", type=int, default=2000, help="held-out images at most")
    parser.add_argument(
        "--quick", action="store_true", help="64 images, and few steps of training, to see that it runs"
    )
    given = parser.parse_args()
    if len(given.pairs) % 2:
        parser.error("give a data set after every checkpoint")
    with TemporaryDirectory() as folder:
        pairs = given.pairs or [train_demo(Path(folder), quick=given.quick), "faces"]
        show(pairs, limit=64 if given.quick else given.limit)


def train_demo(folder: Path, *, quick: bool) -> str:
    """Train the demo's model."""
    train(
        demo_config(quick=quick),
        train_images=load_images("faces", split="train"),
        validation_images=load_images("faces", split="validation"),
        out=folder / "run",
        settings=demo_settings(quick=quick),
    )
    return str(folder / "run" / "ckpt.pt")


def show(pairs: list[str], *, limit: int) -> None:
    """Measure and print every model."""
    console = Console()
    for checkpoint, data in zip(pairs[::2], pairs[1::2], strict=True):
        folded, choice, rows = measure(Path(checkpoint), data, limit=limit)
        shape = "x".join(map(str, folded.image_shape[1:]))
        title = f"{data} {shape}, {folded.n_bits} bits, {rows[0].exact.images} held-out images; errors in pixel steps"
        console.print(table(title, rows, n_bits=folded.n_bits))
        kept = sum(step.number == "fp32" for step in choice.steps)
        console.print(
            f"auto: {len(choice.steps) - kept} of {len(choice.steps)} conditioners in float16, chosen on {choice.n} "
            f"images in {choice.simulations} simulations; 99th percentile of their errors {choice.tail:.2g}, worst "
            f"{choice.worst:.2g} pixel steps\n"
        )


if __name__ == "__main__":
    main()
