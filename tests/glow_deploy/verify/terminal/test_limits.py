from __future__ import annotations

import io

from glow_deploy.verify import report_tables


def printed(report, *, width=80, **options):
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width)
    console.print(report_tables(report, **options))
    return console.file.getvalue()


def test_every_limit_is_printed_with_its_derivation(report):
    text = printed(report, width=200, verbose=True)
    for gate in report.cells[-1].gates:
        if gate.statistic == "rms":
            assert gate.derivation in text
    assert "Limits" not in printed(report)
