from __future__ import annotations

from types import SimpleNamespace

import pytest

from glow_deploy.verify.report.rows import Judged

MET, MISSED = SimpleNamespace(passed=True), SimpleNamespace(passed=False)


@pytest.mark.parametrize(
    ("gates", "reported", "verdict"),
    [
        ((MET, MET), False, "pass"),
        ((MET, MISSED), False, "fail"),
        ((), False, "fail"),  # nothing was held to anything, and that is no pass
        ((), True, "reported"),
        ((MET,), True, "reported"),
        ((MISSED,), True, "fail"),
    ],
)
def test_the_verdict_on_figures(gates, reported, verdict):
    row = Judged(gates=gates, reported=reported)
    assert row.verdict == verdict
    assert row.passed == (verdict != "fail")
