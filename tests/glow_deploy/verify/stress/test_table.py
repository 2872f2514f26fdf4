from __future__ import annotations

import io
from dataclasses import replace

from glow_deploy.verify.stress import stress_tables


def test_the_tables_fit_a_terminal(report):
    from rich.console import Console

    found, _ = report
    # Names as long as they get, and figures as wide.
    wide = replace(
        found,
        passes=tuple(replace(row, rms=1.2e30, max=3.4e38, growth=1.5e30) for row in found.passes),
        temperatures=tuple(
            replace(row, backend="onnxruntime-cuda" if row.backend == "onnxruntime-cpu" else row.backend, largest=1e38)
            for row in found.temperatures
        ),
    )
    for shown in (found, wide):
        console = Console(file=io.StringIO(), width=80)
        for part in stress_tables(shown):
            console.print(part)
        text = console.file.getvalue()
        assert max(len(line) for line in text.splitlines()) <= 80
        assert "Half-bin attack" in text
        assert "checkerboard-1" in text
        assert "…" not in text
    # No cell of the widest table is broken over two lines.
    assert text.count("1.0e38") == 14
