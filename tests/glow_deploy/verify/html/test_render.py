from __future__ import annotations

import base64
import copy
import hashlib
import subprocess
import sys

import pytest
from report_pages import Page, replaced

from glow_deploy.errors import MissingDependencyError, UsageError
from glow_deploy.verify.html import render_report

MINIMAL = {
    "schema": "glow_deploy.verify",
    "verdicts": {"round_trip": "unsound", "likelihood": "sound", "samples": "reported"},
}
HOSTILE = """</style></script><script>alert(1)</script><img src=x onerror=alert(2)>"'&{{ 7*7 }}"""


def test_nothing_points_outside_the_file(full):
    for tag, attributes in full.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset", "style"):
            if name in attributes:
                assert attributes[name].startswith(("#", "data:image/png;base64,")), (tag, name, attributes[name])
        assert not [name for name in attributes if name.startswith("on")], tag
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in full.tags}
    assert "url(" not in full.raw["style"]
    assert "@import" not in full.raw["style"]
    assert "http" not in full.raw["style"] + full.raw["script"]
    assert len(full.named("img")) == 6


def test_the_policy_allows_nothing_but_the_pages_own_style_and_script(full):
    (policy,) = [meta["content"] for meta in full.named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(full.raw[kind].encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def test_ids_are_unique_and_every_reference_to_one_resolves(full):
    ids = [attributes["id"] for _, attributes in full.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = [a["href"][1:] for a in full.named("a")]
    wanted += [name for _, a in full.tags for name in a.get("aria-labelledby", "").split()]
    assert len(wanted) > 30
    assert set(wanted) <= set(ids)


@pytest.mark.parametrize("failing", [False, True])
def test_untrusted_text_stays_text(make_report, make_worst, failing):
    report = make_report(("onnxruntime-cpu", "tensorrt"), failing=failing)
    calm = Page(render_report(replaced(report, "calm"), pictures=[make_worst("calm", encode="calm", decode="calm")]))
    wild = render_report(
        replaced(report, HOSTILE), pictures=[make_worst(HOSTILE, encode=HOSTILE, decode=HOSTILE)], date=HOSTILE
    )
    assert [tag for tag, _ in Page(wild).tags] == [
        tag for tag, _ in Page(render_report(replaced(report, "calm"), pictures=[
            make_worst("calm", encode="calm", decode="calm")], date="calm")).tags
    ]  # fmt: skip
    assert "<script>alert" not in wild
    assert "<img src=x" not in wild
    assert "alert(1)" in Page(wild).text
    assert "{{ 7*7 }}" in Page(wild).text
    assert len(calm.named("script")) == 1


def test_no_line_ends_within_a_figure(make_report):
    page = render_report(make_report())
    assert 'rms <span class="whole">4.0e-7</span>' in page
    evil = {**make_report(), "notes": ["<i>1.0e-7</i> & -2e-10"]}
    assert '&lt;i&gt;<span class="whole">1.0e-7</span>&lt;/i&gt; &amp; <span class="whole">-2e-10</span>' in (
        render_report(evil)
    )


def test_hostile_keys_stay_text_too(make_report):
    report = make_report()
    report["environment"]["versions"][HOSTILE] = "1"
    report["budget"]["predicted_rms"][HOSTILE] = 1e-3
    report["stress"]["first_non_finite"] = {HOSTILE: 2.0}
    page = Page(render_report(report))
    assert len(page.named("script")) == 1
    assert not page.named("img")


def test_json_as_written_by_verify_is_taken_as_it_is(make_report):
    import json

    report = make_report(failing=True)
    assert render_report(json.loads(json.dumps(report, allow_nan=False))) == render_report(report)


def test_the_report_is_left_alone_and_the_page_is_the_same_every_time(make_report, make_worst):
    report = make_report(("onnxruntime-cpu", "tensorrt"), failing=True)
    before = copy.deepcopy(report)
    first = render_report(report, pictures=[make_worst("golden")])
    assert report == before
    assert render_report(report, pictures=[make_worst("golden")]) == first


def test_the_date_of_the_report_can_be_replaced(make_report):
    assert "2031-05-04 12:00 UTC" in render_report(make_report())
    assert "2031-06-01" in render_report(make_report(), date="2031-06-01")
    assert "some day" in render_report({**make_report(), "date": "some day"})


@pytest.mark.parametrize("report", [{}, {"schema": "glow_deploy.bench"}, {"schema": "glow_deploy.verify"}])
def test_other_json_is_refused(report):
    with pytest.raises(UsageError, match="not a report"):
        render_report(report)


def test_without_jinja2_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingDependencyError, match=r"glow-deploy\[report\]"):
        render_report(MINIMAL)


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, glow_deploy.verify.html;"
        "print([n for n in ('jinja2', 'PIL', 'torch', 'onnx', 'onnxruntime', 'matplotlib') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
