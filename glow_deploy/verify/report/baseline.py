"""What a comparison with a baseline found: plain values, ready for a table or a JSON file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["BaselineReport", "BaselineVerdict", "Comparison", "RowComparison"]

BaselineVerdict = Literal["pass", "fail", "nothing compared"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One figure then and now.

    Attributes:
        row: name of the cell, backend or engine that it belongs to.
        quantity: `x -> z -> x`, `z1`, `bits/dim`, `exact images` ...
        statistic: `rms`, `p99.9`, `non-finite` or `rate`.
        level: of the model, None where it belongs to all.
        stored: in the baseline; None where it was no finite number.
        value: now, likewise.
        limit: what it must not exceed; for a rate, what it must not fall below.
        passed: the outcome.
        derivation: how the limit came about, for printing.
    """

    row: str
    quantity: str
    statistic: str
    level: int | None
    stored: float | None
    value: float | None
    limit: float
    passed: bool
    derivation: str

    @property
    def closeness(self) -> float:
        """Share of the limit that is used up, infinite for what is no number; of a rate, 1 minus it."""
        if self.value is None:
            return math.inf
        if self.statistic == "rate":
            return 1.0 - self.value
        if self.limit == 0.0:
            return math.inf if self.value > 0.0 else 0.0
        return self.value / self.limit

    def __str__(self) -> str:
        if self.statistic == "rate":
            then, now, limit = (f"{number:.4%}" for number in (self.stored or 0.0, self.value or 0.0, self.limit))
        else:
            then, now, limit = (_figure(number) for number in (self.stored, self.value, self.limit))
        change = f"{self.statistic} of {self.quantity} is {now} and was {then}"
        return f"{self.row}: {change}, limit {limit} ({self.derivation})"

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "row": self.row,
            "measure": self.quantity,
            "statistic": self.statistic,
            "level": self.level,
            "stored": self.stored,
            "value": self.value,
            "limit": self.limit,
            "verdict": "pass" if self.passed else "fail",
            "derivation": self.derivation,
            "text": str(self),
        }


@dataclass(frozen=True, kw_only=True)
class RowComparison:
    """All figures of one row of the verification, then and now.

    Attributes:
        name: `onnxruntime-cpu->tensorrt[golden]`, ...
        figures: at least one.
    """

    name: str
    figures: tuple[Comparison, ...]

    @property
    def passed(self) -> bool:
        """True when nothing rose beyond its limit."""
        return all(figure.passed for figure in self.figures)

    @property
    def closest(self) -> Comparison:
        """The figure that came closest to its limit, or went furthest beyond it."""
        # Where all errors are 0, an rms says more than a count of non-finite values.
        return max(self.figures, key=lambda f: (not f.passed, f.closeness, f.statistic != "non-finite"))


@dataclass(frozen=True, kw_only=True)
class BaselineReport:
    """Today's figures against stored ones.

    Attributes:
        file: the baseline.
        factor: a figure may grow to this multiple of the stored one.
        rows: what was compared.
        missing: name -> why; measured then and not now, which is a failure.
        not_compared: name -> why; left out for a reason that is none of the model's.
        new: rows that the baseline does not have.
        changes: what else is different from then: the bundle's files, devices, versions.
    """

    file: str
    factor: float
    rows: tuple[RowComparison, ...]
    missing: Mapping[str, str]
    not_compared: Mapping[str, str]
    new: tuple[str, ...]
    changes: tuple[str, ...]

    @property
    def rises(self) -> tuple[Comparison, ...]:
        """Figures beyond their limits."""
        return tuple(figure for row in self.rows for figure in row.figures if not figure.passed)

    @property
    def verdict(self) -> BaselineVerdict:
        """The outcome; where nothing was compared it is not a pass."""
        if self.rises or self.missing:
            return "fail"
        return "pass" if self.rows else "nothing compared"

    @property
    def passed(self) -> bool:
        """True for the verdict `pass` alone."""
        return self.verdict == "pass"

    def __str__(self) -> str:
        if self.verdict == "pass":
            return f"no figure of {len(self.rows)} rows rose beyond {self.factor:g} times that of {self.file}"
        if self.verdict == "nothing compared":
            return f"nothing could be compared with {self.file}, and that is no pass"
        found = [f"{len(self.rises)} figures rose"] if self.rises else []
        found += [f"{len(self.missing)} rows are missing"] if self.missing else []
        first = str(self.rises[0]) if self.rises else "{}: {}".format(*next(iter(self.missing.items())))
        return f"{' and '.join(found)} against {self.file}; first: {first}"

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report, under the key `baseline`."""
        return {
            "file": self.file,
            "factor": self.factor,
            "verdict": self.verdict,
            "compared": len(self.rows),
            "rows": [row.name for row in self.rows],
            "rises": [rise.to_dict() for rise in self.rises],
            "missing": [{"row": name, "reason": reason} for name, reason in self.missing.items()],
            "not_compared": [{"row": name, "reason": reason} for name, reason in self.not_compared.items()],
            "new": list(self.new),
            "changes": list(self.changes),
        }


def _figure(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
