from __future__ import annotations

import re

from report_pages import Page

from glow_deploy.verify.html import render_report


def test_a_gate_without_a_verdict_is_a_failure(make_report):
    report = make_report(full=False)
    del report["cells"][0]["gates"][1]["verdict"]
    text = Page(render_report(report)).text
    assert re.search(r"x -> z -> x golden rms .*? fail", text)
