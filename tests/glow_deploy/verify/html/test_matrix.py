from __future__ import annotations

import pytest
from report_pages import Page

from glow_deploy.verify.html import render_report


@pytest.mark.parametrize("n", [1, 2, 6])
def test_the_matrix_has_a_cell_for_every_pair(make_report, all_backends, n):
    page = Page(render_report(make_report(all_backends[:n], full=False)))
    cells = [a for a in page.named("td") if a.get("class", "").startswith("shade-")]
    assert len(cells) == n * n


def test_a_pair_that_was_not_measured_is_not_a_pass(make_report, all_backends):
    report = make_report(all_backends[:2], full=False)
    del report["cells"][1]
    page = Page(render_report(report))
    assert len([a for a in page.named("td") if a.get("class", "").startswith("shade-")]) == 3
    assert len([a for a in page.named("td") if a.get("class") == "empty"]) == 1
    assert "not measured" in page.text
