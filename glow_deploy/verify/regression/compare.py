"""Every figure of a verification against the same figure of a stored one.

A figure may grow to `factor` times the stored one. The limit never falls below a few float32 roundings of the value's
own size, the floor that `verify` gives its own limits, so that 1e-9 that becomes 2e-9 is no regression. This is a
ratchet beside the absolute limits and says nothing about them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from glow_deploy.artifact.figures import Figures as Stored
from glow_deploy.errors import UsageError
from glow_deploy.numerics.gates import Factors, bits_limits, factors_for, image_limits, latent_limits
from glow_deploy.numerics.statistics import CONFIDENCE, failure_rate_bound
from glow_deploy.verify.report.baseline import BaselineReport, Comparison, RowComparison
from glow_deploy.verify.report.verification import VerifyReport

from .baseline import Baseline, Identity, parse_report
from .rows import Exact, Figures, Row

__all__ = ["DEFAULT_FACTOR", "check_factor", "compare"]

DEFAULT_FACTOR = 1.5
_FEW_VALUES = 1000  # fewer than this have no 99.9th percentile below their maximum
_SPREAD = 3.0  # of Gaussian errors 99.9 % lie within 3.3 rms: the floors are given for the rms


def check_factor(factor: float) -> None:
    """Refuse a factor that no sound run could keep to.

    Raises:
        UsageError: it is below 1 or no finite number.
    """
    if not 1.0 <= factor < math.inf:
        raise UsageError(f"the baseline factor is {factor:g}; it must be a finite number of at least 1")


def compare(
    report: VerifyReport | Mapping[str, Any], baseline: Baseline, *, factor: float = DEFAULT_FACTOR
) -> BaselineReport:
    """Compare a verification with a stored one.

    rms and, of 1,000 values or more, p99.9 of x -> z -> x, of z -> x -> z and of the latents per level, of bits/dim and
    of decoded pictures; counts of non-finite values; the share of images that come back exactly. Rows whose images
    differ in number or source, or whose backend did not run now, are listed as not compared.

    Args:
        report: of `verify`, or its `to_dict`.
        baseline: of `read_baseline`.
        factor: what a figure may grow to, as a multiple of the stored one; at least 1.

    Returns:
        The outcome; a rise is a result, not an exception.

    Raises:
        UsageError: the baseline is of another model, or the factor is out of range.
    """
    check_factor(factor)
    values = report.to_dict() if isinstance(report, VerifyReport) else report
    now = parse_report(values, file="this verification")
    baseline.require(now.identity)
    rows: list[RowComparison] = []
    missing: dict[str, str] = {}
    left_out: dict[str, str] = {}
    floors = _Floors(now.identity)
    for name, stored in baseline.rows.items():
        row = now.rows.get(name)
        reason = _incomparable(stored, row, now, baseline)
        if reason is not None:
            left_out[name] = reason
        elif row is None:
            missing[name] = _why_missing(stored, now)
        else:
            gone = [quantity for quantity in stored.measures if quantity not in row.measures]
            if gone or (stored.exact is not None and row.exact is None):
                missing[name] = f"was measured then, is not now: {', '.join(gone) or 'exact images'}"
            rows.append(RowComparison(name=name, figures=tuple(_figures(row, stored, factor=factor, floors=floors))))
    return BaselineReport(
        file=baseline.file,
        factor=factor,
        rows=tuple(rows),
        missing=missing,
        not_compared=left_out,
        new=tuple(name for name in now.rows if name not in baseline.rows),
        changes=tuple(_changes(now, baseline)),
    )


def _incomparable(stored: Row, row: Row | None, now: Baseline, then: Baseline) -> str | None:
    """Why a row of the baseline cannot be compared, for a reason that is no fault of the model."""
    for backend in stored.backends:
        machine = now.machines.get(backend)
        if machine is None or not machine.used:
            return f"{backend} did not run now: {machine.reason if machine else 'this release does not know it'}"
    images, before = now.image_sets.get(stored.images), then.image_sets[stored.images]
    if images is not None and images != before:
        return (
            f"other {stored.images} images: {images.n} {images.source} now, {before.n} {before.source} then; verify on "
            "the same ones"
        )
    if row is not None and row.sizes != stored.sizes:
        return (
            f"other batch sizes: {_listed(row.sizes)} now, {_listed(stored.sizes)} then; verify with the same --batch"
        )
    return None


def _why_missing(stored: Row, now: Baseline) -> str:
    if stored.images not in now.image_sets:
        return f"was measured then, is not now: there are no {stored.images} images; give the same --data"
    return "was measured then, is not now"


def _figures(row: Row, stored: Row, *, factor: float, floors: _Floors) -> Iterator[Comparison]:
    for quantity, then in stored.measures.items():
        figures = row.measures.get(quantity)
        if figures is not None:
            yield from _errors(row.name, quantity, figures, then, factor=factor, floor=floors.of(figures, then))
    if row.exact is not None and stored.exact is not None:
        yield _exactness(row.name, row.exact, stored.exact)


def _errors(
    row: str, quantity: str, now: Figures, then: Figures, *, factor: float, floor: float
) -> Iterator[Comparison]:
    yield Comparison(
        row=row,
        quantity=quantity,
        statistic="non-finite",
        level=now.level,
        stored=float(then.non_finite),
        value=float(now.non_finite),
        limit=float(then.non_finite),
        passed=now.non_finite <= then.non_finite,
        derivation="no more than then",
    )
    statistics = [("rms", now.rms, then.rms, floor)]
    if min(now.n, then.n) >= _FEW_VALUES:
        statistics.append(("p99.9", now.p999, then.p999, floor * _SPREAD))
    for statistic, value, stored, least in statistics:
        if stored is None:
            continue  # whatever it is now is no worse, and the counts of non-finite values are compared above
        limit, derivation = factor * stored, f"{factor:g} x {stored:.2e}"
        if limit < least:
            limit, derivation = least, f"a few float32 roundings, more than {derivation}"
        yield Comparison(
            row=row,
            quantity=quantity,
            statistic=statistic,
            level=now.level,
            stored=stored,
            value=value,
            limit=limit,
            passed=value is not None and value <= limit,
            derivation=derivation,
        )


def _exactness(row: str, now: Exact, then: Exact) -> Comparison:
    """Images, not pixels: the binomial bound holds for independent trials alone."""
    lost = failure_rate_bound(then.images - then.images_exact, then.images)
    limit = 1.0 - lost
    rate = now.images_exact / now.images
    return Comparison(
        row=row,
        quantity="exact images",
        statistic="rate",
        level=None,
        stored=then.images_exact / then.images,
        value=rate,
        limit=limit,
        passed=rate >= limit,
        derivation=f"{CONFIDENCE:.0%} bound of {then.images_exact} of {then.images} images",
    )


class _Floors:
    """A few float32 roundings of the size of what is compared, as the limits of `verify` have them."""

    def __init__(self, identity: Identity) -> None:
        self._factors: Factors = factors_for(identity.precision)
        self._n_bits = identity.n_bits

    def of(self, now: Figures, then: Figures) -> float:
        """The floor of an rms."""
        # The size that was expected then: a run gone wrong does not widen its own floor.
        scale = next((size for size in (then.scale, now.scale) if size is not None), 1.0)
        nothing = Stored(rms=0.0, p999=0.0, max=0.0)
        if now.kind == "x":
            return image_limits(nothing, factor=1.0, factors=self._factors, n_bits=self._n_bits).floor
        if now.kind == "z":
            return latent_limits(nothing, factor=1.0, factors=self._factors, scale=scale).floor
        return bits_limits(nothing, factor=1.0, factors=self._factors, scale=scale).floor


def _changes(now: Baseline, then: Baseline) -> Iterator[str]:
    """What else is different: the first thing to look at when a figure rose."""
    for name, digest in now.files.items():
        if name in then.files and then.files[name] != digest:
            yield f"{name}: another file than then"
    for name, machine in now.machines.items():
        before = then.machines.get(name)
        if before is None or not (before.used and machine.used):
            continue
        for what, a, b in (("provider", before.provider, machine.provider), ("device", before.device, machine.device)):
            if a != b:
                yield f"{name}: {what} {a} then, {b} now"
        for package in sorted({*before.versions, *machine.versions}):
            a, b = (versions.get(package, "none") for versions in (before.versions, machine.versions))
            if a != b:
                yield f"{name}: {package} {a} then, {b} now"


def _listed(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes))
