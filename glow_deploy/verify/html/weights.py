"""What the graphs hold, compared without running them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .blocks import Block, Cell, Column, Reproduce, Section, Table
from .formats import count
from .tables import mark, name, right, text

__all__ = ["named_weights", "weights_section", "weights_sentence"]


def weights_sentence(report: Mapping[str, Any]) -> str:
    """The sentence of the verdict on weights: what failed first, else the widest comparison that was made."""
    weights = report.get("weights") or {}
    checks = list(weights.get("checks") or ())
    findings = list(weights.get("findings") or ())
    if findings:
        more = f"; {count(len(findings) - 1)} more" if len(findings) > 1 else ""
        return f"{_where(findings[0])}: {findings[0].get('detail')}{more}."
    failed = [check for check in checks if check.get("found") == "fail"]
    passed = [check for check in checks if check.get("found") == "pass"]
    if not failed and not passed:
        return "The graphs' weights were not compared."
    shown = failed[0] if failed else passed[-1]
    left = [check for check in checks if check.get("found") == "not compared"]
    parts = [_sentence(shown), *(_sentence(check) for check in left[:1] if not failed)]
    return " ".join(parts)


def named_weights(report: Mapping[str, Any]) -> list[str]:
    """Places of weights that are known to be wrong, whichever part of the report says so."""
    places = [_where(finding) for finding in (report.get("weights") or {}).get("findings") or ()]
    places += [str(fault.get("step")) for fault in (report.get("steps") or {}).get("weights") or ()]
    return places


def weights_section(report: Mapping[str, Any]) -> Section | None:
    """All comparisons, and what they found; None for a report of a release that made none."""
    weights = report.get("weights")
    if not weights:
        return None
    reproduce = Reproduce(command=str(report.get("command") or ""), key="weights")
    blocks: list[Block] = [
        Table(
            title="Comparisons",
            columns=tuple(Column(label=label) for label in ("Compared", "Outcome", "Found")),
            rows=tuple(
                (name(check.get("name")), _outcome(check.get("found")), text(check.get("detail")))
                for check in weights.get("checks") or ()
            ),
            reproduce=reproduce,
        )
    ]
    findings = list(weights.get("findings") or ())
    if findings:
        blocks.append(
            Table(
                title="Weights that are wrong",
                columns=(
                    *(Column(label=label) for label in ("Part", "Graph", "Finding")),
                    Column(label="weights", right=True),
                ),
                rows=tuple(
                    (
                        name(finding.get("part") or "structure"),
                        text(" and ".join(map(str, finding.get("files") or ()))),
                        text(finding.get("detail")),
                        right(count(finding.get("arrays"))),
                    )
                    for finding in findings
                ),
                reproduce=reproduce,
            )
        )
    return Section(
        id="weights",
        title="What the graphs hold",
        lead="Weights and structure, compared without running a graph. Images reach only some of the weights.",
        blocks=tuple(blocks),
    )


def _where(finding: Mapping[str, Any]) -> str:
    files = " and ".join(map(str, finding.get("files") or ()))
    return f"{files}, {finding['part']}" if finding.get("part") else files


def _sentence(check: Mapping[str, Any]) -> str:
    said = str(check.get("detail"))
    return f"{str(check.get('name')).capitalize()}: {said}."


def _outcome(found: Any) -> Cell:
    return Cell(text=str(found), kind="muted") if found == "not compared" else mark(found)
