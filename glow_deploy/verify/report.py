"""What a verification found: plain values, ready for a table or a JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .gates import GateResult
from .measures import ErrorSummary, Exactness
from .yardstick import Yardstick

__all__ = [
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

Verdict = Literal["sound", "unsound", "reported"]


@dataclass(frozen=True, kw_only=True)
class BackendReport:
    """One backend: what really ran, or why it did not.

    Attributes:
        name: `onnxruntime-cpu`, ...
        reason: why it is absent; empty where it was used.
        encoder: facts of the encoder's engine: provider, device, precision, tf32, versions, max_batch; None if absent.
        decoder: the same of the decoder's.
    """

    name: str
    reason: str = ""
    encoder: Mapping[str, Any] | None = None
    decoder: Mapping[str, Any] | None = None

    @property
    def used(self) -> bool:
        """True where it took part in the matrix."""
        return self.encoder is not None and self.decoder is not None

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        if self.encoder is None or self.decoder is None:
            return {"name": self.name, "used": False, "reason": self.reason}
        return {"name": self.name, "used": True, "encoder": dict(self.encoder), "decoder": dict(self.decoder)}


@dataclass(frozen=True, kw_only=True)
class ImageSetReport:
    """The images that cells were measured on.

    Attributes:
        name: `golden`, `data` or `checkpoint`.
        source: where they come from, in words.
        n: images.
        yardstick: what errors on them are measured in.
        paired: the yardstick was measured on these very images.
        reference: a float64 reference of the latents and log_prob of these images was there.
    """

    name: str
    source: str
    n: int
    yardstick: Yardstick
    paired: bool
    reference: bool

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "name": self.name,
            "source": self.source,
            "n": self.n,
            "paired": self.paired,
            "reference": self.reference,
            "yardstick": self.yardstick.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class CellReport:
    """Encode on one backend, decode on another.

    Attributes:
        images: name of the image set.
        encode: backend that made the latents.
        decode: backend that decoded them.
        x_error: x -> z -> x against x, in units of x.
        exactness: pixels and images back in their n-bit bin.
        z_error: z -> x -> z against z per level, z1 first; x is re-encoded on `encode`.
        bits_per_dim_between: bits/dim by `encode` minus bits/dim by `decode`'s encoder, same images.
        bits_per_dim_round_trip: bits/dim of the reconstruction minus that of the image, both by `encode`.
        gates: the limits these were held to.
    """

    images: str
    encode: str
    decode: str
    x_error: ErrorSummary
    exactness: Exactness
    z_error: tuple[ErrorSummary, ...]
    bits_per_dim_between: ErrorSummary
    bits_per_dim_round_trip: ErrorSummary
    gates: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """True when every gate was met and there was at least one."""
        return bool(self.gates) and all(gate.passed for gate in self.gates)

    def to_dict(self, *, n_bits: int) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "images": self.images,
            "encode": self.encode,
            "decode": self.decode,
            "verdict": "pass" if self.passed else "fail",
            "x_z_x": _x_dict(self.x_error, n_bits),
            "exact": self.exactness.to_dict(),
            "z_x_z": _levels(self.z_error),
            "bits_per_dim_centre_between": self.bits_per_dim_between.to_dict(unit="bits/dim"),
            "bits_per_dim_centre_round_trip": self.bits_per_dim_round_trip.to_dict(unit="bits/dim"),
            "gates": [_gate(gate) for gate in self.gates],
        }


@dataclass(frozen=True, kw_only=True)
class ReferenceReport:
    """One backend against the trained model in float64, on the same images.

    Attributes:
        images: name of the image set.
        backend: whose encoder and decoder.
        z: latents against the reference's, z1 first.
        bits_per_dim: at bin centres, against the reference's.
        x_error: decode of the reference's latents against the reference's reconstruction, in units of x.
        gates: the limits these were held to.
    """

    images: str
    backend: str
    z: tuple[ErrorSummary, ...]
    bits_per_dim: ErrorSummary
    x_error: ErrorSummary
    gates: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """True when every gate was met and there was at least one."""
        return bool(self.gates) and all(gate.passed for gate in self.gates)

    def to_dict(self, *, n_bits: int) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "images": self.images,
            "backend": self.backend,
            "verdict": "pass" if self.passed else "fail",
            "z": _levels(self.z),
            "bits_per_dim_centre": self.bits_per_dim.to_dict(unit="bits/dim"),
            "x_from_reference_z": _x_dict(self.x_error, n_bits),
            "gates": [_gate(gate) for gate in self.gates],
        }


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """One engine against itself: the batch an image travels in must not matter.

    Attributes:
        backend: whose engine.
        role: `encoder` or `decoder`.
        sizes: batch sizes tried.
        bit_equal: every comparison was equal to the last bit (no backend promises it; reported).
        equal_rows: rows of a batch of equal images against its first, the worst row, per output (`z` and `bits/dim`,
            or `x`).
        split: images in a batch against the same one by one, the worst image, per output.
        gates: the limits these were held to.
    """

    backend: str
    role: str
    sizes: tuple[int, ...]
    bit_equal: bool
    equal_rows: Mapping[str, ErrorSummary]
    split: Mapping[str, ErrorSummary]
    gates: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """True when every gate was met and there was at least one."""
        return bool(self.gates) and all(gate.passed for gate in self.gates)

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "backend": self.backend,
            "role": self.role,
            "verdict": "pass" if self.passed else "fail",
            "sizes": list(self.sizes),
            "bit_equal": self.bit_equal,
            "equal_rows": {name: value.to_dict(unit=name) for name, value in self.equal_rows.items()},
            "split": {name: value.to_dict(unit=name) for name, value in self.split.items()},
            "gates": [_gate(gate) for gate in self.gates],
        }


@dataclass(frozen=True, kw_only=True)
class RandomReport:
    """z -> x -> z from z ~ N(0, T^2). Reported, not gated: a sound model can fail it far from the data.

    Attributes:
        encode: backend that re-encodes.
        decode: backend that decodes.
        temperature: T.
        n: draws.
        lost: draws whose picture or re-encoded latents are not finite.
        z_error: z -> x -> z per level over the remaining draws, z1 first.
        x_between: decoded pictures against those of the first backend in the matrix, in units of x.
    """

    encode: str
    decode: str
    temperature: float
    n: int
    lost: int
    z_error: tuple[ErrorSummary, ...]
    x_between: ErrorSummary

    def to_dict(self, *, n_bits: int) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "encode": self.encode,
            "decode": self.decode,
            "temperature": self.temperature,
            "n": self.n,
            "non_finite_draws": self.lost,
            "z_x_z": _levels(self.z_error),
            "x_between_backends": _x_dict(self.x_between, n_bits),
            "verdict": "reported",
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

    verdict: Literal["round_trip", "likelihood"]
    where: str
    images: str
    level: int | None
    gate: GateResult
    cause: str

    def __str__(self) -> str:
        level = f", level {self.level}" if self.level is not None else ""
        gate = self.gate
        if gate.statistic == "non-finite":
            figure = f"{gate.measure} has {gate.value:g} non-finite values"
        elif gate.statistic == "rate":
            figure = f"{gate.measure}: {gate.value:.4%} where {gate.limit:.0%} is due"
        else:
            figure = f"{gate.statistic} error of {gate.measure} is {gate.value:.2e}, limit {gate.limit:.2e}"
        return f"{self.where}{level}: {figure} ({self.cause})"

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "verdict": self.verdict,
            "where": self.where,
            "images": self.images,
            "level": self.level,
            "gate": _gate(self.gate),
            "cause": self.cause,
            "text": str(self),
        }


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """Three questions, never inferred from one another.

    Attributes:
        round_trip: do images come back, and do latents mean the same to every backend?
        likelihood: are the densities those of the trained model?
        samples: reported only, so far.
    """

    round_trip: Verdict
    likelihood: Verdict
    samples: Verdict = "reported"

    def to_dict(self) -> dict[str, str]:
        """For the JSON report."""
        return {"round_trip": self.round_trip, "likelihood": self.likelihood, "samples": self.samples}


@dataclass(frozen=True, kw_only=True)
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
        random: z drawn at random.
        failures: empty for a sound model.
        verdicts: the outcome.
        notes: what a reader has to know, e.g. why exactness was not gated.
        seconds: duration of the run.
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
    random: tuple[RandomReport, ...]
    failures: tuple[Failure, ...]
    verdicts: Verdicts
    notes: tuple[str, ...]
    seconds: float

    @property
    def sound(self) -> bool:
        """True when nothing failed and something was examined."""
        return not self.failures and bool(self.cells)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what does not exist is null, never NaN."""
        bits = self.n_bits
        return {
            "schema": "glow_deploy.verify",
            "schema_version": SCHEMA_VERSION,
            "sound": self.sound,
            "verdicts": self.verdicts.to_dict(),
            "failures": [failure.to_dict() for failure in self.failures],
            "notes": list(self.notes),
            "bundle": dict(self.bundle),
            "n_bits": bits,
            "backends": [backend.to_dict() for backend in self.backends],
            "image_sets": [images.to_dict() for images in self.image_sets],
            "references": [reference.to_dict(n_bits=bits) for reference in self.references],
            "cells": [cell.to_dict(n_bits=bits) for cell in self.cells],
            "batches": [batch.to_dict() for batch in self.batches],
            "random_latents": [row.to_dict(n_bits=bits) for row in self.random],
            "environment": dict(self.environment),
            "command": self.command,
            "seconds": round(self.seconds, 3),
        }

    def to_json(self) -> str:
        """Standard JSON text (no NaN), with a final newline."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"


def _gate(gate: GateResult) -> dict[str, Any]:
    return {
        "measure": gate.measure,
        "statistic": gate.statistic,
        "level": gate.level,
        "value": gate.value if math.isfinite(gate.value) else None,
        "limit": gate.limit,
        "verdict": "pass" if gate.passed else "fail",
        "derivation": gate.derivation,
    }


def _x_dict(summary: ErrorSummary, n_bits: int) -> dict[str, Any]:
    table = summary.to_dict(unit="x")
    steps = {
        name: table[name] * 2**n_bits if table[name] is not None else None for name in ("max", "p999", "rms", "mean")
    }
    return {**table, "pixel_steps": steps}


def _levels(summaries: Sequence[ErrorSummary]) -> dict[str, Any]:
    return {f"z{level}": summary.to_dict(unit="z") for level, summary in enumerate(summaries, 1)}
