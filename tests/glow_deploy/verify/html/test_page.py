"""The structure of the page, without a browser."""

from __future__ import annotations

import base64
import copy
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from glow_deploy.errors import MissingDependencyError, UsageError
from glow_deploy.verify.html import render_report

MINIMAL = {
    "schema": "glow_deploy.verify",
    "verdicts": {"round_trip": "unsound", "likelihood": "sound", "samples": "reported"},
}
HOSTILE = """</style></script><script>alert(1)</script><img src=x onerror=alert(2)>"'&{{ 7*7 }}"""


class Page(HTMLParser):
    """Tags with their attributes, the visible text, and the text of style and script."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.words, self.raw = [], [], {"style": "", "script": ""}
        self._stack = []
        self.figures = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._stack.append(tag)
        if tag == "figure":
            self.figures.append([])
        for figure in self.figures[-1:]:
            if "figure" in self._stack:
                figure.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in self._stack:
            while self._stack.pop() != tag:
                pass

    def handle_data(self, data):
        if self._stack and self._stack[-1] in self.raw:
            self.raw[self._stack[-1]] += data
        else:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def replaced(value, text):
    """The same JSON with every string that is no key of ours replaced."""
    if isinstance(value, dict):
        return {
            key: item if key in ("schema", "verdict", "verdicts", "statistic", "direction") else replaced(item, text)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [replaced(item, text) for item in value]
    return text if isinstance(value, str) else value


def nulled(value):
    """The same JSON with every measured figure null, as for what is not finite."""
    if isinstance(value, dict):
        return {key: item if key == "histogram" else nulled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [nulled(item) for item in value]
    return None if isinstance(value, float) else value


@pytest.fixture(scope="module")
def full(make_report, make_worst, all_backends):
    """The page of a failing run on six backends with everything there is."""
    report = make_report(all_backends, failing=True, sets=("golden", "data"))
    return Page(render_report(report, pictures=[make_worst("golden", index=3), make_worst("data", lost=5)]))


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


def test_every_chart_has_a_title_and_a_description(full):
    charts = [a for a in full.named("svg") if a.get("class") == "chart"]
    assert len(charts) >= 15
    assert all(a["role"] == "img" and len(a["aria-labelledby"].split()) == 2 for a in charts)
    assert len(full.named("desc")) == len(charts)


def test_every_figure_has_a_command(full):
    assert len(full.figures) > 20
    for figure in full.figures:
        assert ("pre", {"class": "command", "tabindex": "0"}) in figure
    assert "--json report.json" in full.text


def test_pictures_and_tables_have_words(full):
    assert all(image["alt"] for image in full.named("img"))
    assert all(a["aria-label"] for _, a in full.tags if a.get("role") == "region")


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


def test_a_minimal_report_says_what_was_not_measured():
    page = Page(render_report(MINIMAL))
    assert "Not measured: add --steps." in page.text
    assert "Not measured: add --stress." in page.text
    assert "No pair of backends was measured." in page.text
    assert page.text.count("add --steps") == 2
    assert "baseline" not in page.text
    assert not page.named("figure")
    assert page.text.count("unsound") >= 2


def test_what_was_measured_is_not_called_unmeasured(full):
    assert "Not measured" not in full.text


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


def test_failures_come_with_cause_advice_and_a_narrower_command(make_report, all_backends):
    text = Page(render_report(make_report(all_backends[1:4], failing=True))).text
    assert "3 checks failed, with one probable cause" in text
    assert "values overflow in level 2 of the decoder" in text
    assert "keep this step in float32, or retrain with the conditioning penalty" in text
    assert "2 more with the same cause" in text
    assert "--backend pytorch-fp32 --backend onnxruntime-cuda --steps" in text


def test_a_backend_is_not_taken_for_another_whose_name_begins_alike(make_report):
    text = Page(render_report(make_report(("tensorrt", "tensorrt-rtx"), failing=True))).text
    assert "--backend tensorrt --backend tensorrt-rtx --steps" in text
    report = make_report(("tensorrt", "tensorrt-rtx"), failing=True)
    report["failures"] = report["failures"][1:]
    assert "--backend tensorrt-rtx --steps" in Page(render_report(report)).text
    assert "--backend tensorrt --backend" not in Page(render_report(report)).text


def test_without_steps_the_advice_is_to_measure_them(make_report):
    report = make_report(failing=True, full=False)
    assert "--steps names the first step" in Page(render_report(report)).text
    assert "--steps names the first step" not in Page(render_report(make_report(failing=True))).text


def test_a_sound_report_shows_no_failure(make_report):
    page = Page(render_report(make_report()))
    assert "What failed" not in page.text
    assert "unsound" not in page.text
    assert not [a for a in page.named("td") if a.get("class") == "shade-6"]


def test_a_failing_verdict_hides_no_other(make_report):
    report = make_report(failing=True)
    cards = [a["class"] for a in Page(render_report(report)).named("section") if a["class"].startswith("card")]
    assert cards == ["card bad", "card good", "card good", "card good", "card bad"]
    report["verdicts"] = {"round_trip": "sound", "likelihood": "unsound", "samples": "reported"}
    report["verdicts"]["weights"] = "not compared"
    cards = [a["class"] for a in Page(render_report(report)).named("section") if a["class"].startswith("card")]
    assert cards == ["card good", "card bad", "card plain", "card plain", "card bad"]


def test_a_verdict_that_is_missing_is_not_sound(make_report):
    report = make_report()
    report["verdicts"] = {"round_trip": "sound"}
    page = Page(render_report(report))
    assert page.text.count("not judged") == 3


def test_a_gate_without_a_verdict_is_a_failure(make_report):
    report = make_report(full=False)
    del report["cells"][0]["gates"][1]["verdict"]
    text = Page(render_report(report)).text
    assert re.search(r"x -> z -> x golden rms .*? fail", text)


def test_cards_carry_the_worst_cell_the_number_of_images_and_the_bound(make_report):
    page = Page(render_report(make_report(("onnxruntime-cpu", "tensorrt"), failing=True)))
    assert "encode onnxruntime-cpu, decode tensorrt, 64 golden images: 9 non-finite values in x -> z -> x" in page.text
    assert "58 of 64 images exact where fewest are (failure rate <\u00a017.9\u00a0%, 95 % bound)".replace(
        "\u00a0", " "
    ) in page.text.replace("\u00a0", " ")
    assert "bits/dim: rms 4.0e-7" in page.text
    assert "x from the reference's latents: rms 4.1e-5 pixel steps, 24.2 % of its limit" in page.text
    assert "not gated: 0 of 64 random draws at T=1 are not finite" in page.text


def test_what_is_not_finite_is_never_printed_as_a_python_value(make_report, all_backends):
    report = nulled(make_report(all_backends[:3], failing=True))
    text = Page(render_report(report)).text
    assert not re.search(r"\b(nan|inf|None|True|False)\b", text)
    assert "none" in text


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


def test_a_detected_tf32_stands_out(make_report):
    page = Page(render_report(make_report(("onnxruntime-cpu", "onnxruntime-cuda"))))
    assert page.text.count("TF32!") == 1
    assert page.text.count("float32 (measured)") == 1
    assert page.named("td").count({"class": "fail"}) == 1


def test_graphs_that_only_promise_to_decode_are_reported_not_passed(make_report):
    report = make_report(full=False)
    (cell,) = report["cells"]
    cell["gates"], cell["verdict"] = [], "reported"
    report["verdicts"] = {"round_trip": "reported", "likelihood": "reported", "samples": "sound"}
    page = Page(render_report(report))
    assert "Not held to a limit: encode onnxruntime-cpu, decode onnxruntime-cpu" in page.text
    assert [a for a in page.named("b")] == [{"class": "reported"}]
    assert "not held to a limit" in page.text
    cell["verdict"] = "fail"  # no gates and not reported: a missing measure is no pass
    assert Page(render_report(report)).named("b") == [{"class": "fail"}]


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


def test_suggestions_and_flags_are_shown(make_report):
    text = Page(render_report(make_report(failing=True))).text
    assert "What would help: train with --inverse-penalty" in text
    assert "level1/step02: kappa 4.1e3 is beyond 1e3" in text


def test_histograms_may_come_with_the_report_or_beside_it(make_report):
    report = make_report(full=False)
    inside = render_report(report)
    histogram = report["cells"][0].pop("histogram")
    assert "no histogram was kept" in render_report(report)
    key = ("golden", "onnxruntime-cpu", "onnxruntime-cpu")
    assert render_report(report, histograms={key: histogram}) == inside


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


def test_what_names_a_weight_comes_first_and_no_other_advice_is_given(make_report):
    report = make_report(failing=True)
    place = "level1/step02"
    finding = {
        "check": "graphs with the export",
        "files": ["decoder.onnx"],
        "part": place,
        "arrays": 1,
        "detail": "its weights are not those that were exported",
        "advice": "export the model again",
        "level": 1,
    }
    report["weights"]["findings"] = [finding]
    report["verdicts"]["weights"] = report["weights"]["verdict"] = "unsound"
    gate = {"measure": "weights that are wrong", "statistic": "count", "value": 1, "limit": 0, "verdict": "fail"}
    report["failures"].append(
        {
            "verdict": "weights",
            "where": f"decoder.onnx, {place}",
            "images": "",
            "level": 1,
            "gate": gate,
            "cause": "its weights are not those that were exported; export the model again",
            "text": f"decoder.onnx, {place}, level 1: 1 weights that are wrong",
        }
    )
    text = Page(render_report(report)).text
    failed = text[text.index("What failed") :]
    assert failed.index(f"decoder.onnx, {place}") < failed.index("values overflow")
    assert "No step stands out" not in text
    assert "--steps names the first step" not in text
    assert f"Look at the weights that are wrong first: decoder.onnx, {place}" in text
    assert "What the graphs hold" in text


def test_a_report_of_a_release_that_compared_no_weights(make_report):
    report = make_report()
    del report["weights"], report["verdicts"]["weights"]
    text = Page(render_report(report)).text
    assert "The graphs' weights were not compared." in text
    assert "What the graphs hold" not in text


def test_a_pair_that_is_not_judged_is_no_failure(make_report):
    report = make_report()
    cell = report["cells"][0]
    cell["verdict"] = "not judged"
    cell["gates"][0].update({"verdict": "fail", "value": 1.0})
    text = Page(render_report(report)).text
    assert "not judged" in text
    assert "What failed" not in text
