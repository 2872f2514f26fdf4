"""`verify --steps`: which step of flow an error comes from, on every backend that can show its steps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.arguments import as_several, as_text, as_whole, settle
from glow_deploy.artifact.bundle import DECODER, ENCODER, Bundle
from glow_deploy.artifact.flavors import BACKEND_FLAVORS, GRAPH_BACKENDS, engine_files, graph_backend
from glow_deploy.artifact.golden import Golden
from glow_deploy.engines.device import as_device
from glow_deploy.errors import EngineError, GlowDeployError, UsageError
from glow_deploy.numerics.float64 import Float64Graph
from glow_deploy.progress import StageProgress
from glow_deploy.protocol import Engine
from glow_deploy.verify.report.steps import Direction, StepsBackend, StepsReport

from .causes import find_jumps
from .compare import Model, StepComparison, StepReference, measure_noise, reference_batch
from .evidence import Evidence, condition_numbers, swapped_labels
from .faults import find_weight_faults, latent_deviations
from .noise import UNIT_ROUNDOFF
from .numbers import graph_numbers, planned_numbers
from .probes import PROBES, SIMULATED, Probe, open_probe
from .taps import Layout, read_layout
from .weights import Weights, read_weights

if TYPE_CHECKING:
    import onnx

    from glow_deploy.graphs.precision_plan import PrecisionPlan

__all__ = ["StepsSettings", "measure_graphs", "measure_steps"]


_NOISE_IMAGES = 4


@dataclass(frozen=True, kw_only=True)
class StepsSettings:
    """How to look at the steps.

    Attributes:
        images: how many, >= 1; rms errors hardly change beyond a few.
        batch: images at a time, >= 1: every step's tensor is held for so many.
        backends: names of `PROBES`; None for every one that is usable, and `simulated` for graphs with 16-bit parts
            (ONNX Runtime's CPU provider computes float16 convolutions in float32).
        device: `auto`, `cpu` (no GPU backends), `cuda` or `cuda:N`.

    Raises:
        UsageError: a number out of range, or a backend that cannot show its steps.
    """

    images: int = 16
    batch: int = 8
    backends: tuple[str, ...] | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        settle(self, as_whole, "images", "batch", least=1)
        settle(self, as_several, "backends", optional=True, check=as_text)
        settle(self, as_device, "device")
        for name in self.backends or ():
            if name not in PROBES and graph_backend(name) == "auto":
                raise UsageError(f"{name!r} cannot show its steps; choose from {', '.join(PROBES)}")


def measure_steps(
    bundle: Bundle | str | Path,
    *,
    settings: StepsSettings | None = None,
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
    plan: PrecisionPlan | None = None,
    trained: Weights | None = None,
    progress: StageProgress | None = None,
) -> StepsReport:
    """Measure the error after every step of a bundle's graphs, and name the step where it goes wrong.

    Args:
        bundle: a folder, or one that is open.
        settings: how; None means the defaults.
        x: images [N,C,H,W] float32 at bin centres; None for the golden ones.
        y: their labels [N], for class-conditional models.
        plan: the number every step should run in; None to go by the manifest's precision.
        trained: `dict(folded.named_arrays())` of the trained model, to say for certain which graph is wrong.
        progress: called as it goes on.

    Returns:
        The report. Backends that are not usable here are listed with the reason.

    Raises:
        BundleError: the bundle is damaged.
        UsageError: there are no images, or no labels for them.
        GlowDeployError: a backend asked for by name is not usable; the kind says why.
    """
    settings = settings or StepsSettings()
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    encoder, decoder = (bundle.graph(name) for name in (ENCODER, DECODER))
    golden = bundle.golden()
    if x is None:
        if golden is None:
            raise UsageError(f"{bundle.path} has no golden vectors, so there are no images to look at: give data=")
        x, y = golden.x, golden.y
    return measure_graphs(
        encoder,
        decoder,
        x=x,
        y=y,
        settings=settings,
        precision=bundle.manifest.precision,
        source=str(bundle.path),
        golden=golden,
        plan=plan,
        trained=trained,
        folder=bundle.path,
        progress=progress,
    )


def measure_graphs(
    encoder: onnx.ModelProto,
    decoder: onnx.ModelProto,
    *,
    x: np.ndarray,
    y: np.ndarray | None = None,
    settings: StepsSettings | None = None,
    precision: str = "fp32",
    source: str = "the graphs",
    golden: Golden | None = None,
    plan: PrecisionPlan | None = None,
    trained: Weights | None = None,
    probes: Sequence[Probe] = (),
    folder: Path | None = None,
    progress: StageProgress | None = None,
) -> StepsReport:
    """Do what `measure_steps` says for two graphs that are in memory.

    Args:
        encoder: linted before, or built by us.
        decoder: likewise.
        x: images [N,C,H,W] float32.
        y: labels [N].
        settings: how.
        precision: the plan's name, where `plan` is None.
        source: where the graphs come from, for messages.
        golden: float64 vectors of the trained model, to tell which graph is wrong.
        plan: the number every step should run in.
        trained: the trained model's folded arrays.
        probes: engines that show their steps, opened by the caller; with them no other backend is opened.
        folder: the bundle's, whose TensorRT sidecars say whether TF32 was allowed.
        progress: called as it goes on.
    """
    started = time.monotonic()
    settings = settings or StepsSettings()
    layout = read_layout(encoder, decoder, source=source)
    if layout.labelled and y is None:
        raise UsageError("this model is class-conditional, and these images have no labels")
    x, y = x[: settings.images], None if y is None else y[: settings.images].astype(np.int64)
    findings = find_weight_faults(encoder, decoder, layout, golden=golden, trained=trained)
    graphs: dict[Direction, onnx.ModelProto] = {"encode": encoder, "decode": decoder}
    stored = {direction: graph_numbers(graph, layout) for direction, graph in graphs.items()}
    own = Float64Graph(encoder, source="encoder.onnx")
    model = Model(
        layout=layout,
        encoder=own,
        decoder=Float64Graph(decoder, source="decoder.onnx"),
        reference=Float64Graph(findings.reference) if findings.repaired else own,
        numbers=planned_numbers(layout, precision, plan, stored["encode"]),
    )
    narrow = any(numbers.unit > UNIT_ROUNDOFF["fp32"] for numbers in stored["encode"].values())
    run = _Run(model, graphs, x, y, settings, progress)
    with ExitStack() as stack:
        opened, absent = _open(encoder, decoder, layout, settings, stack, probes=probes, folder=folder, narrow=narrow)
        comparisons = run.compare(opened)
        differences = {probe.name: _difference(probe, encoder, x[: settings.batch], y, settings) for probe in opened}
        details = {probe.name: asdict(probe.encoder.details) for probe in opened}
    evidence = Evidence(
        noise=run.noise,
        planned=model.numbers,
        stored=stored,
        kappa=condition_numbers(read_weights(encoder), layout),
        inverse_scales=run.inverse_scales,
        bounded=not any(node.name.endswith("/coupling/exp") for node in decoder.graph.node),
        faults=findings.faults,
        deviations={} if golden is None else latent_deviations(model.reference, layout, golden),
        swapped="" if golden is None else swapped_labels(model, golden),
        labelled_splits=layout.labelled and layout.independent,
    )
    used = []
    for name, comparison in comparisons.items():
        rows = comparison.rows()
        used.append(
            StepsBackend(
                backend=name,
                details=details[name],
                probe_difference=differences[name],
                rows=rows,
                jumps=find_jumps(rows, evidence),
            )
        )
    return StepsReport(
        images=len(x),
        backends=(*used, *absent),
        weights=findings.faults,
        reference=findings.source,
        seconds=time.monotonic() - started,
    )


class _Run:
    """Walks through the images once for all backends."""

    def __init__(
        self,
        model: Model,
        graphs: Mapping[Direction, onnx.ModelProto],
        x: np.ndarray,
        y: np.ndarray | None,
        settings: StepsSettings,
        progress: StageProgress | None,
    ) -> None:
        self._model = model
        self._graphs = graphs
        self._x, self._y = x, y
        self._batch = settings.batch
        self._progress = progress
        first = next(iter(self._references(limit=_NOISE_IMAGES)))
        self.noise = measure_noise(model, graphs, first, images=_NOISE_IMAGES)
        self.inverse_scales: dict[str, float] = {}

    def compare(self, probes: Sequence[Probe]) -> dict[str, StepComparison]:
        """Compare every backend with float64 on all images."""
        comparisons = {probe.name: StepComparison(self._model, self.noise) for probe in probes}
        total = -(-len(self._x) // self._batch)
        for number, reference in enumerate(self._references(), start=1):
            for step, scale in reference.inverse_scales.items():
                self.inverse_scales[step] = max(scale, self.inverse_scales.get(step, 0.0))
            for probe in probes:
                comparisons[probe.name].add(probe, reference)
            if self._progress is not None:
                self._progress("error after every step", number, total)
        return comparisons

    def _references(self, *, limit: int | None = None) -> Iterator[StepReference]:
        size = self._batch if limit is None else min(limit, self._batch)
        for first in range(0, len(self._x), size):
            rows = slice(first, first + size)
            yield reference_batch(self._model, self._x[rows], None if self._y is None else self._y[rows])


def _open(
    encoder: onnx.ModelProto,
    decoder: onnx.ModelProto,
    layout: Layout,
    settings: StepsSettings,
    stack: ExitStack,
    *,
    probes: Sequence[Probe],
    folder: Path | None,
    narrow: bool,
) -> tuple[list[Probe], list[StepsBackend]]:
    """Open what can run here; for the others, say why not. A graph with 16-bit parts is simulated besides."""
    if probes:
        return list(probes), []
    opened, absent = [], []
    for name in (*PROBES, *(name for name in settings.backends or () if name not in PROBES)):
        if name in GRAPH_BACKENDS and name not in (settings.backends or ()):
            continue  # runs only where it is named
        if name == SIMULATED and settings.backends is None and not narrow:
            continue
        if settings.backends is not None and name not in settings.backends:
            absent.append(StepsBackend(backend=name, reason="not asked for"))
            continue
        try:
            opened.append(
                open_probe(
                    name,
                    encoder,
                    decoder,
                    layout,
                    stack=stack,
                    device=settings.device,
                    batch=min(settings.batch, settings.images),
                    tf32=_tf32(folder, name),
                )
            )
        except GlowDeployError as error:
            if settings.backends is not None:
                raise
            absent.append(StepsBackend(backend=name, reason=str(error)))
    return opened, absent


def _tf32(folder: Path | None, name: str) -> bool:
    """Whether the deployed plan was compiled with TF32 allowed, so that the probe shows what it does."""
    from glow_deploy.artifact.sidecar import read_sidecar

    flavor = BACKEND_FLAVORS.get(name)
    if folder is None or flavor is None:
        return False
    sidecar = read_sidecar(folder / engine_files(flavor)[0])
    return sidecar is not None and sidecar.tf32


def _difference(
    probe: Probe, encoder: onnx.ModelProto, x: np.ndarray, y: np.ndarray | None, settings: StepsSettings
) -> float | None:
    """Largest difference that showing the steps makes to the latents; ONNX Runtime alone, whose graphs are at hand."""
    backend = probe.encoder.details.backend
    if not backend.startswith("onnxruntime-") or probe.name == SIMULATED:
        return None
    from glow_deploy.engines.onnxruntime import open_onnx

    device = "cpu" if backend == "onnxruntime-cpu" else probe.encoder.details.device
    feeds = {"x": x} if y is None else {"x": x, "y": y[: len(x)]}
    engine: Engine
    try:
        with open_onnx(encoder.SerializeToString(), device=device) as engine:
            plain = engine.run(feeds)
    except EngineError:
        return None
    shown = probe.encoder.run(feeds)
    with np.errstate(invalid="ignore"):
        return max(float(np.max(np.abs(plain[name] - shown[name]))) for name in plain if name != "log_prob")
