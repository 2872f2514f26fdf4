"""Where the plugin meets pytest, once a bundle is named."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from glow_deploy._version import __version__
from glow_deploy.errors import GlowDeployError

from .items import BundleNode, FigureTest
from .measure import Measurements
from .options import Options, target_of
from .progress import TerminalLine

__all__ = ["Suite"]

_SHARED = "glow_deploy_shared"  # key of what pytest-xdist hands to its workers


class Suite:
    """Adds a node for each bundle to what pytest collects, and measures when the first of its tests comes up.

    Args:
        config: of the session.
        options: of the command line.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._options = options
        self._own: Path | None = None  # the folder that workers share, where this process made it
        given = getattr(config, "workerinput", {}).get(_SHARED)
        # A worker on another machine does not have the folder, and measures for itself.
        shared = Path(given) if given is not None and Path(given).is_dir() else None
        self._progress = TerminalLine(config)
        self._measurements = Measurements(options, progress=self._progress, shared=shared)

    @classmethod
    def of(cls, config: pytest.Config) -> Suite:
        """Read the options.

        Raises:
            pytest.UsageError: they cannot be followed; one line.
        """
        try:
            return cls(config, Options.of(config))
        except GlowDeployError as error:
            raise pytest.UsageError(" ".join(f"glow-deploy: {error}".split())) from None

    def pytest_report_header(self) -> str:
        """Say what will be verified."""
        return f"glow-deploy: {__version__}, verifying {', '.join(str(bundle) for bundle in self._options.bundles)}"

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Add the bundles to what the session collects, after the files."""
        report = yield
        if isinstance(collector, pytest.Session) and report.passed:
            report.result = [
                *(report.result or []),
                *(
                    BundleNode.of(collector, self._options, index=index, measurements=self._measurements)
                    for index in range(len(self._options.bundles))
                ),
            ]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Measure before the test begins: no time limit of a test counts it, and its progress is not captured."""
        if isinstance(item, FigureTest):
            item.prepare()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give the workers of pytest-xdist a folder for the results, so that each bundle is measured once."""
        if self._own is None:
            self._own = Path(tempfile.mkdtemp(prefix="glow-deploy-"))
            self._measurements = Measurements(self._options, progress=self._progress, shared=self._own)
        node.workerinput[_SHARED] = str(self._own)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Give the verdicts and the files in one place."""
        bundles = self._options.bundles
        found = [(bundle, self._measurements.known(index)) for index, bundle in enumerate(bundles)]
        if terminalreporter.config.get_verbosity() < 0 or not any(known for _, known in found):
            return
        terminalreporter.ensure_newline()
        terminalreporter.section("glow-deploy", sep="-")
        for bundle, known in found:
            if known is None or known.report is None:
                terminalreporter.write_line(f"{bundle}: not measured")
                continue
            verdicts = {name.replace("_", " "): value for name, value in known.report["verdicts"].items()}
            if "baseline" in known.report:
                verdicts["baseline"] = known.report["baseline"]["verdict"]
            terminalreporter.write_line(f"{bundle}: {', '.join(f'{name} {value}' for name, value in verdicts.items())}")
            for path in (self._options.json, self._options.report):
                if path is not None:
                    terminalreporter.write_line(f"wrote {target_of(path, bundle, bundles=bundles)}")

    def pytest_unconfigure(self) -> None:
        """Remove the folder that workers shared."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
