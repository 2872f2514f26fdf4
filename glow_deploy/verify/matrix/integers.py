"""Exact graphs compared for equality: integers with integers, pixels with pixels, nothing with a tolerance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from glow_deploy.engines.exact import ExactEngine
from glow_deploy.numerics.gates import GateResult
from glow_deploy.verify.backends.backend import Backend
from glow_deploy.verify.report.exact import ExactReport, ExactRow
from glow_deploy.verify.report.verification import GOLDEN_SET, Failure

from .images import ImageBatch, Images

__all__ = ["INTEGERS", "PIXELS", "compare_integers", "decode", "exact_failures"]

_SIZES = (1, 2, 3, 5)  # of batches, for one backend against itself
_FEW = 11  # images for them: the sum of the sizes
INTEGERS, PIXELS, BATCHES = "integers", "pixels", "integers by batch"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Integers:
    z: tuple[np.ndarray, ...]
    in_range: np.ndarray


def compare_integers(
    backends: Sequence[Backend], sources: Sequence[Images], golden: tuple[np.ndarray, ...] | None, *, batch: int
) -> ExactReport:
    """Compare integers of every encoder, and pixels of every encoder and decoder, for equality; and what is in range.

    Args:
        backends: those whose engines are `ExactEngine`s are compared; of others no integers are known, and where there
            are none but others, there are no rows, which is a failure.
        sources: sets of images.
        golden: the integers of the golden images as the reference gives them.
        batch: images at a time.
    """
    backends = [part for part in backends if isinstance(part.encoder, ExactEngine)]
    if not backends:
        return ExactReport(rows=())
    rows: dict[tuple[str, str, str, str], ExactRow] = {}
    for source in sources:
        for images in source.batches(batch):
            for row in _compare(backends, source.name, images, golden if source.name == GOLDEN_SET else None):
                key = (row.what, row.images, row.first, row.second)
                rows[key] = row if key not in rows else _sum(rows[key], row)
    few = next(sources[0].batches(_FEW))
    for backend in backends:
        row = _by_batch(backend, sources[0].name, few)
        rows[row.what, row.images, row.first, row.second] = row
    return ExactReport(rows=tuple(rows.values()))


def exact_failures(report: ExactReport, reasons: Mapping[str, str] | None = None) -> tuple[Failure, ...]:
    """Turn every comparison that found a difference, or an image out of range, into a failure.

    Args:
        report: the comparisons.
        reasons: why integers are not exact on a backend, by its name, where the canary told.
    """
    known = reasons or {}
    found = []
    if not report.rows:
        gate = GateResult(
            quantity="comparisons of integers",
            statistic="count",
            level=None,
            value=0.0,
            limit=1.0,
            passed=False,
            derivation="what was not compared is not known to be equal",
            verdict="round_trip",
        )
        cause = "no backend that was chosen gives integers: name onnxruntime-cpu or openvino-cpu too"
        found.append(
            Failure(verdict="round_trip", where="no backend", images=GOLDEN_SET, level=None, gate=gate, cause=cause)
        )
    for row in report.rows:
        told = [f"{name}: {known[name]}" for name in dict.fromkeys((row.first, row.second)) if name in known]
        for quantity, count, cause in (
            (
                f"differing {row.what}",
                row.differing,
                "; ".join(told)
                or "a weight was changed, or the backend rounds, sums or multiplies in another way than float32",
            ),
            (
                "images out of range",
                row.outside if row.what == PIXELS and row.first == row.second else 0,  # each encoder has one such row
                "their integers leave the range that is proven exact: these images are too unlike those of the "
                "calibration",
            ),
        ):
            if not count:
                continue
            gate = GateResult(
                quantity=quantity,
                statistic="count",
                level=None,
                value=float(count),
                limit=0.0,
                passed=False,
                derivation="integers are equal or they are not",
                verdict="round_trip",
            )
            where = f"{row.first} and {row.second}, {row.n + row.outside} {row.images} images"
            found.append(
                Failure(verdict="round_trip", where=where, images=row.images, level=None, gate=gate, cause=cause)
            )
    return tuple(found)


def _compare(
    backends: Sequence[Backend], name: str, images: ImageBatch, golden: tuple[np.ndarray, ...] | None
) -> Iterator[ExactRow]:
    encoded = {backend.name: _encode(backend, images.x, images.y) for backend in backends}
    first, *others = encoded
    if golden is not None:
        part = tuple(level[images.first : images.first + len(images.x)] for level in golden)
        yield _row(INTEGERS, name, GOLDEN_SET, first, _differing(part, encoded[first]), encoded[first])
    for other in others:
        values, differing = _differing(encoded[first].z, encoded[other])
        flags = encoded[first].in_range, encoded[other].in_range
        found = (values + len(flags[0]), differing + int((flags[0] != flags[1]).sum()))
        yield _row(INTEGERS, name, first, other, found, encoded[other])
    for encoder, integers in encoded.items():
        for decoder in backends:
            x, kept = decode(decoder, integers.z, images.y)
            inside = integers.in_range
            differing = int((x[inside] != images.x[inside]).sum()) + int((~kept[inside]).sum())
            values = x[inside].size + int(inside.sum())
            yield _row(PIXELS, name, encoder, decoder.name, (values, differing), integers)


def _by_batch(backend: Backend, name: str, images: ImageBatch) -> ExactRow:
    whole = _encode(backend, images.x, images.y)
    x, _ = decode(backend, whole.z, images.y)
    values = differing = first = 0
    for size in _SIZES:
        rows = slice(first, min(first + size, len(images.x)))
        first += size
        if rows.stop <= rows.start:
            break
        y = None if images.y is None else images.y[rows]
        part, z = _encode(backend, images.x[rows], y), tuple(level[rows] for level in whole.z)
        found = _differing(z, part)
        inside = whole.in_range[rows]
        back, wanted = decode(backend, z, y)[0][inside], x[rows][inside]
        values = values + found[0] + wanted.size
        differing = differing + found[1] + int((back != wanted).sum())
    return _row(BATCHES, name, backend.name, backend.name, (values, differing), whole)


def _row(what: str, images: str, first: str, second: str, found: tuple[int, int], integers: _Integers) -> ExactRow:
    values, differing = found
    inside = int(integers.in_range.sum())
    return ExactRow(
        what=what,
        images=images,
        first=first,
        second=second,
        n=inside,
        values=values,
        differing=differing,
        outside=len(integers.in_range) - inside,
    )


def _sum(first: ExactRow, second: ExactRow) -> ExactRow:
    return replace(
        first,
        n=first.n + second.n,
        values=first.values + second.values,
        differing=first.differing + second.differing,
        outside=first.outside + second.outside,
    )


def _differing(wanted: Sequence[np.ndarray], found: _Integers) -> tuple[int, int]:
    """Numbers compared and numbers that differ, of the images in range; NaN differs from everything."""
    inside = found.in_range
    pairs = [(want[inside], have[inside]) for want, have in zip(wanted, found.z, strict=True)]
    return sum(want.size for want, _ in pairs), sum(int((want != have).sum()) for want, have in pairs)


def _encode(backend: Backend, x: np.ndarray, y: np.ndarray | None) -> _Integers:
    engine = backend.encoder
    assert isinstance(engine, ExactEngine)
    found = engine.integers.run({"x": x} if y is None else {"x": x, "y": y})
    names = [spec.name for spec in engine.outputs if spec.name[:1] == "z"]
    return _Integers(z=tuple(found[name].copy() for name in names), in_range=found["in_range"] == 1.0)


def decode(backend: Backend, z: Sequence[np.ndarray], y: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Decode integers on a backend whose engines are `ExactEngine`s.

    Args:
        backend: of that kind.
        z: z1 ... zL.
        y: class labels [N].

    Returns:
        Pixels [N,C,H,W], and whether each image is in range.
    """
    engine = backend.decoder
    assert isinstance(engine, ExactEngine)
    feeds = {f"z{level}": part for level, part in enumerate(z, start=1)}
    feeds["as_normal"] = np.zeros((len(z[0]), 1, 1, 1), dtype=np.float32)
    found = engine.integers.run(feeds if y is None else {**feeds, "y": y})
    return found["x"].copy(), found["in_range"] == 1.0
