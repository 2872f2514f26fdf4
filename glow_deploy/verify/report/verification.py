"""What a verification found: plain values, ready for a table or a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from glow_deploy.numerics.gates import GateResult, VerdictName
from glow_deploy.numerics.yardstick import Yardstick

from .rows import BatchReport, CellReport, RandomReport, ReferenceReport, gate_dict

if TYPE_CHECKING:
    from glow_deploy.budget.report import BudgetReport
    from glow_deploy.canary.integer_verdict import IntegerResult
    from glow_deploy.canary.report import CanaryResult, CanaryUnavailable

    from .baseline import BaselineReport
    from .exact import ExactReport
    from .steps import StepsReport
    from .stress import StressReport
    from .weights import WeightsReport

__all__ = [
    "GOLDEN_SET",
    "SCHEMA_VERSION",
    "BackendReport",
    "BatchReport",
    "CellReport",
    "Failure",
    "ImageSetReport",
    "RandomReport",
    "ReferenceReport",
    "Verdict",
    "Verdicts",
    "VerifyReport",
]

SCHEMA_VERSION = 1
GOLDEN_SET = "golden"

Verdict = Literal["sound", "unsound", "reported", "not compared"]


@dataclass(frozen=True, kw_only=True)
class BackendReport:
    """One backend: what really ran, or why it did not.

    Attributes:
        name: `onnxruntime-cpu`, ...
        reason: why it is absent; empty where it was used.
        encoder: facts of the encoder's engine: provider, device, precision, tf32, versions, max_batch; None if absent.
        decoder: the same of the decoder's.
        canary: the arithmetic that a float32 convolution really got, measured; None for the float64 reference.
        integers: of exact bundles: what becomes of integers there; None where that was not asked.
    """

    name: str
    reason: str = ""
    encoder: Mapping[str, Any] | None = None
    decoder: Mapping[str, Any] | None = None
    canary: CanaryResult | CanaryUnavailable | None = None
    integers: IntegerResult | CanaryUnavailable | None = None

    @property
    def used(self) -> bool:
        """True where it took part in the matrix."""
        return self.encoder is not None and self.decoder is not None

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        if self.encoder is None or self.decoder is None:
            return {"name": self.name, "used": False, "reason": self.reason}
        return {
            "name": self.name,
            "used": True,
            "encoder": dict(self.encoder),
            "decoder": dict(self.decoder),
            "canary": None if self.canary is None else self.canary.to_dict(),
            **({} if self.integers is None else {"integers": self.integers.to_dict()}),
        }


@dataclass(frozen=True, kw_only=True)
class ImageSetReport:
    """The images that cells were measured on.

    Attributes:
        name: `golden`, `data` or `checkpoint`.
        source: where they come from, in words.
        n: images.
        yardstick: what errors of float32 arithmetic on them are measured in.
        paired: the yardstick was measured on these very images.
        own: what errors of graphs in a narrower precision are measured in: those found at export; None for float32
            graphs.
        on_cpu: the same for ONNX Runtime on the CPU, which computes such graphs in float32.
        tolerance: largest error of x -> z -> x that the graphs were made for, in pixel steps.
        beyond: share of images that may be beyond it, where these are not those that the graphs were made for.
        reference: a float64 reference of the latents and log_prob of these images was there.
    """

    name: str
    source: str
    n: int
    yardstick: Yardstick
    paired: bool
    reference: bool
    own: Yardstick | None = None
    on_cpu: Yardstick | None = None
    tolerance: float | None = None
    beyond: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "name": self.name,
            "source": self.source,
            "n": self.n,
            "paired": self.paired,
            "reference": self.reference,
            "yardstick": self.yardstick.to_dict(),
            "precision_yardstick": None if self.own is None else self.own.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One reason why the model is not sound.

    Attributes:
        verdict: which of the verdicts it belongs to.
        where: the cell or engine, e.g. `encode onnxruntime-cpu -> decode tensorrt, 64 golden images`.
        images: name of the image set, empty where it is not about one.
        level: the level of the model that it points to, None where it cannot be told.
        gate: the limit that was missed (the first of its kind).
        cause: probable cause, in words.
    """

    verdict: VerdictName
    where: str
    images: str
    level: int | None
    gate: GateResult
    cause: str

    def __str__(self) -> str:
        level = f", level {self.level}" if self.level is not None else ""
        gate = self.gate
        if gate.statistic == "non-finite":
            figure = f"{gate.quantity} has {gate.value:g} non-finite values"
        elif gate.statistic == "count":
            figure = f"{gate.value:g} {gate.quantity}"
        elif gate.statistic == "rate":
            figure = f"{gate.quantity}: {gate.value:.4%} where {gate.limit:.0%} is due"
        else:
            figure = f"{gate.statistic} error of {gate.quantity} is {gate.value:.2e}, limit {gate.limit:.2e}"
        return f"{self.where}{level}: {figure} ({self.cause})"

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "verdict": self.verdict,
            "where": self.where,
            "images": self.images,
            "level": self.level,
            "gate": gate_dict(self.gate),
            "cause": self.cause,
            "text": str(self),
        }


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """Four questions, never inferred from one another.

    Attributes:
        round_trip: do images come back, and do latents mean the same to every backend?
        likelihood: are the densities those of the trained model?
        samples: do the same latents give the same picture?
        weights: do the graphs hold the weights that were exported, in graphs as this version builds them? Images reach
            few of them.
    """

    round_trip: Verdict
    likelihood: Verdict
    samples: Verdict
    weights: Verdict

    def to_dict(self) -> dict[str, str]:
        """For the JSON report."""
        return {
            "round_trip": self.round_trip,
            "likelihood": self.likelihood,
            "samples": self.samples,
            "weights": self.weights,
        }


@dataclass(frozen=True, kw_only=True, repr=False)
class VerifyReport:
    """Everything one run of `verify` found.

    Attributes:
        bundle: path, name, precision, model config, sha256 of the files.
        n_bits: of the model.
        command: a command line that repeats the run.
        environment: Python, platform, package versions.
        backends: used and absent ones, in a fixed order.
        image_sets: what the cells were measured on.
        references: per image set with a reference, per backend.
        cells: the matrix, per image set.
        batches: self-consistency per backend and role.
        weights: what the graphs hold, compared without running them.
        random: z drawn at random.
        failures: empty for a sound model.
        verdicts: the outcome.
        notes: what a reader has to know, e.g. why exactness was not gated.
        suggestions: what would make the model easier to deploy, where something would.
        date: when the run began, UTC, ISO 8601.
        seconds: duration of the run.
        steps: error after every step of flow, where it was asked for.
        budget: the error budget, likewise.
        stress: the stress test, likewise.
        exact: exact graphs compared for equality; None for all others.
        outputs: golden images that outputs of another program were judged on; None where there were no outputs.
        baseline: the comparison with an earlier run, likewise. A verdict of its own: it does not change `sound`.
    """

    bundle: Mapping[str, Any]
    n_bits: int
    command: str
    environment: Mapping[str, Any]
    backends: tuple[BackendReport, ...]
    image_sets: tuple[ImageSetReport, ...]
    references: tuple[ReferenceReport, ...]
    cells: tuple[CellReport, ...]
    batches: tuple[BatchReport, ...]
    weights: WeightsReport
    random: tuple[RandomReport, ...]
    failures: tuple[Failure, ...]
    verdicts: Verdicts
    notes: tuple[str, ...]
    suggestions: tuple[str, ...]
    date: str
    seconds: float
    steps: StepsReport | None = None
    budget: BudgetReport | None = None
    stress: StressReport | None = None
    exact: ExactReport | None = None
    outputs: int | None = None
    baseline: BaselineReport | None = None

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.verdicts.to_dict().items())
        first = f"; {len(self.failures)} failures, the first: {self.failures[0]}" if self.failures else ""
        return f"VerifyReport({'sound' if self.sound else 'UNSOUND'}: {verdicts}{first[:300]})"

    def _repr_html_(self) -> str:
        from .notebook import notebook_html

        return notebook_html(
            sound=self.sound,
            verdicts=self.verdicts.to_dict(),
            failures=[str(failure) for failure in self.failures],
            cells=self.cells,
            n_bits=self.n_bits,
        )

    @property
    def sound(self) -> bool:
        """True when nothing failed and something was examined."""
        return not self.failures and bool(self.cells)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what does not exist is null, never NaN."""
        bits = self.n_bits
        parts = {
            "steps": self.steps,
            "budget": self.budget,
            "stress": self.stress,
            "exact": self.exact,
            "baseline": self.baseline,
        }
        return {
            "schema": "glow_deploy.verify",
            "schema_version": SCHEMA_VERSION,
            "sound": self.sound,
            "verdicts": self.verdicts.to_dict(),
            **({} if self.outputs is None else {"outputs": {"images": self.outputs, "golden": self.image_sets[0].n}}),
            "failures": [failure.to_dict() for failure in self.failures],
            "notes": list(self.notes),
            "suggestions": list(self.suggestions),
            "bundle": dict(self.bundle),
            "n_bits": bits,
            "backends": [backend.to_dict() for backend in self.backends],
            "image_sets": [images.to_dict() for images in self.image_sets],
            "references": [reference.to_dict(n_bits=bits) for reference in self.references],
            "cells": [cell.to_dict(n_bits=bits) for cell in self.cells],
            "batches": [batch.to_dict() for batch in self.batches],
            "weights": self.weights.to_dict(),
            "random_latents": [row.to_dict(n_bits=bits) for row in self.random],
            "environment": dict(self.environment),
            "command": self.command,
            "date": self.date,
            "seconds": round(self.seconds, 3),
            **{name: part.to_dict() for name, part in parts.items() if part is not None},
        }

    def to_json(self) -> str:
        """Standard JSON text (no NaN), with a final newline."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
