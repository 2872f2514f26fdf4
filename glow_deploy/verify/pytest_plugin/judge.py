"""The outcome of each test, out of the JSON report of a verification."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from glow_deploy.verify.report.rows import spelt_sizes

__all__ = [
    "Look",
    "Outcome",
    "Report",
    "backend",
    "baseline_row",
    "baseline_verdict",
    "batches",
    "cell",
    "reference",
    "verdict",
]

Report = Mapping[str, Any]
"""As `VerifyReport.to_dict` gives it, with the comparison under `baseline` where there is one."""

_MOST_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a test says.

    Attributes:
        verdict: `skip` where there is nothing to judge.
        text: why it failed or was skipped.
        figures: what was measured, kept with the test's report.
    """

    verdict: Literal["pass", "fail", "skip"]
    text: str = ""
    figures: Mapping[str, object] = field(default_factory=dict)


Look = Callable[[Report], Outcome]


def cell(report: Report, *, encode: str, decode: str, images: str, asked: Sequence[str]) -> Outcome:
    """Judge encode on A, decode on B, on one set of images.

    Args:
        report: of the verification.
        encode: A.
        decode: B.
        images: name of the set.
        asked: backends named by the user: those must have run.
    """
    row = _find(report["cells"], encode=encode, decode=decode, images=images)
    if row is None:
        return _unmeasured(report, (encode, decode), asked=asked)
    x, exact = row["x_z_x"], row["exact"]
    figures = {"rms": x["rms"], "p99.9": x["p999"], "max": x["max"], "non-finite": x["non_finite"]}
    figures |= {"images": exact["images"], "images exact": exact["images_exact"]}
    where = f"encode {encode} -> decode {decode},"
    causes = [f for f in report["failures"] if f["images"] == images and f["where"].startswith(where)]
    return _judged(row, causes, what=f"{where} {_count(report, images)} {images} images", figures=figures)


def reference(report: Report, *, backend: str, images: str, asked: Sequence[str]) -> Outcome:
    """Judge one backend against the trained model in float64; for the arguments see `cell`."""
    row = _find(report["references"], backend=backend, images=images)
    if row is None:
        return _unmeasured(report, (backend,), asked=asked)
    figures = {f"{level} rms": z["rms"] for level, z in row["z"].items()}
    figures |= {"bits/dim rms": row["bits_per_dim_centre"]["rms"], "x rms": row["x_from_reference_z"]["rms"]}
    what = f"{backend} against float64"
    starts = tuple(f"{side} {what}," for side in ("encode", "decode"))
    causes = [f for f in report["failures"] if f["images"] == images and f["where"].startswith(starts)]
    return _judged(row, causes, what=f"{what}, {_count(report, images)} {images} images", figures=figures)


def batches(report: Report, *, backend: str, role: str, asked: Sequence[str]) -> Outcome:
    """Judge one engine against itself at other batch sizes; for the arguments see `cell`."""
    row = _find(report["batches"], backend=backend, role=role)
    if row is None:
        return _unmeasured(report, (backend,), asked=asked)
    figures = {f"{name} rms": value["rms"] for name, value in row["split"].items()}
    causes = [f for f in report["failures"] if f["where"].startswith(f"{backend} {role} at batches")]
    sizes = spelt_sizes(row["sizes"])
    return _judged(row, causes, what=f"{backend} {role} at batches {sizes}", figures=figures)


def backend(report: Report, *, name: str, asked: Sequence[str], foreseen: Sequence[str]) -> Outcome:
    """Tell whether a backend took part.

    Args:
        report: of the verification.
        name: of the backend.
        asked: backends named by the user: those must have run.
        foreseen: backends whose rows have tests.
    """
    row = _find(report["backends"], name=name)
    if row is None or not row["used"]:
        return _unmeasured(report, (name,), asked=asked)
    if name not in foreseen:
        text = f"{name} ran although it had seemed unusable, so its figures have no tests: name it in --glow-backends"
        return Outcome(verdict="fail", text=text)
    facts = row["decoder"]
    return Outcome(verdict="pass", figures={key: facts[key] for key in ("provider", "device", "precision", "tf32")})


def verdict(report: Report, *, name: str) -> Outcome:
    """Judge one of the verdicts: `round_trip`, `likelihood`, `samples` or `weights`."""
    value = report["verdicts"].get(name)
    words = name.replace("_", " ")
    if not report["cells"]:
        return Outcome(verdict="fail", text=f"{words}: nothing was examined")
    if value == "sound":
        return Outcome(verdict="pass")
    if value == "reported":
        notes = "; ".join(report["notes"]) or "see the report"
        return Outcome(verdict="skip", text=f"{words}: reported, not gated: {notes}")
    if value == "not compared":
        reasons = [check["detail"] for check in report["weights"]["checks"] if check["found"] == "not compared"]
        return Outcome(verdict="skip", text=f"{words}: not compared: {'; '.join(reasons)}")
    failures = [failure["text"] for failure in report["failures"] if failure["verdict"] == name]
    return Outcome(verdict="fail", text=_lines([f"{words}: {value}", *failures, _repeat(report)]))


def baseline_row(report: Report, *, row: str) -> Outcome:
    """Judge one row of the baseline: nothing in it may have risen beyond the factor."""
    found = report["baseline"]
    rises = [rise["text"] for rise in found["rises"] if rise["row"] == row]
    missing = [entry["reason"] for entry in found["missing"] if entry["row"] == row]
    skipped = [entry["reason"] for entry in found["not_compared"] if entry["row"] == row]
    if rises or missing:
        changes = [f"changed since: {change}" for change in found["changes"]]
        return Outcome(verdict="fail", text=_lines([f"baseline {found['file']}", *missing, *rises, *changes]))
    if skipped:
        return Outcome(verdict="skip", text=f"not compared: {skipped[0]}")
    if row not in found["rows"]:
        return Outcome(verdict="fail", text=f"{row} was not compared with {found['file']}, for no reason that is known")
    return Outcome(verdict="pass")


def baseline_verdict(report: Report) -> Outcome:
    """Judge the comparison with the baseline as a whole: one that compared nothing is no pass."""
    found = report["baseline"]
    if found["verdict"] == "pass":
        figures = {"rows compared": found["compared"], "factor": found["factor"]}
        return Outcome(verdict="pass", figures=figures)
    lines = [f"baseline {found['file']}: {found['verdict']}"]
    lines += [rise["text"] for rise in found["rises"]]
    lines += [f"{entry['row']}: {entry['reason']}" for entry in (*found["missing"], *found["not_compared"])]
    return Outcome(verdict="fail", text=_lines(lines))


def _judged(row: Report, causes: Iterable[Report], *, what: str, figures: Mapping[str, object]) -> Outcome:
    if row["verdict"] == "pass":
        return Outcome(verdict="pass", figures=figures)
    if row["verdict"] == "reported":
        return Outcome(verdict="skip", text=f"{what}: reported, not gated", figures=figures)
    if row["verdict"] == "not judged":
        text = f"{what}: not judged: there is no yardstick for these images: give --glow-ckpt"
        return Outcome(verdict="skip", text=text, figures=figures)
    missed = [gate for gate in row["gates"] if gate["verdict"] != "pass"]
    lines = [f"{what}: {len(missed)} of {len(row['gates'])} gates missed"]
    lines += [f"  {_gate(gate)}" for gate in missed]
    lines += [f"cause: {cause}" for cause in dict.fromkeys(failure["cause"] for failure in causes)]
    return Outcome(verdict="fail", text=_lines(lines), figures=figures)


def _unmeasured(report: Report, names: Sequence[str], *, asked: Sequence[str]) -> Outcome:
    """Rows that are not there: their backend was asked for, or cannot run, or they were lost."""
    for name in names:
        row = _find(report["backends"], name=name)
        if row is not None and row["used"]:
            continue
        reason = row["reason"] if row is not None else "this release does not know it"
        if name in asked:
            return Outcome(verdict="fail", text=f"{name} was asked for and did not run: {reason}")
        return Outcome(verdict="skip", text=reason if reason.startswith(name) else f"{name} did not run: {reason}")
    return Outcome(verdict="fail", text=f"{' and '.join(names)} ran, but this was not measured, and that is no pass")


def _gate(gate: Report) -> str:
    if gate["statistic"] == "rate":
        value, limit = f"{gate['value'] or 0.0:.4%}", f"due {gate['limit']:.0%}"
    else:
        value = "not a number" if gate["value"] is None else f"{gate['value']:.3g}"
        limit = f"limit {gate['limit']:.3g}"
    return f"{gate['measure']}, {gate['statistic']}: {value}, {limit} ({gate['derivation']})"


def _lines(lines: Sequence[str]) -> str:
    shown = list(lines[:_MOST_LINES])
    if len(lines) > _MOST_LINES:
        shown.append(f"... and {len(lines) - _MOST_LINES} lines more: see --glow-json")
    return "\n".join(shown)


def _repeat(report: Report) -> str:
    return f"repeat: {report['command']}"


def _count(report: Report, images: str) -> int:
    found = _find(report["image_sets"], name=images)
    return int(found["n"]) if found is not None else 0


def _find(rows: Iterable[Report], **entries: str) -> Report | None:
    return next((row for row in rows if all(row[key] == value for key, value in entries.items())), None)
