"""The nodes that pytest collects: a bundle, and a test for each of its figures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import BundleError, GlowDeployError, UsageError
from glow_deploy.printable import one_line
from glow_deploy.verify.backends.backend import BACKENDS
from glow_deploy.verify.regression import Baseline, Identity
from glow_deploy.verify.regression.rows import batch_name, cell_name, reference_name
from glow_deploy.verify.report.verification import Verdicts

from . import judge
from .measure import Case, Measurements
from .options import Options
from .probe import unusable_backends

__all__ = ["BundleNode", "FigureTest"]

_GOLDEN, _DATA = "golden", "data"


class BundleNode(pytest.Collector):
    """A bundle. Collecting it reads its manifest and checks its files; nothing is measured.

    Args:
        options: of the session.
        index: place of the bundle among those of the session.
        measurements: of the session.
        further: what pytest itself hands to nodes.
    """

    def __init__(self, *, options: Options, index: int, measurements: Measurements, **further: Any) -> None:
        super().__init__(**further)
        self._options = options
        self._index = index
        self._measurements = measurements

    @classmethod
    def of(cls, session: pytest.Session, options: Options, *, index: int, measurements: Measurements) -> BundleNode:
        """Make the node of one bundle; its id is the folder's path, relative to pytest's root where it lies in it."""
        given = options.bundles[index]
        path = Path(os.path.normpath(given.absolute()))  # a link keeps its own name
        inside = path.is_relative_to(session.config.rootpath)
        name = path.relative_to(session.config.rootpath).as_posix() if inside else path.as_posix()
        # pytest's hooks for a node ask for a path that exists.
        place = path if path.exists() else session.path
        return cls.from_parent(
            session, name=name, nodeid=name, path=place, options=options, index=index, measurements=measurements
        )

    def collect(self) -> Iterator[FigureTest]:
        """Name a test for each figure.

        Raises:
            CollectError: the bundle is damaged or cannot be verified with these options; one line.
        """
        try:
            found = list(self._tests())
        except GlowDeployError as error:
            raise self.CollectError(one_line(error)) from None
        yield from found

    def _tests(self) -> Iterator[FigureTest]:
        options, settings = self._options, self._options.settings
        bundle = Bundle.open(options.bundles[self._index])
        for name in bundle.manifest.files:
            bundle.file(name)
        sets = _image_sets(bundle, data=settings.data is not None, ckpt=settings.ckpt is not None)
        asked = settings.backends or ()
        unusable = unusable_backends(bundle, device=settings.device, ckpt=settings.ckpt)
        foreseen = asked or tuple(name for name in BACKENDS if name not in unusable)
        running = tuple(name for name in asked if name not in unusable)
        baseline = _baseline_of(bundle, options.baselines)
        case = Case(index=self._index, bundle=bundle.path, backends=running or None, baseline=baseline)

        def test(name: str, look: judge.Look, *backends: str) -> FigureTest:
            absent = [other for other in backends if other in asked and other in unusable]
            refusal = f"{absent[0]} was asked for and cannot run here: {unusable[absent[0]]}" if absent else ""
            if asked and not running and not refusal:
                refusal = f"no backend that was asked for can run here: {'; '.join(unusable[name] for name in asked)}"
            return FigureTest.from_parent(
                self, name=name, case=case, look=look, refusal=refusal, measurements=self._measurements
            )

        for name in asked or BACKENDS:
            look: judge.Look = partial(judge.backend, name=name, asked=asked, foreseen=foreseen)
            yield test(f"backend[{name}]", look, name)
        for images, has_reference in sets.items():
            for name in foreseen if has_reference else ():
                look = partial(judge.reference, backend=name, images=images, asked=asked)
                yield test(reference_name(backend=name, images=images), look, name)
            for encode in foreseen:
                for decode in foreseen:
                    look = partial(judge.cell, encode=encode, decode=decode, images=images, asked=asked)
                    yield test(cell_name(encode=encode, decode=decode, images=images), look, encode, decode)
        for name in foreseen:
            for role in ("encoder", "decoder"):
                look = partial(judge.batches, backend=name, role=role, asked=asked)
                yield test(batch_name(backend=name, role=role), look, name)
        for field in fields(Verdicts):
            yield test(f"verdict[{field.name}]", partial(judge.verdict, name=field.name))
        if baseline is not None:
            for name, row in baseline.rows.items():
                yield test(f"baseline:{name}", partial(judge.baseline_row, row=name), *row.backends)
            yield test("verdict[baseline]", judge.baseline_verdict)


class FigureTest(pytest.Item):
    """One figure of a bundle's verification.

    Args:
        case: the bundle.
        look: judges the figure.
        refusal: why it cannot be measured although it was asked for; empty otherwise.
        measurements: of the session.
        further: what pytest itself hands to nodes.
    """

    def __init__(
        self, *, case: Case, look: judge.Look, refusal: str, measurements: Measurements, **further: Any
    ) -> None:
        super().__init__(**further)
        self._case = case
        self._look = look
        self._refusal = refusal
        self._measurements = measurements
        self.add_marker("glow_deploy")

    def prepare(self) -> None:
        """Measure the bundle if no test has done so before."""
        if not self._refusal:
            self._measurements.of(self._case)

    def setup(self) -> None:
        """Stop as an error, not as a failure, where there is nothing to judge."""
        error = self._refusal or self._measurements.of(self._case).error
        if error:
            pytest.fail(error, pytrace=False)

    def runtest(self) -> None:
        """Judge the figure."""
        report = self._measurements.of(self._case).report
        assert report is not None
        outcome = self._look(report)
        self.user_properties += [(name, value) for name, value in outcome.figures.items()]
        if outcome.verdict == "skip":
            pytest.skip(outcome.text)
        if outcome.verdict == "fail":
            pytest.fail(f"{self._case.bundle}: {outcome.text}", pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the test is, for pytest's summaries."""
        return self.path, 0, self.name


def _image_sets(bundle: Bundle, *, data: bool, ckpt: bool) -> Mapping[str, bool]:
    """Name the image sets; true where latents and bits/dim have a float64 reference on them."""
    golden = bundle.manifest.golden_source is not None
    if not golden and not data:
        raise UsageError(f"{bundle.path} has no golden vectors: give images with --glow-data, and --glow-ckpt")
    if not golden and not ckpt:
        raise UsageError(
            f"{bundle.path} has no golden vectors, so there is nothing to compare its latents with: give --glow-ckpt"
        )
    return {**({_GOLDEN: True} if golden else {}), **({_DATA: ckpt} if data else {})}


def _baseline_of(bundle: Bundle, baselines: tuple[Baseline, ...]) -> Baseline | None:
    """Find the one baseline that is of a bundle; none is needed where none is given."""
    if not baselines:
        return None
    identity = Identity.of(bundle.manifest)
    found = [baseline for baseline in baselines if not baseline.identity.differences(identity)]
    if len(found) > 1:
        raise UsageError(f"{' and '.join(b.file for b in found)} are baselines of {bundle.path}: give one")
    if not found and len(baselines) == 1:
        baselines[0].require(identity)
    if not found:
        raise BundleError(f"{bundle.path}: none of the {len(baselines)} baselines is of this bundle")
    return found[0]
