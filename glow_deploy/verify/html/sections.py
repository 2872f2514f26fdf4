"""The order of the page: what failed first, then the matrix, then where the error comes from, then the facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glow_deploy.numerics.worst import WorstImage

from .behaviour import stress_section
from .blocks import Reproduce, Section
from .facts import backends_section, environment_section, limits_section
from .matrix import batches_section, matrix_section, references_section
from .numerics import CellKey, budget_section, histograms_section
from .pictures import worst_pictures
from .regression import baseline_section
from .samples import random_section
from .steps import steps_section
from .svg import Identifiers
from .verdicts import failures_section
from .weights import weights_section

__all__ = ["sections_of"]


def sections_of(
    report: Mapping[str, Any],
    *,
    pictures: Sequence[WorstImage],
    histograms: Mapping[CellKey, Mapping[str, Any]],
) -> tuple[Section, ...]:
    """Make all sections of the page; what the report does not hold is left out or says how to measure it."""
    ids = Identifiers()
    sections = (
        failures_section(report),
        _notes(report),
        matrix_section(report),
        references_section(report),
        weights_section(report),
        baseline_section(report),
        steps_section(report, ids=ids),
        budget_section(report, ids=ids),
        histograms_section(report, histograms=histograms, ids=ids),
        _worst(report, pictures),
        stress_section(report),
        random_section(report),
        batches_section(report),
        backends_section(report),
        limits_section(report),
        environment_section(report),
    )
    return tuple(section for section in sections if section is not None)


def _notes(report: Mapping[str, Any]) -> Section | None:
    notes = [str(note) for note in report.get("notes") or ()]
    notes += [f"What would help: {line}" for line in report.get("suggestions") or ()]
    return Section(id="notes", title="What to know", notes=tuple(notes)) if notes else None


def _worst(report: Mapping[str, Any], pictures: Sequence[WorstImage]) -> Section:
    if not pictures:
        return Section(id="worst", title="Worst images", lead="Not measured: no images were kept.")
    reproduce = Reproduce(command=f"{report.get('command') or ''} --report report.html".strip())
    return Section(
        id="worst",
        title="Worst images",
        lead="The images that come back worst, each from the pair of backends where it does.",
        blocks=worst_pictures(pictures, n_bits=int(report.get("n_bits") or 8), reproduce=reproduce),
    )
