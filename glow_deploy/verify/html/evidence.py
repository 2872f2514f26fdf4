"""Every limit that was applied, from all parts of a report, in one list that can be searched for the worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glow_deploy.verify.report.rows import spelt_sizes

from .formats import ABSENT, count, number, of_limit, percent, value_of

__all__ = ["Evidence", "cell_name", "gates_of", "worst_of"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One measured figure and its limit.

    Attributes:
        part: `cells`, `references` or `batches`: where in the report it stands.
        images: name of the image set, empty for a batch check.
        n: images it was measured on, 0 where that is not said.
        where: the cell or engine, in words.
        quantity: what was measured.
        statistic: `rms`, `p99.9`, `mean`, `non-finite`, `count` or `rate`.
        value: what was found; NaN for what is not finite.
        limit: what it was held to.
        passed: the gate's own verdict.
        derivation: how the limit came about.
        verdict: that it belongs to: `round_trip`, `likelihood` or `samples`.
    """

    part: str
    images: str
    n: int
    where: str
    quantity: str
    statistic: str
    value: float
    limit: float
    passed: bool
    derivation: str
    verdict: str

    @property
    def ratio(self) -> float:
        """Value over limit; 0 for a met count or rate, infinite for a missed one and for no value."""
        if self.statistic in ("non-finite", "count", "rate"):
            return 0.0 if self.passed else math.inf
        if not math.isfinite(self.value) or not self.limit > 0.0:
            return 0.0 if self.passed else math.inf
        return self.value / self.limit

    @property
    def severity(self) -> tuple[bool, bool, float]:
        """Sorts misses above passes, and lost values above everything."""
        return not self.passed, self.statistic == "non-finite" and not self.passed, self.ratio

    def value_text(self, n_bits: int) -> str:
        """The value with its unit."""
        if self.statistic == "rate":
            return percent(self.value)
        if self.statistic in ("non-finite", "count"):
            return count(self.value)
        return self._with_unit(self.value, n_bits)

    def limit_text(self, n_bits: int) -> str:
        """The limit with its unit."""
        if self.statistic == "rate":
            return percent(self.limit)
        if self.statistic in ("non-finite", "count"):
            return count(self.limit)
        return self._with_unit(self.limit, n_bits)

    def sentence(self, n_bits: int) -> str:
        """Say what was found, in a few words."""
        if self.statistic == "non-finite":
            return f"{count(self.value)} non-finite values in {self.quantity}"
        if self.statistic == "count":
            return f"{count(self.value)} {self.quantity}"
        if self.statistic == "rate":
            return f"{self.quantity}: {percent(self.value)} where {percent(self.limit)} is due"
        return f"{self.quantity}: {self.statistic} {self.value_text(n_bits)}, {of_limit(self.ratio)}"

    def _with_unit(self, value: float, n_bits: int) -> str:
        if self.quantity.startswith("x"):
            return f"{number(value * 2**n_bits)} pixel steps" if math.isfinite(value) else ABSENT
        return number(value)  # bits/dim says its unit itself; latents have none


def cell_name(cell: Mapping[str, Any]) -> str:
    """A pair of backends, in words."""
    return f"encode {cell.get('encode')}, decode {cell.get('decode')}"


def gates_of(report: Mapping[str, Any]) -> tuple[Evidence, ...]:
    """All gates of a report, in its order."""
    sizes = {str(images.get("name")): int(images.get("n") or 0) for images in report.get("image_sets") or ()}
    found: list[Evidence] = []
    for cell in report.get("cells") or ():
        if cell.get("verdict") == "not judged":
            continue  # its limits need not be those of its images
        found += _gates(cell, part="cells", where=cell_name(cell), sizes=sizes)
    for reference in report.get("references") or ():
        found += _gates(reference, part="references", where=f"{reference.get('backend')} against float64", sizes=sizes)
    for batch in report.get("batches") or ():
        where = f"{batch.get('backend')} {batch.get('role')}, batches of {spelt_sizes(batch.get('sizes') or ())}"
        found += _gates(batch, part="batches", where=where, sizes=sizes)
    return tuple(found)


def worst_of(gates: Sequence[Evidence]) -> Evidence | None:
    """The gate nearest to its limit or farthest beyond it; of equals the first. None of nothing."""
    return max(gates, key=lambda gate: gate.severity, default=None)


def _gates(entry: Mapping[str, Any], *, part: str, where: str, sizes: Mapping[str, int]) -> list[Evidence]:
    images = str(entry.get("images") or "")
    return [
        Evidence(
            part=part,
            images=images,
            n=sizes.get(images, 0),
            where=where,
            quantity=str(gate.get("measure")),
            statistic=str(gate.get("statistic")),
            value=value_of(gate.get("value")),
            limit=value_of(gate.get("limit")),
            # A gate without a verdict was not met: a missing measure is never a pass.
            passed=gate.get("verdict") == "pass",
            derivation=str(gate.get("derivation") or ""),
            verdict=str(gate.get("belongs_to")),
        )
        for gate in entry.get("gates") or ()
    ]
