"""What the graphs' own weights and structure say: plain values, ready for a table or the JSON report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Found", "WeightCheck", "WeightFinding", "WeightsReport"]

Found = Literal["pass", "fail", "not compared"]


@dataclass(frozen=True, kw_only=True)
class WeightCheck:
    """One comparison.

    Attributes:
        name: what with what, e.g. `encoder with decoder`.
        found: the outcome.
        detail: a sentence.
    """

    name: str
    found: Found
    detail: str


@dataclass(frozen=True, kw_only=True)
class WeightFinding:
    """A part of a graph that is not what it should be.

    Attributes:
        check: name of the check that found it first.
        files: `encoder.onnx`, `decoder.onnx`, or both where nothing tells which.
        part: `level1/step01`, `level1/split`, `prior`, `log_prob`, or empty for the structure.
        arrays: how many weights are concerned.
        detail: a sentence.
        advice: what to do.
    """

    check: str
    files: tuple[str, ...]
    part: str
    arrays: int
    detail: str
    advice: str

    @property
    def where(self) -> str:
        """For people: the files and the part."""
        return " and ".join(self.files) + (f", {self.part}" if self.part else "")

    @property
    def level(self) -> int | None:
        """Number of the level that it belongs to, None where it belongs to all."""
        number = self.part.partition("/")[0].removeprefix("level")
        return int(number) if number.isascii() and number.isdecimal() and len(number) <= 9 else None


@dataclass(frozen=True, kw_only=True)
class WeightsReport:
    """Everything that was compared without running a graph.

    Attributes:
        checks: in order: structure, encoder with decoder, export, checkpoint, plans.
        findings: in encoding order; empty where nothing is wrong.
    """

    checks: tuple[WeightCheck, ...]
    findings: tuple[WeightFinding, ...]

    @property
    def verdict(self) -> Literal["sound", "unsound", "not compared"]:
        """Sound needs all that was exported, or the checkpoint and the structure.

        Two graphs that agree may both be wrong, and the right weights in other nodes are another model.
        """
        if any(check.found == "fail" for check in self.checks):
            return "unsound"
        passed = {check.name for check in self.checks if check.found == "pass"}
        return "sound" if EXPORT in passed or {STRUCTURE, TRAINED} <= passed else "not compared"

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "verdict": self.verdict,
            "checks": [asdict(check) for check in self.checks],
            "findings": [
                {**asdict(finding), "files": list(finding.files), "level": finding.level} for finding in self.findings
            ],
        }


STRUCTURE = "structure"
PAIR = "encoder with decoder"
EXPORT = "graphs with the export"
TRAINED = "graphs with the checkpoint"
PLANS = "plans"
PICTURES = "graphs of 8-bit pictures"
