"""What was run: model and bundle, backends as they really ran, limits and their derivation, the machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .blocks import Cell, Column, Reproduce, Section, Table
from .evidence import Evidence, gates_of
from .formats import count, identity, number, of_limit
from .tables import mark, muted, name, right, text

__all__ = ["backends_section", "environment_section", "identity_rows", "limits_section", "model_words"]


def model_words(bundle: Mapping[str, Any]) -> str:
    """The model in one line; empty where nothing is known of it."""
    model = bundle.get("model") or {}
    if not model.get("image_size"):
        return ""
    size = "x".join(str(side) for side in model["image_size"])
    coupling = str(model.get("coupling"))
    if coupling == "affine":
        coupling += ", bounded scale" if model.get("bounded_scale") else ", unbounded scale"
    classes = f", {model['num_classes']} classes" if model.get("num_classes") else ""
    return (
        f"{size}x{model.get('channels')}, {model.get('n_bits')} bits, L={model.get('levels')} "
        f"K={model.get('steps')} width {model.get('width')}, {coupling}, {model.get('permutation')} 1x1{classes}"
    )


def identity_rows(report: Mapping[str, Any], *, date: str) -> tuple[tuple[str, str], ...]:
    """What the verdicts are about, for the first screen."""
    bundle = report.get("bundle") or {}
    used = [str(backend.get("name")) for backend in report.get("backends") or () if backend.get("used")]
    images = [f"{count(s.get('n'))} {s.get('name')}" for s in report.get("image_sets") or ()]
    rows = [
        ("Bundle", str(bundle.get("path") or "")),
        ("Model", model_words(bundle)),
        ("Model id", identity(bundle["model_id"], length=16) if bundle.get("model_id") else ""),
        ("Precision", str(bundle.get("precision") or "")),
        ("Weights", str(bundle.get("weights") or "")),
        ("Backends", ", ".join(used)),
        ("Images", ", ".join(images)),
        ("Date", date),
    ]
    return tuple((label, value) for label, value in rows if value)


def backends_section(report: Mapping[str, Any]) -> Section | None:
    """Each backend: what was asked for, what a canary convolution says really ran, and why others are absent."""
    backends = list(report.get("backends") or ())
    if not backends:
        return None
    rows, canaries = [], 0
    for backend in backends:
        if not backend.get("used"):
            continue
        engine = backend.get("encoder") or {}
        other = backend.get("decoder") or {}
        canary = backend.get("canary")
        canaries += bool(canary)
        rows.append(
            (
                name(backend.get("name")),
                text(_both(engine, other, "provider")),
                text(_both(engine, other, "device")),
                text(_both(engine, other, "precision")),
                text(_both(engine, other, "tf32", words={True: "on", False: "off", None: "not known"})),
                _detected(canary),
                right(number(canary.get("error")) if canary else "none"),
                muted(", ".join(f"{k} {v}" for k, v in (engine.get("versions") or {}).items())),
            )
        )
    reproduce = Reproduce(command=str(report.get("command") or ""), key="backends")
    blocks = []
    if rows:
        blocks.append(
            Table(
                title="Backends that ran",
                columns=(
                    *(
                        Column(label=c)
                        for c in ("Backend", "Provider", "Device", "Precision", "TF32 setting", "Canary")
                    ),
                    Column(label="Canary error", right=True),
                    Column(label="Versions"),
                ),
                rows=tuple(rows),
                caption="The canary is a convolution whose result tells float32, TF32, float16 and bfloat16 apart: the "
                "mode that was detected, whatever was asked for; its error is relative, rms."
                if canaries
                else "Canary: not measured.",
                reproduce=reproduce,
            )
        )
    absent = [backend for backend in backends if not backend.get("used")]
    if absent:
        blocks.append(
            Table(
                title="Backends that did not run",
                columns=(Column(label="Backend"), Column(label="Reason")),
                rows=tuple((name(backend.get("name")), text(backend.get("reason"))) for backend in absent),
                reproduce=reproduce,
            )
        )
    return Section(id="backends", title="Backends and TF32", blocks=tuple(blocks))


def limits_section(report: Mapping[str, Any]) -> Section | None:
    """Every limit with its derivation: for each measure the figure nearest to it."""
    n_bits = int(report.get("n_bits") or 8)
    groups: dict[tuple[str, str, str, str], list[Evidence]] = {}
    for gate in gates_of(report):
        groups.setdefault((gate.part, gate.images, gate.quantity, gate.statistic), []).append(gate)
    if not groups:
        return None
    rows = []
    for (_, images, quantity, statistic), gates in groups.items():
        worst = max(gates, key=lambda gate: gate.severity)
        ratio = of_limit(worst.ratio).removesuffix(" of its limit") if math.isfinite(worst.ratio) else "missed"
        rows.append(
            (
                name(quantity),
                text(images or "batches"),
                text(statistic),
                right(worst.value_text(n_bits)),
                right(worst.limit_text(n_bits)),
                right(ratio if statistic not in ("non-finite", "count", "rate") else ""),
                _derivation(worst),
                text(f"{worst.where}" + (f" (worst of {len(gates)})" if len(gates) > 1 else "")),
                mark("pass" if worst.passed else "fail"),
            )
        )
    table = Table(
        title=f"{len(rows)} limits",
        columns=(
            Column(label="Measure"),
            Column(label="Images"),
            Column(label="Statistic"),
            Column(label="Worst", right=True),
            Column(label="Limit", right=True),
            Column(label="Of limit", right=True),
            Column(label="Derivation"),
            Column(label="Where"),
            Column(label="Verdict"),
        ),
        rows=tuple(rows),
        caption="Derivations are in units of x, z or bits/dim; x is shown in pixel steps.",
        folded=len(rows) > 12,
        reproduce=Reproduce(command=str(report.get("command") or ""), key="cells[].gates"),
    )
    sources = tuple(
        f"{images.get('name')}: the yardstick is {(images.get('yardstick') or {}).get('source')}."
        for images in report.get("image_sets") or ()
        if (images.get("yardstick") or {}).get("source")
    )
    return Section(
        id="limits",
        title="Limits",
        lead="A limit is a factor times the yardstick, the trained model's own float32 error, between a floor of a few "
        "roundings and a ceiling beyond which no model is sound. The maximum is reported, not gated: it grows with the "
        "number of images.",
        notes=sources,
        blocks=(table,),
    )


def environment_section(report: Mapping[str, Any]) -> Section | None:
    """Machine, versions and the digests of the bundle's files."""
    environment = report.get("environment") or {}
    bundle = report.get("bundle") or {}
    rows: list[tuple[str, str]] = [
        ("Python", str(environment.get("python") or "")),
        ("Platform", str(environment.get("platform") or "")),
        ("Machine", str(environment.get("machine") or "")),
        ("Processors", count(environment["cpus"]) if environment.get("cpus") else ""),
    ]
    rows += [(str(package), str(version)) for package, version in (environment.get("versions") or {}).items()]
    made = ", ".join(f"{package} {version}" for package, version in (bundle.get("made_with") or {}).items())
    rows += [("Bundle made with", made), ("Golden images", str(bundle.get("golden_source") or ""))]
    rows += [("Duration", f"{number(report['seconds'])} s" if report.get("seconds") is not None else "")]
    rows = [row for row in rows if row[1]]
    digests = [(str(file), str(digest)) for file, digest in (bundle.get("files") or {}).items()]
    if bundle.get("model_id"):
        digests.append(("model id", str(bundle["model_id"])))
    if not rows and not digests:
        return None
    reproduce = Reproduce(command=str(report.get("command") or ""), key="environment")
    blocks = [_pairs("Machine and versions", rows, reproduce)] if rows else []
    blocks += [_pairs("sha256", digests, Reproduce(command=reproduce.command, key="bundle"))] if digests else []
    return Section(id="environment", title="Environment", blocks=tuple(blocks))


def _pairs(title: str, rows: Sequence[tuple[str, str]], reproduce: Reproduce) -> Table:
    return Table(
        title=title,
        columns=(Column(label="What"), Column(label="Value")),
        rows=tuple((name(label), Cell(text=value, kind="code")) for label, value in rows),
        reproduce=reproduce,
    )


def _derivation(gate: Evidence) -> Cell:
    return text(gate.derivation or "none given")


def _both(
    encoder: Mapping[str, Any], decoder: Mapping[str, Any], key: str, words: Mapping[Any, str] | None = None
) -> str:
    """A fact of both engines; twice where they differ."""
    first, second = encoder.get(key), decoder.get(key)
    spell = (words or {}).get
    one, two = (spell(value, str(value)) for value in (first, second))
    return one if one == two else f"encoder {one}, decoder {two}"


def _detected(canary: Mapping[str, Any] | None) -> Cell:
    if not canary:
        return muted("not measured")
    detected = str(canary.get("detected"))
    words = str(canary.get("text") or detected)
    reason = f": {canary['reason']}" if canary.get("reason") else ""
    return Cell(text=words + reason, kind="text" if detected == "fp32" else "fail")
