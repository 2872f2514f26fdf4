"""Exact graphs beside float32 ones: how long they and their export take, and what depth does to a round trip.

Times are CPU time of one thread, everything in turn, round after round; the best round counts. Wall-clock time says
little on a machine that others use too. Usage:
    python benchmarks/exact.py [speed] [export] [depth] [--model small|paper] [--role decoder|encoder] [--rounds N]
        [--picture FILE] [--quick]
Without a part all are measured. The picture needs the extra `report`, native bfloat16 the extra `openvino`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from glow_core import Glow, GlowConfig, save_checkpoint
from glow_deploy.data import load_images
from glow_deploy.engines.onnxruntime import open_onnx
from glow_deploy.engines.open import open_graph
from glow_deploy.errors import GlowDeployError
from glow_deploy.exact.build import build_exact
from glow_deploy.exact.decoder import build_exact_decoder
from glow_deploy.exact.encoder import build_exact_encoder
from glow_deploy.exact.interpret import ExactModel
from glow_deploy.exact.linear import linear_steps
from glow_deploy.export.products import convolve_by_torch
from glow_deploy.folding import FoldedGlow
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.decoder import build_decoder
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.graphs.serialize import serialize
from glow_deploy.images import values_to_x
from glow_deploy.protocol import Engine, Role

_MODELS = {
    "small": GlowConfig(image_size=(16, 16), levels=2, steps=8, width=64, n_bits=5, coupling="additive"),
    "paper": GlowConfig(image_size=(32, 32), levels=3, steps=32, width=512, n_bits=8, coupling="additive"),
}
_QUICK = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=16, n_bits=5, coupling="additive")
_DEPTHS = (2, 4, 8, 16, 32, 64)
_FLOOR = 1e-7  # where nothing at all is drawn on a logarithmic axis


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to run a model."""

    label: str
    backend: str
    graph: bytes


def random_glow(config: GlowConfig, *, strength: float) -> Glow:
    """A model whose every weight has moved, and whose activations have unit variance on noise."""
    torch.manual_seed(0)
    glow = Glow(config)
    with torch.no_grad():
        for parameter in glow.parameters():
            parameter.add_(strength * torch.randn_like(parameter))
    glow.initialize(torch.rand(16, config.channels, *config.image_size))
    return glow.eval()


def noise(config: GlowConfig, count: int) -> np.ndarray:
    """Images at bin centres."""
    pixels = np.random.default_rng(0).integers(0, 2**config.n_bits, (count, config.channels, *config.image_size))
    return ((pixels + 0.5) / 2.0**config.n_bits).astype(np.float32)


def float_graph(folded: FoldedGlow, role: Role, precision: str) -> bytes:
    """A graph that is not exact."""
    build = build_encoder if role == "encoder" else build_decoder
    facts = describe(folded, role=role, precision=precision, model_id="0" * 64)
    return serialize(build(folded, metadata=facts, plan=PrecisionPlan.uniform(precision, folded)))


def rows(folded: FoldedGlow, x: np.ndarray, role: Role) -> Iterator[Row]:
    """Float32 first, on both backends, then the exact graphs."""
    plain = float_graph(folded, role, "fp32")
    yield Row(label="float32", backend="auto", graph=plain)
    yield Row(label="float32", backend="openvino-cpu", graph=plain)
    build = build_exact_encoder if role == "encoder" else build_exact_decoder
    facts = describe(folded, role=role, precision="exact", model_id="0" * 64)
    levels = linear_steps(folded)
    wide = build_exact(folded, x, levels=levels, convolve=convolve_by_torch).model
    graph = serialize(build(wide, metadata=facts))
    yield Row(label="exact, float32", backend="auto", graph=graph)
    yield Row(label="exact, float32", backend="openvino-cpu", graph=graph)
    narrow = build_exact(folded, x, levels=levels, narrow="bf16", convolve=convolve_by_torch).model
    yield Row(label="exact, bf16 carried", backend="auto", graph=serialize(build(narrow, metadata=facts)))
    native = serialize(build(narrow, metadata=facts, native=True))
    yield Row(label="exact, bf16 native", backend="openvino-cpu", graph=native)


def open_row(row: Row, *, source: str) -> Engine:
    """Open a graph that was just built here, on one thread; an exact one shows its integers."""
    if row.backend == "auto":
        return open_onnx(row.graph, device="cpu", source=source, threads=1)
    return open_graph(row.graph, backend=row.backend, source=source, threads=1)


def feeds_of(engine: Engine, config: GlowConfig, batch: int) -> dict[str, np.ndarray]:
    """An image, or latents as an encoder gives them."""
    if engine.role == "encoder":
        return {"x": noise(config, batch)}
    generator = np.random.default_rng(0)
    exact = any(spec.name == "as_normal" for spec in engine.inputs)
    feeds = {
        spec.name: np.rint((1000 if exact else 1) * generator.standard_normal((batch, *spec.shape))).astype(np.float32)
        for spec in engine.inputs
    }
    if exact:
        feeds["as_normal"] = np.zeros((batch, 1, 1, 1), np.float32)
    return feeds


def best_times(engines: list[Engine], config: GlowConfig, batch: int, rounds: int) -> list[float]:
    """Seconds of CPU time of each."""
    feeds = [feeds_of(engine, config, batch) for engine in engines]
    best = [float("inf")] * len(engines)
    for _ in range(rounds + 1):
        for number, engine in enumerate(engines):
            start = time.process_time()
            engine.run(feeds[number])
            best[number] = min(best[number], time.process_time() - start)
    return best


def measure_speed(
    console: Console, name: str, config: GlowConfig, *, rounds: int, roles: tuple[Role, ...] = ("decoder", "encoder")
) -> None:
    """Print a table for a decoder and an encoder, or one of them, batch 1 and 16."""
    folded = fold(random_glow(config, strength=0.003))
    table = Table(
        title=f"{name}: L={config.levels} K={config.steps} width {config.width}, ms of CPU time of one thread"
    )
    for column in ("graph", "computes", "on", "batch 1", "ratio", "batch 16", "ratio"):
        table.add_column(column, justify="left" if column in ("graph", "computes", "on") else "right")
    for role in roles:
        opened: list[tuple[Row, Engine]] = []
        for row in rows(folded, noise(config, 8), role):
            try:
                engine = open_row(row, source=f"{row.label}, {role}")
            except GlowDeployError as error:
                console.print(f"left out: {error}")
            else:
                opened.append((row, engine))
        engines = [engine for _, engine in opened]
        times = [best_times(engines, config, batch, rounds) for batch in (1, 16)]
        for number, (row, engine) in enumerate(opened):
            cells = [(f"{1e3 * best[number]:.2f}", f"{best[number] / best[0]:.2f}") for best in times]
            on = "ONNX Runtime" if row.backend == "auto" else "OpenVINO"
            table.add_row(role, row.label, on, *cells[0], *cells[1])
            engine.close()
    console.print(table)


def measure_export(console: Console, config: GlowConfig) -> None:
    """Print how long `export --precision exact` takes, start-up included."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        save_checkpoint(random_glow(config, strength=0.003), folder / "ckpt.pt")
        words = ["export", "ckpt.pt", "--precision", "exact", "--golden", "4", "--out", "bundle"]
        start, used = time.perf_counter(), _children()
        done = subprocess.run(
            [sys.executable, "-m", "glow_cli", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stderr)
        elapsed, used = time.perf_counter() - start, _children() - used
    console.print(f"export --precision exact --golden 4: {elapsed:.1f} s, {used:.1f} s of CPU time")


def _children() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def round_trip(folded: FoldedGlow, x: np.ndarray, precision: str) -> float:
    """The largest error of a round trip in ONNX Runtime, pixel steps; infinite where a value is no number."""
    roles: tuple[Role, ...] = ("encoder", "decoder")
    encoder, decoder = (open_onnx(float_graph(folded, role, precision), device="cpu") for role in roles)
    with encoder, decoder:
        z = encoder.run({"x": x})
        del z["log_prob"]
        error = np.abs(decoder.run(z)["x"].astype(np.float64) - x) * 2**folded.n_bits
    return float(np.where(np.isfinite(error), error, np.inf).max())


def exact_round_trip(folded: FoldedGlow, x: np.ndarray) -> tuple[float, int]:
    """The largest error of the exact graphs in ONNX Runtime, pixel steps, and the images in range."""
    model = build_exact(folded, x[: len(x) // 2], convolve=convolve_by_torch).model
    engines = []
    roles: tuple[Role, ...] = ("encoder", "decoder")
    for role, build in zip(roles, (build_exact_encoder, build_exact_decoder), strict=True):
        facts = describe(folded, role=role, precision="exact", model_id="0" * 64)
        engines.append(open_onnx(serialize(build(model, metadata=facts)), device="cpu"))
    with engines[0] as encoder, engines[1] as decoder:
        found = encoder.run({"x": x})
        inside = found["in_range"] == 1
        z = {name: array for name, array in found.items() if name[:1] == "z"}
        back = decoder.run({**z, "as_normal": np.zeros((len(x), 1, 1, 1), np.float32)})["x"]
    expected = (ExactModel(model).pixels(x) + 2 ** (model.grid_bits - 1)) / 2.0**model.grid_bits
    return float(np.abs(back - expected)[inside].max() * 2**folded.n_bits), int(inside.sum())


def measure_depth(console: Console, depths: tuple[int, ...], picture: Path | None, *, strength: float) -> None:
    """Print, and draw, the round-trip error of models of growing depth."""
    from dataclasses import replace

    base = replace(_MODELS["small"], width=32)
    images = load_images("faces", split="test", limit=32)
    x = values_to_x(images.batch(np.arange(32)), base.n_bits)
    table = Table(title="Largest round-trip error of 32 faces, pixel steps; random weights, L=2, width 32")
    for column in ("K", "float32", "mixed", "exact", "in range"):
        table.add_column(column, justify="right")
    curves: dict[str, list[float]] = {"float32": [], "mixed": [], "exact": []}
    for depth in depths:
        torch.manual_seed(depth)
        glow = Glow(replace(base, steps=depth))
        with torch.no_grad():
            for parameter in glow.parameters():
                parameter.add_(strength * torch.randn_like(parameter))
        glow.initialize(torch.from_numpy(x))
        folded = fold(glow.eval())
        for precision in ("float32", "mixed"):
            named = "fp32" if precision == "float32" else precision
            curves[precision].append(round_trip(folded, x, named))
        error, inside = exact_round_trip(folded, x)
        curves["exact"].append(error)
        figures = (f"{curves[name][-1]:.2g}" for name in curves)
        table.add_row(str(depth), *figures, f"{inside}/{len(x)}")
    console.print(table)
    if picture is not None:
        draw_depth(depths, curves, picture)


def draw_depth(depths: tuple[int, ...], curves: dict[str, list[float]], path: Path) -> None:
    """Draw the errors over the number of steps, both axes logarithmic; no error at all lies on the lowest line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    for (name, values), marker, colour in zip(curves.items(), "osD", ("#c44e52", "#dd8452", "#2a6f97"), strict=True):
        axes.plot(depths, np.maximum(values, _FLOOR), marker=marker, color=colour, label=name, linewidth=1.8)
    axes.axhline(0.5, color="#777777", linewidth=1, linestyle="--")
    axes.annotate("half a pixel step: above it pixels are wrong", (depths[0], 0.7), color="#555555", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="steps of flow in each level, K", ylabel="largest error, pixel steps")
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.minorticks_off()
    axes.set_ylim(bottom=_FLOOR / 3)
    ticks = [tick for tick in axes.get_yticks() if _FLOOR < tick <= axes.get_ylim()[1]]
    axes.set_yticks([_FLOOR, *ticks], ["0", *(f"$10^{{{round(np.log10(tick))}}}$" for tick in ticks)])
    axes.set_title("encode, then decode in ONNX Runtime: additive Glows with random weights", fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="center left")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="speed, export, depth; default: all")
    parser.add_argument("--model", choices=[*_MODELS], action="append", help="of `speed`; default: both")
    parser.add_argument("--role", choices=("decoder", "encoder"), help="of `speed`; default: both")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--strength", type=float, default=0.035, help="of the random weights of `depth`")
    parser.add_argument("--picture", type=Path, help="draw `depth` to this PNG")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that it runs")
    given = parser.parse_args()
    parts = given.parts or ["speed", "export", "depth"]
    if set(parts) - {"speed", "export", "depth"}:
        parser.error(f"unknown part among {' '.join(parts)}: speed, export or depth")
    console = Console(width=120)
    if "speed" in parts:
        for name in ["quick"] if given.quick else given.model or [*_MODELS]:
            config = _QUICK if given.quick else _MODELS[name]
            roles = (given.role,) if given.role else ("decoder", "encoder")
            measure_speed(console, name, config, rounds=given.rounds, roles=roles)
    if "export" in parts:
        measure_export(console, _QUICK if given.quick else _MODELS["paper"])
    if "depth" in parts:
        depths = _DEPTHS[:3] if given.quick else _DEPTHS
        measure_depth(console, depths, given.picture, strength=given.strength)


if __name__ == "__main__":
    main()
