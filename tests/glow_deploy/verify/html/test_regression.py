from __future__ import annotations

from report_pages import Page

from glow_deploy.verify.html import render_report


def test_the_baseline_has_a_verdict_of_its_own(make_report):
    rose = Page(render_report(make_report(failing=True))).text
    assert "Failed: figures rose or are missing: 7 rows against baseline.json" in rose
    assert "9.90e-4 2.60e-7 1.5 x the stored 1.7e-07" in rose
    assert "1.70e-7 not finite 2.60e-7" in rose
    assert "tensorrt->tensorrt[golden] missing the backend is not here" in rose
    calm = Page(render_report(make_report())).text
    assert "No figure rose beyond its limit: 7 rows" in calm
    assert "What rose" not in calm
    report = make_report()
    report["baseline"]["verdict"] = "nothing compared"
    report["baseline"]["compared"] = 0
    assert Page(render_report(report)).text.count("and that is no pass") == 2
