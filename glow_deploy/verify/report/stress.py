"""What a stress test found, and the verdict on each section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .stress_rows import AttackReport, DeterminismRow, InputRow, PassRow, StressFailure, TemperatureRow

__all__ = ["SectionVerdict", "StressReport"]

SectionVerdict = Literal["sound", "reported", "unsound"]


@dataclass(frozen=True, kw_only=True)
class StressReport:
    """The whole result.

    Attributes:
        n_bits: bit depth of the model's pixels.
        bounded: the model's scales are bounded, so that losing a valid image is a failure.
        inputs: one row a backend and kind of image.
        temperatures: one row a backend and temperature.
        passes: one row a backend and number of passes.
        attack: None where it was left out; a note says why.
        determinism: one row a backend.
        failures: what makes the round trip unsound; empty where nothing does.
        notes: what was left out, in sentences.
        seconds: taken by each section.
    """

    n_bits: int
    bounded: bool
    inputs: tuple[InputRow, ...]
    temperatures: tuple[TemperatureRow, ...]
    passes: tuple[PassRow, ...]
    attack: AttackReport | None
    determinism: tuple[DeterminismRow, ...]
    failures: tuple[StressFailure, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    @property
    def first_non_finite(self) -> dict[str, float | None]:
        """By backend, the lowest temperature whose decode lost a draw; None where none did."""
        return self._first(lambda row: row.non_finite > 0)

    @property
    def first_not_recovered(self) -> dict[str, float | None]:
        """By backend, the lowest temperature whose latents did not all come back; None where all did."""
        return self._first(lambda row: not row.recovered)

    def _first(self, lost: Callable[[TemperatureRow], bool]) -> dict[str, float | None]:
        first: dict[str, float | None] = {}
        for row in sorted(self.temperatures, key=lambda row: row.temperature):
            if first.setdefault(row.backend, None) is None and lost(row):
                first[row.backend] = row.temperature
        return first

    @property
    def verdicts(self) -> dict[str, SectionVerdict]:
        """By section: sound, nothing to say; reported, something to know that is not judged; unsound, a failure."""
        lost_inputs = any(row.non_finite for row in self.inputs)
        verdicts: dict[str, SectionVerdict] = {
            "inputs": "unsound" if self.failures else _reported(found=lost_inputs),
            "temperatures": _reported(found=not all(row.recovered for row in self.temperatures)),
            "passes": _reported(found=any(row.non_finite or row.geometric for row in self.passes)),
        }
        if self.attack is not None:
            rows = (self.attack.attacked, *self.attack.deployed)
            found = any(self.attack.non_finite_by_step) or any(row.exact_images < row.images for row in rows)
            verdicts["attack"] = _reported(found=found)
        verdicts["determinism"] = _reported(found=not all(row.equal for row in self.determinism))
        return verdicts

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "bounded": self.bounded,
            "verdicts": dict(self.verdicts),
            "inputs": [row.to_dict() for row in self.inputs],
            "temperatures": [row.to_dict() for row in self.temperatures],
            "first_non_finite": self.first_non_finite,
            "first_not_recovered": self.first_not_recovered,
            "passes": [row.to_dict() for row in self.passes],
            "attack": None if self.attack is None else self.attack.to_dict(),
            "determinism": [row.to_dict() for row in self.determinism],
            "failures": [failure.to_dict() for failure in self.failures],
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }


def _reported(*, found: bool) -> SectionVerdict:
    return "reported" if found else "sound"
