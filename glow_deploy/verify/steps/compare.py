"""Error after every step, and how much of it is the step's own, against float64, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.numerics.float64 import Float64Graph
from glow_deploy.protocol import Engine
from glow_deploy.verify.report.steps import Direction, StepRow

from .noise import StageNoise, read_convs, stage_noise
from .numbers import StepNumbers
from .probes import Probe
from .taps import Layout, Stage, StageMap, decode_targets, run_stage

if TYPE_CHECKING:
    import onnx

__all__ = ["Model", "StepComparison", "StepReference", "measure_noise", "reference_batch"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """Both graphs of a bundle, ready for float64.

    Attributes:
        layout: where the steps lie.
        encoder: as deployed.
        decoder: as deployed.
        reference: the encoder that float64's tensors come from: the deployed one, or a repaired copy of it.
        numbers: what every step should run in.
    """

    layout: Layout
    encoder: Float64Graph
    decoder: Float64Graph
    reference: Float64Graph
    numbers: Mapping[str, StepNumbers]

    def graph(self, direction: Direction) -> Float64Graph:
        """The deployed graph of a direction."""
        return self.encoder if direction == "encode" else self.decoder

    def stages(self, direction: Direction) -> tuple[Stage, ...]:
        """The stages of a direction, in the order of computation."""
        return self.layout.encode if direction == "encode" else self.layout.decode


@dataclass(frozen=True, kw_only=True, eq=False)
class StepReference:
    """The float64 tensors of a batch of images, and what the graphs are fed.

    Attributes:
        feeds: of each direction: images or float32 copies of the float64 latents, and labels.
        tensors: of each direction, by step.
        alone: of each direction, by step: the deployed graph's step started from the float64 tensor before it.
        inverse_scales: by step: the largest factor that the decoder's affine coupling multiplies by.
    """

    feeds: Mapping[Direction, Mapping[str, np.ndarray]]
    tensors: Mapping[Direction, StageMap]
    alone: Mapping[Direction, StageMap]
    inverse_scales: Mapping[str, float]

    def source(self, direction: Direction, stage: Stage) -> np.ndarray:
        """What a stage starts from."""
        return self.tensors[direction][stage.source_step] if stage.source_step else self.feeds[direction][stage.source]


def reference_batch(model: Model, x: np.ndarray, y: np.ndarray | None) -> StepReference:
    """Compute the float64 tensors of a batch of images [N,C,H,W] float32."""
    layout = model.layout
    labels = {} if y is None or not layout.labelled else {"y": y}
    encode_feeds = {"x": x, **labels}
    outputs = model.reference.run(encode_feeds, outputs=[stage.output for stage in layout.encode])
    encoded = {stage.step: outputs[stage.output] for stage in layout.encode}
    with np.errstate(over="ignore"):
        latents = {name: outputs[name].astype(np.float32) for name in layout.latents}
    feeds: dict[Direction, Mapping[str, np.ndarray]] = {"encode": encode_feeds, "decode": {**latents, **labels}}
    decoded = decode_targets(layout, encoded, x.astype(np.float64))
    tensors: dict[Direction, StageMap] = {"encode": encoded, "decode": decoded}
    plain = StepReference(feeds=feeds, tensors=tensors, alone={}, inverse_scales={})
    alone: dict[Direction, StageMap] = {"encode": {}, "decode": {}}
    scales: dict[str, float] = {}
    for direction in tensors:
        if direction == "encode" and model.reference is model.encoder:
            alone[direction] = encoded
            continue
        graph = model.graph(direction)
        present = set(graph.tensor_names)
        for stage in model.stages(direction):
            scale = f"{stage.step}/coupling/inverse_scale:0"
            wanted = [scale] if scale in present else []
            found = run_stage(graph, stage, plain.source(direction, stage), feeds[direction], outputs=wanted)
            alone[direction][stage.step] = found[stage.output]
            if wanted:
                scales[stage.step] = float(np.max(found[scale]))
    return StepReference(feeds=feeds, tensors=tensors, alone=alone, inverse_scales=scales)


def measure_noise(
    model: Model, graphs: Mapping[Direction, onnx.ModelProto], reference: StepReference, *, images: int
) -> dict[tuple[Direction, str], StageNoise]:
    """Measure every stage's response to its own rounding on the first `images` images of a batch."""
    result = {}
    for direction, proto in graphs.items():
        convs, graph = read_convs(proto), model.graph(direction)
        feeds = {name: array[:images] for name, array in reference.feeds[direction].items()}
        for stage in model.stages(direction):
            source = reference.source(direction, stage)[:images]
            result[direction, stage.step] = stage_noise(graph, convs, stage, source, feeds)
    return result


class StepComparison:
    """Compares one backend with float64; give it batch after batch, then ask for the rows.

    Args:
        model: both graphs.
        noise: every stage's response to its own rounding.
    """

    def __init__(self, model: Model, noise: Mapping[tuple[Direction, str], StageNoise]) -> None:
        self._model = model
        self._noise = noise
        self._sums = {key: _Sums() for key in noise}

    def add(self, probe: Probe, reference: StepReference) -> None:
        """Run a batch and add its errors."""
        directions: tuple[tuple[Direction, Engine], ...] = (("encode", probe.encoder), ("decode", probe.decoder))
        for direction, engine in directions:
            feeds = reference.feeds[direction]
            outputs = engine.run(feeds)
            stages = self._model.stages(direction)
            given = {stage.step: outputs[stage.output] for stage in stages}
            for stage in stages:
                self._add_stage(direction, stage, given, feeds, reference)

    def _add_stage(
        self,
        direction: Direction,
        stage: Stage,
        given: StageMap,
        feeds: Mapping[str, np.ndarray],
        reference: StepReference,
    ) -> None:
        wanted, alone = reference.tensors[direction][stage.step], reference.alone[direction][stage.step]
        before = reference.source(direction, stage)
        source = given[stage.source_step] if stage.source_step else feeds[stage.source]
        mine = given[stage.step].astype(np.float64)
        own = run_stage(self._model.graph(direction), stage, source, feeds)[stage.output]
        with np.errstate(all="ignore"):
            self._sums[direction, stage.step].add(
                wanted=wanted,
                observed=mine - wanted,
                local=mine - own,
                carried=own - alone,
                undo=alone - wanted,
                before=source.astype(np.float64) - before,
                mine=mine,
            )

    def rows(self) -> tuple[StepRow, ...]:
        """The figures so far, encoding first, in the order of computation."""
        directions: tuple[Direction, ...] = ("encode", "decode")
        return tuple(self._row(direction, stage) for direction in directions for stage in self._model.stages(direction))

    def _row(self, direction: Direction, stage: Stage) -> StepRow:
        sums = self._sums[direction, stage.step]
        noise = self._noise[direction, stage.step]
        expected = noise.expected(**self._model.numbers[stage.step].units)
        before, carried = sums.rms("before"), sums.rms("carried")
        return StepRow(
            step=stage.step,
            direction=direction,
            rms=sums.rms("wanted"),
            observed_rms=sums.rms("observed"),
            observed_max=sums.largest,
            predicted_rms=math.hypot(carried, expected),
            non_finite=sums.non_finite,
            local_rms=sums.rms("local"),
            local_predicted=expected,
            gain=carried / before if before > 0.0 else None,
            undo_rms=sums.rms("undo"),
            reference_non_finite=sums.reference_non_finite,
        )


@dataclass
class _Sums:
    """Squares added up over batches, of finite values alone."""

    squares: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    largest: float = math.nan
    non_finite: int = 0
    reference_non_finite: int = 0

    def add(self, *, mine: np.ndarray, **parts: np.ndarray) -> None:
        due = np.isfinite(parts["wanted"])
        self.non_finite += int(np.count_nonzero(~np.isfinite(mine) & due))
        self.reference_non_finite += int(due.size - np.count_nonzero(due))
        for name, values in parts.items():
            finite = np.isfinite(values)
            kept = values if finite.all() else values[finite]
            with np.errstate(over="ignore"):
                self.squares[name] = self.squares.get(name, 0.0) + float(np.square(kept).sum())
            self.counts[name] = self.counts.get(name, 0) + kept.size
            if name == "observed" and kept.size:
                self.largest = float(np.fmax(self.largest, np.abs(kept).max()))

    def rms(self, name: str) -> float:
        """Root mean square; NaN where no finite value was seen."""
        count = self.counts.get(name, 0)
        return math.sqrt(self.squares[name] / count) if count else math.nan
