"""The rows of a report: what was measured in one place, and the limits it was held to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from glow_deploy.numerics.gates import GateResult
from glow_deploy.numerics.measures import ErrorSummary, Exactness
from glow_deploy.numerics.worst import WorstImage

__all__ = ["BatchReport", "CellReport", "Judged", "RandomReport", "ReferenceReport", "gate_dict", "spelt_sizes"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Figures with the limits they were held to.

    Attributes:
        gates: the comparisons.
        reported: the figures are not held to anything, for a reason that the report's notes give.
        unjudged: some figures miss limits that need not be those of these images, for a reason that the notes give.
    """

    gates: tuple[GateResult, ...]
    reported: bool = False
    unjudged: bool = False

    @property
    def passed(self) -> bool:
        """True when every gate was met and there was at least one, or none is due."""
        return (bool(self.gates) or self.reported) and (self.unjudged or all(gate.passed for gate in self.gates))

    @property
    def verdict(self) -> Literal["pass", "fail", "reported", "not judged"]:
        """The outcome."""
        if not self.passed:
            return "fail"
        if self.unjudged:
            return "not judged"
        return "reported" if self.reported else "pass"


@dataclass(frozen=True, kw_only=True)
class CellReport(Judged):
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
        histogram: of |x_hat - x| in pixel steps, as `ErrorHistogram.to_dict` gives it.
        worst: the images that came back worst, worst first; not part of the JSON report.
    """

    images: str
    encode: str
    decode: str
    x_error: ErrorSummary
    exactness: Exactness
    z_error: tuple[ErrorSummary, ...]
    bits_per_dim_between: ErrorSummary
    bits_per_dim_round_trip: ErrorSummary
    histogram: Mapping[str, Any]
    worst: tuple[WorstImage, ...] = ()

    def to_dict(self, *, n_bits: int) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "images": self.images,
            "encode": self.encode,
            "decode": self.decode,
            "verdict": self.verdict,
            "x_z_x": _x_dict(self.x_error, n_bits),
            "exact": self.exactness.to_dict(),
            "histogram": dict(self.histogram),
            "z_x_z": _levels(self.z_error),
            "bits_per_dim_centre_between": self.bits_per_dim_between.to_dict(unit="bits/dim"),
            "bits_per_dim_centre_round_trip": self.bits_per_dim_round_trip.to_dict(unit="bits/dim"),
            "gates": [gate_dict(gate) for gate in self.gates],
        }


@dataclass(frozen=True, kw_only=True)
class ReferenceReport(Judged):
    """One backend against the trained model in float64, on the same images.

    Attributes:
        images: name of the image set.
        backend: whose encoder and decoder.
        z: latents against the reference's, z1 first.
        bits_per_dim: at bin centres, against the reference's.
        x_error: decode of the reference's latents against the reference's reconstruction, in units of x.
    """

    images: str
    backend: str
    z: tuple[ErrorSummary, ...]
    bits_per_dim: ErrorSummary
    x_error: ErrorSummary

    def to_dict(self, *, n_bits: int) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "images": self.images,
            "backend": self.backend,
            "verdict": self.verdict,
            "z": _levels(self.z),
            "bits_per_dim_centre": self.bits_per_dim.to_dict(unit="bits/dim"),
            "x_from_reference_z": _x_dict(self.x_error, n_bits),
            "gates": [gate_dict(gate) for gate in self.gates],
        }


@dataclass(frozen=True, kw_only=True)
class BatchReport(Judged):
    """One engine against itself: the batch an image travels in must not matter.

    Attributes:
        backend: whose engine.
        role: `encoder` or `decoder`.
        sizes: batch sizes tried.
        worst_size: the size at which the image that differs most was found; None where all is bit-equal.
        bit_equal: every comparison was equal to the last bit (no backend promises it; reported).
        equal_rows: rows of a batch of equal images against its first, the worst row, per output (`z` and `bits/dim`,
            or `x`).
        split: images in a batch against the same one by one, the worst image, per output.
    """

    backend: str
    role: str
    sizes: tuple[int, ...]
    worst_size: int | None
    bit_equal: bool
    equal_rows: Mapping[str, ErrorSummary]
    split: Mapping[str, ErrorSummary]

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "backend": self.backend,
            "role": self.role,
            "verdict": self.verdict,
            "sizes": list(self.sizes),
            "worst_size": self.worst_size,
            "bit_equal": self.bit_equal,
            "equal_rows": {name: value.to_dict(unit=name) for name, value in self.equal_rows.items()},
            "split": {name: value.to_dict(unit=name) for name, value in self.split.items()},
            "gates": [gate_dict(gate) for gate in self.gates],
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


def spelt_sizes(sizes: Sequence[int]) -> str:
    """Batch sizes in ascending order for people: `2-9, 15-17, 64`."""
    runs: list[list[int]] = []
    for size in sizes:
        if runs and size == runs[-1][-1] + 1:
            runs[-1].append(size)
        else:
            runs.append([size])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def gate_dict(gate: GateResult) -> dict[str, Any]:
    """For the JSON report."""
    return {
        "measure": gate.quantity,
        "statistic": gate.statistic,
        "level": gate.level,
        "value": gate.value if math.isfinite(gate.value) else None,
        "limit": gate.limit,
        "verdict": "pass" if gate.passed else "fail",
        "belongs_to": gate.verdict,
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
