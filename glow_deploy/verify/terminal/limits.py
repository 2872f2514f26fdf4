"""The limits of a verification: every kind of gate once, with where its limit comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from glow_deploy.numerics.gates import GateResult
from glow_deploy.verify.report.rows import CellReport, ReferenceReport
from glow_deploy.verify.report.verification import VerifyReport

from .layout import figure, new_table, styled

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["limits_table"]


def limits_table(report: VerifyReport) -> Table:
    """Lay out every kind of gate once: its limit, where that comes from, and the figure that came closest."""
    table = new_table("Limits: a factor times the yardstick", "images", "measure", "worst", "limit", "derivation")
    worst: dict[tuple[str, str, str], GateResult] = {}
    for name, gate in _gates(report):
        if gate.statistic == "non-finite" and gate.passed:
            continue
        key = (name, gate.quantity, gate.statistic)
        if key not in worst or _closeness(gate) > _closeness(worst[key]):
            worst[key] = gate
    for (name, quantity, statistic), gate in worst.items():
        value = f"{gate.value:.2%}" if statistic == "rate" else figure(gate.value)
        limit = f"{gate.limit:.0%}" if statistic == "rate" else figure(gate.limit)
        table.add_row(
            name,
            f"{quantity}, {statistic}",
            value if gate.passed else styled(value, "bold red"),
            limit,
            gate.derivation,
        )
    return table


def _gates(report: VerifyReport) -> Iterator[tuple[str, GateResult]]:
    judged: list[ReferenceReport | CellReport] = [*report.references, *report.cells]
    for part in judged:
        for gate in part.gates:
            yield part.images, gate
    for batch in report.batches:
        for gate in batch.gates:
            yield "batches", gate


def _closeness(gate: GateResult) -> float:
    """Value over limit; infinite for what is no number, negative for a rate's distance from its due."""
    if not math.isfinite(gate.value):
        return math.inf
    if gate.statistic == "rate":
        return -gate.value
    return gate.value / gate.limit if gate.limit > 0 else gate.value
