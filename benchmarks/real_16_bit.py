"""Graphs with 16-bit parts: errors as simulated and as predicted, and as OpenVINO really makes them on this CPU.

The simulation rounds operands to the nearest 16-bit number. What a runtime does may differ; every row says in which
formats its convolutions ran, as the runtime itself tells. Crossed: encoded by the simulation, decoded by the runtime.
`openvino as typed` is OpenVINO told to take every tensor in the number that the graph gives it, float16 too, which CPUs
with AVX-512 FP16 then compute in; `openvino-cpu` does not. The last rows are the float32 graphs at OpenVINO's float32
and at its default, to show what that default costs. Usage:
    python benchmarks/real_16_bit.py [CKPT DATA] [--limit N] [--quick]
Without a checkpoint the demo's model is trained first, on the embedded faces (3 minutes).
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from precision import run, train_demo
from rich.console import Console
from rich.table import Table

from glow_deploy import open_engine
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.lint import read_model
from glow_deploy.budget import measure_budget
from glow_deploy.data import load_images
from glow_deploy.export import ExportSettings, export
from glow_deploy.images import values_to_x
from glow_deploy.precision.simulate import open_simulated
from glow_deploy.protocol import Engine

Pair = tuple[Engine, Engine]
TYPED = "openvino as typed"


class Typed:
    """A graph compiled for batches of 4, every tensor in its own number."""

    def __init__(self, path: Path) -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        model.reshape({port.any_name: [4, *list(port.partial_shape)[1:]] for port in model.inputs})
        settings = {"EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_PRECISION_HINT": "dynamic"}
        compiled = core.compile_model(model, "CPU", settings)
        self._request = compiled.create_infer_request()
        facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
        formats = Counter(
            str(fact["runtimePrecision"].astype(str))
            for fact in facts
            if "layerType" in fact and str(fact["layerType"].astype(str)) == "Convolution"
        )
        self.told = "convolutions " + ", ".join(f"{count} in {name}" for name, count in sorted(formats.items()))

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Like an engine's, for multiples of 4 rows."""
        rows = len(next(iter(feeds.values())))
        assert rows % 4 == 0
        parts = [
            self._request.infer({name: array[first : first + 4] for name, array in feeds.items()}).to_dict()
            for first in range(0, rows, 4)
        ]
        return {port.any_name: np.concatenate([part[port] for part in parts]) for port in parts[0]}


def simulated(bundle: Bundle) -> Pair:
    pair = open_simulated({role: read_model(bundle.file(f"{role}.onnx")) for role in ("encoder", "decoder")})
    return pair[0], pair[1]


def real(bundle: Bundle, backend: str) -> Pair:
    encoder, decoder = (open_engine(bundle.file(f"{role}.onnx"), backend=backend) for role in ("encoder", "decoder"))
    return encoder, decoder


def on_ort(bundle: Bundle) -> Pair:
    encoder, decoder = (open_engine(bundle.file(f"{role}.onnx"), device="cpu") for role in ("encoder", "decoder"))
    return encoder, decoder


def add(table: Table, cells: tuple[str, str, str], pair: Pair, x: np.ndarray, *, n_bits: int, predicted: str) -> None:
    error, exact, _, _ = run(pair, x, None, n_bits=n_bits)
    figures = (f"{value * 2**n_bits:.2g}" for value in (error.rms, error.p999, error.max))
    table.add_row(*cells, predicted, *figures, f"{exact.images_exact}/{exact.images}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", nargs="*", metavar="CKPT DATA", help="a checkpoint and its data set")
    parser.add_argument("--limit", type=int, default=300, help="held-out images at most")
    parser.add_argument("--quick", action="store_true", help="16 images, and few steps of training")
    given = parser.parse_args()
    if len(given.pair) not in (0, 2):
        parser.error("give a checkpoint and its data set, or neither")
    table = Table(title="x -> z -> x in pixel steps", title_justify="left")
    for column in ("graphs", "encode -> decode", "convolutions of the decoder"):
        table.add_column(column)
    for column in ("predicted rms", "rms", "p99.9", "max", "exact images"):
        table.add_column(column, justify="right")
    with TemporaryDirectory() as name:
        folder = Path(name)
        ckpt, data = given.pair or (train_demo(folder, quick=given.quick), "faces")
        bundles = {
            precision: export(ckpt, out=folder / precision, settings=ExportSettings(precision=precision))
            for precision in ("bf16-mixed", "mixed", "fp32")
        }
        plain = bundles["fp32"]
        channels, height, width = plain.manifest.image_shape
        limit = 16 if given.quick else given.limit
        images = load_images(data, split="test", size=(height, width), channels=channels, limit=limit)
        n_bits = plain.manifest.n_bits
        x = values_to_x(images.batch(np.arange(len(images))), n_bits)
        golden = plain.golden()
        graphs = [read_model(plain.file(f"{role}.onnx")) for role in ("encoder", "decoder")]
        assert golden is not None
        budget = measure_budget(graphs[0], graphs[1], golden.x, golden.y)
        for precision in ("bf16-mixed", "mixed"):
            expected = f"{budget.predicted[precision].rms * 2**n_bits:.2g}"
            pairs = {
                "simulated": simulated(bundles[precision]),
                "openvino-cpu": real(bundles[precision], "openvino-cpu"),
            }
            if precision == "mixed":
                pairs[TYPED] = tuple(Typed(bundles[precision].file(f"{role}.onnx")) for role in ("encoder", "decoder"))
            reals = [name for name in pairs if name != "simulated"]
            crossings = [*zip(pairs, pairs, strict=True), *(("simulated", name) for name in reals)]
            for first, second in crossings:
                decoder = pairs[second][1]
                told = "as the graphs say"
                if second != "simulated":
                    told = decoder.told if second == TYPED else decoder.details.provider.partition(", ")[2]
                cells = (precision, f"{first} -> {second}", told)
                add(
                    table,
                    cells,
                    (pairs[first][0], decoder),
                    x,
                    n_bits=n_bits,
                    predicted=expected if first == second else "",
                )
        expected = f"{budget.predicted['fp32'].rms * 2**n_bits:.2g}"
        for backend in ("openvino-cpu", "openvino-cpu-default"):
            pair = real(plain, backend)
            encoder = on_ort(plain)[0]
            told = pair[1].details.provider.partition(", ")[2]
            add(table, ("fp32", f"{backend} -> {backend}", told), pair, x, n_bits=n_bits, predicted=expected)
            cells = ("fp32", f"onnxruntime-cpu -> {backend}", told)
            add(table, cells, (encoder, pair[1]), x, n_bits=n_bits, predicted="")
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
