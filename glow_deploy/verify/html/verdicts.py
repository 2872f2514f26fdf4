"""The first screen: four verdicts that are never inferred from one another, then what failed and what to do."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from glow_deploy.numerics.statistics import failure_rate_bound

from .blocks import Card, FailureBlock, Reproduce, Section
from .evidence import Evidence, cell_name, gates_of, worst_of
from .formats import bound, count, number, plain, value_of
from .weights import named_weights, weights_sentence

__all__ = ["VERDICTS", "failures_section", "verdict_cards"]

VERDICTS = {"round_trip": "Round trip", "likelihood": "Likelihood", "samples": "Samples", "weights": "Weights"}


def verdict_cards(report: Mapping[str, Any]) -> tuple[Card, ...]:
    """One card a verdict, in a fixed order, with the sentence that carries it."""
    n_bits = int(report.get("n_bits") or 8)
    gates = gates_of(report)
    part = _part(report)
    sentences = {
        "round_trip": _round_trip(report, gates, n_bits=n_bits) + part,
        "likelihood": _likelihood(report, gates, n_bits=n_bits) + part,
        "samples": _samples(report, gates, n_bits=n_bits) + part,
        "weights": weights_sentence(report),
    }
    verdicts = report["verdicts"]
    return tuple(
        Card(title=title, verdict=str(verdicts.get(name) or "not judged"), sentence=sentences[name])
        for name, title in VERDICTS.items()
    )


def failures_section(report: Mapping[str, Any]) -> Section | None:
    """What failed, one block a cause, or None for a sound model."""
    failures = list(report.get("failures") or ())
    if not failures:
        return None
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for failure in sorted(failures, key=_comes_first):
        key = (str(failure.get("verdict")), str(failure.get("cause")), str(failure.get("level")))
        groups.setdefault(key, []).append(failure)
    blocks = tuple(_failure(report, group) for group in groups.values())
    causes = "one probable cause" if len(blocks) == 1 else f"{len(blocks)} probable causes"
    missed = "one check failed" if len(failures) == 1 else f"{len(failures)} checks failed"
    return Section(
        id="failures",
        title="What failed",
        lead=f"{missed[0].upper()}{missed[1:]}, with {causes}. Weights that are wrong come first, and faults of an "
        "engine before the pairs they spoil.",
        blocks=blocks,
    )


def _comes_first(failure: Mapping[str, Any]) -> bool:
    """Sort what names a weight to the front; all else keeps its order."""
    gate = failure.get("gate") or {}
    return not (failure.get("verdict") == "weights" or str(gate.get("measure")).startswith("weights that"))


def _failure(report: Mapping[str, Any], group: Sequence[Mapping[str, Any]]) -> FailureBlock:
    first = group[0]
    text = str(first.get("text") or first.get("where"))
    cause = str(first.get("cause") or "not known")
    backends = _named(report, group)
    advice = [str(first["advice"])] if first.get("advice") else []
    advice += _advice_of_steps(report, backends)
    weights = named_weights(report)
    if weights:
        # The cause is known: neither another run nor another backend tells more.
        if first.get("verdict") != "weights":
            advice.append(f"Look at the weights that are wrong first: {weights[0]}.")
    elif not report.get("steps"):
        advice.append("Run the command below: --steps names the first step whose error exceeds its prediction.")
    elif not advice:
        advice.append("No step stands out in the error by step: repeat it on the backends concerned alone.")
    return FailureBlock(
        title=text.removesuffix(f" ({cause})"),
        verdict=VERDICTS.get(str(first.get("verdict")), str(first.get("verdict"))),
        cause=cause,
        advice=tuple(advice),
        others=tuple(str(failure.get("where")) for failure in group[1:]),
        reproduce=Reproduce(
            command=_narrowed(str(report.get("command") or ""), _named(report, group[:1])), key="failures"
        ),
    )


def _advice_of_steps(report: Mapping[str, Any], backends: Sequence[str]) -> list[str]:
    found = []
    for entry in (report.get("steps") or {}).get("backends") or ():
        jump = entry.get("first_jump")
        if jump and entry.get("backend") in backends:
            found.append(f"{entry['backend']}, {jump.get('step')} ({jump.get('direction')}): {jump.get('advice')}")
    return found


def _narrowed(command: str, backends: Sequence[str]) -> str:
    """The same run on the backends concerned only, step by step."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if "--backend" not in words:
        for name in backends:
            words += ["--backend", name]
    if words and "--steps" not in words:
        words.append("--steps")
    return shlex.join(words)


def _named(report: Mapping[str, Any], failures: Sequence[Mapping[str, Any]]) -> list[str]:
    """Backends that ran and that the failures speak of, in the report's order."""
    words = {word.strip(",:") for failure in failures for word in str(failure.get("where")).split()}
    used = [str(backend.get("name")) for backend in report.get("backends") or () if backend.get("used")]
    return [name for name in used if name in words]


def _part(report: Mapping[str, Any]) -> str:
    """Of how many images another program's outputs were, where those are not all."""
    saved = report.get("outputs") or {}
    images, golden = saved.get("images"), saved.get("golden")
    return "" if images == golden else f" Saved outputs are of {count(images)} of {count(golden)} golden images."


def _round_trip(report: Mapping[str, Any], gates: Sequence[Evidence], *, n_bits: int) -> str:
    cells = list(report.get("cells") or ())
    if not cells:
        return "No pair of backends was measured."
    own = [gate for gate in gates if gate.verdict == "round_trip"]
    worst = worst_of([gate for gate in own if gate.part == "cells"])
    overall = worst_of(own)
    if overall is not None and not overall.passed and (worst is None or worst.passed):
        worst = overall  # an engine is off although every pair holds
    different = len({cell_name(cell) for cell in cells})
    if worst is not None:
        pairs = f"worst of {different} pairs" if different > 1 else "the only pair"
        images = f", {count(worst.n)} {worst.images} images" if worst.n else ""
        parts = [f"{pairs[0].upper()}{pairs[1:]}: {worst.where}{images}: {worst.sentence(n_bits)}"]
    else:
        parts = [_not_held(cells)]
    exact = [cell["exact"] for cell in cells if cell.get("exact")]
    if exact:
        least = min(exact, key=lambda entry: (value_of(entry.get("image_rate")), value_of(entry.get("images"))))
        rate = f"{count(least.get('images_exact'))} of {count(least.get('images'))} images exact"
        if value_of(least.get("image_rate")) < 1.0:
            rate += " where fewest are"
        parts.append(f"{rate} (failure rate {bound(least.get('image_failure_bound'))}, 95 % bound)")
    return "; ".join(parts) + "."


def _not_held(cells: Sequence[Mapping[str, Any]]) -> str:
    """What was found where no limit applies, as of graphs that only promise to decode."""

    def figure(cell: Mapping[str, Any]) -> float:
        rms = value_of(((cell.get("x_z_x") or {}).get("pixel_steps") or {}).get("rms"))
        return rms if math.isfinite(rms) else math.inf

    worst = max(cells, key=figure)
    lost = (worst.get("x_z_x") or {}).get("non_finite")
    found = f"{count(lost)} non-finite values" if lost else f"rms {number(figure(worst))} pixel steps"
    return f"Not held to a limit: {cell_name(worst)}, {worst.get('images')} images: x -> z -> x: {found}"


def _likelihood(report: Mapping[str, Any], gates: Sequence[Evidence], *, n_bits: int) -> str:
    own = [gate for gate in gates if gate.verdict == "likelihood"]
    # Against the trained model where it was there; the others only compare backends with each other.
    worst = worst_of([gate for gate in own if not gate.passed] or [gate for gate in own if gate.part == "references"])
    worst = worst or worst_of(own)
    if worst is None:
        return "No density was compared with the trained model's."
    images = f", {count(worst.n)} {worst.images} images" if worst.n else ""
    parts = [f"Worst: {worst.where}{images}: {worst.sentence(n_bits)}"]
    for reference in report.get("references") or ():
        if f"{reference.get('backend')} against float64" == worst.where and reference.get("images") == worst.images:
            spread = _mean_with_bound(reference.get("bits_per_dim_centre") or {})
            parts += [spread] if spread else []
    return "; ".join(parts) + "."


def _mean_with_bound(summary: Mapping[str, Any]) -> str:
    """The mean difference of paired likelihoods with its 95 % interval: the normal one, of n images."""
    n, mean, rms = (value_of(summary.get(name)) for name in ("n", "mean", "rms"))
    if not (math.isfinite(mean) and math.isfinite(rms)) or n < 2:
        return ""
    half = 1.96 * math.sqrt(max(0.0, rms**2 - mean**2) / (n - 1))
    return f"mean difference {number(mean)} ± {number(half)} (95 %)"


def _samples(report: Mapping[str, Any], gates: Sequence[Evidence], *, n_bits: int) -> str:
    parts = []
    own = [gate for gate in gates if gate.verdict == "samples"]
    worst = worst_of([gate for gate in own if not gate.passed] or [gate for gate in own if gate.part == "references"])
    if worst is not None:
        images = f", latents of {count(worst.n)} {worst.images} images" if worst.n else ""
        parts.append(f"Worst: {worst.where}{images}: {worst.sentence(n_bits)}")
    parts += _drawn(report)
    if not parts:
        return "No picture was compared with the trained model's."
    return "; ".join(parts) + "."


def _drawn(report: Mapping[str, Any]) -> list[str]:
    """What became of latents drawn at random: reported beside the verdict, never part of it."""
    rows = [row for row in report.get("random_latents") or () if math.isfinite(value_of(row.get("temperature")))]
    if not rows:
        return []
    hottest = max(value_of(row.get("temperature")) for row in rows)
    at = [row for row in rows if value_of(row.get("temperature")) == hottest]
    lost = max(at, key=lambda row: value_of(row.get("non_finite_draws")))
    n, gone = int(value_of(lost.get("n"))), int(value_of(lost.get("non_finite_draws")))
    limit = f" ({bound(failure_rate_bound(gone, n))}, 95 % bound)" if n else ""
    parts = [f"not gated: {gone} of {n} random draws at T={plain(hottest)} are not finite{limit}"]
    steps = [
        (value_of(((row.get("x_between_backends") or {}).get("pixel_steps") or {}).get("max")), row) for row in rows
    ]
    finite = [(value, row) for value, row in steps if math.isfinite(value)]
    if len({str(row.get("decode")) for row in rows}) > 1 and finite:
        value, row = max(finite, key=lambda pair: pair[0])
        parts.append(
            f"the same draws decode to pictures at most {number(value)} pixel steps apart "
            f"(T={plain(row.get('temperature'))}, {row.get('decode')})"
        )
    return parts
