"""What was measured at export, as `numerics` of a manifest holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .exact_figures import ExactFigures
from .figures import ErrorFigures
from .json_values import entry, flag, json_number, number_or_null, sequence, table, text
from .sixteen_bit import PrecisionFigures
from .weights import read_digests

__all__ = ["ExportFigures", "SelfCheckFigures"]


@dataclass(frozen=True, kw_only=True)
class SelfCheckFigures:
    """The graphs in ONNX Runtime, run once before they were written.

    Attributes:
        backend: what ran them.
        batches: the batch sizes, ascending.
        max_error: `x_hat`, `z1` ..., `bits_per_dim` -> largest |error| against float64; NaN where it is not finite.
        passed: every error was within its limit.
    """

    backend: str
    batches: tuple[int, ...]
    max_error: Mapping[str, float]
    passed: bool

    @classmethod
    def from_dict(cls, values: object, *, where: str) -> SelfCheckFigures:
        """Read what `to_dict` gives.

        Raises:
            ValueError: an entry is missing or malformed.
        """
        found = table(values, where)
        batches = sequence(found.get("batches"), f"{where}.batches")
        if not all(type(batch) is int and batch > 0 for batch in batches):
            raise ValueError(f"{where}.batches must be batch sizes")
        errors = table(found.get("max_error"), f"{where}.max_error")
        return cls(
            backend=text(found, "backend", where=where),
            batches=tuple(batches),
            max_error={name: number_or_null(errors, name, where=f"{where}.max_error") for name in errors},
            passed=flag(found, "passed", where=where),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "backend": self.backend,
            "batches": list(self.batches),
            "max_error": {name: json_number(value) for name, value in self.max_error.items()},
            "passed": self.passed,
        }


@dataclass(frozen=True, kw_only=True)
class ExportFigures:
    """`manifest.numerics`.

    Attributes:
        yardstick: the trained model's own float32 error on the golden images; None where it is not finite.
        self_check: the graphs in ONNX Runtime; None where the model itself did not pass.
        precision: of graphs in 16 bit; None for float32.
        exact: of graphs of integers; None for all others.
        problems: why the model was exported only by force, in words; empty for a sound one.
        notes: what a reader should know, in words.
        weights: of each role, sha256 of its nodes and of the weights of every part, as `graph_digests` gives it; None
            in bundles of releases that kept none.
    """

    yardstick: ErrorFigures | None = None
    self_check: SelfCheckFigures | None = None
    precision: PrecisionFigures | None = None
    exact: ExactFigures | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    weights: Mapping[str, Mapping[str, str]] | None = None

    @classmethod
    def from_dict(cls, values: object, *, levels: int, where: str = "numerics") -> ExportFigures:
        """Read what `to_dict` gives.

        Args:
            values: parsed JSON.
            levels: L.
            where: its place, for messages.

        Raises:
            ValueError: an entry is missing or malformed. A missing yardstick is never a pass.
        """
        found = table(values, where)
        yardstick = entry(found, "yardstick", where=where)
        check, precision, exact = found.get("self_check"), found.get("precision"), found.get("exact")
        return cls(
            yardstick=None
            if yardstick is None
            else ErrorFigures.from_dict(yardstick, levels=levels, where=f"{where}.yardstick"),
            self_check=None if check is None else SelfCheckFigures.from_dict(check, where=f"{where}.self_check"),
            precision=None
            if precision is None
            else PrecisionFigures.from_dict(precision, levels=levels, where=f"{where}.precision"),
            exact=None if exact is None else ExactFigures.from_dict(exact, levels=levels, where=f"{where}.exact"),
            problems=_texts(found.get("problems", ()), f"{where}.problems"),
            notes=_texts(found.get("notes", ()), f"{where}.notes"),
            weights=read_digests(found.get("weights"), where=f"{where}.weights"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "yardstick": None if self.yardstick is None else self.yardstick.to_dict(),
            "self_check": None if self.self_check is None else self.self_check.to_dict(),
            "precision": None if self.precision is None else self.precision.to_dict(),
            **({} if self.exact is None else {"exact": self.exact.to_dict()}),
            "problems": list(self.problems),
            "notes": list(self.notes),
            **({} if self.weights is None else {"weights": {role: dict(p) for role, p in self.weights.items()}}),
        }


def _texts(values: object, where: str) -> tuple[str, ...]:
    found = sequence(values, where)
    if not all(isinstance(value, str) for value in found):
        raise ValueError(f"{where} must be a list of strings")
    return tuple(found)
