from __future__ import annotations

from report_pages import Page

from glow_deploy.verify.html import render_report


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


def test_cards_carry_the_worst_cell_the_number_of_images_and_the_bound(make_report):
    page = Page(render_report(make_report(("onnxruntime-cpu", "tensorrt"), failing=True)))
    assert "encode onnxruntime-cpu, decode tensorrt, 64 golden images: 9 non-finite values in x -> z -> x" in page.text
    assert "58 of 64 images exact where fewest are (failure rate <\u00a017.9\u00a0%, 95 % bound)".replace(
        "\u00a0", " "
    ) in page.text.replace("\u00a0", " ")
    assert "bits/dim: rms 4.0e-7" in page.text
    assert "x from the reference's latents: rms 4.1e-5 pixel steps, 24.2 % of its limit" in page.text
    assert "not gated: 0 of 64 random draws at T=1 are not finite" in page.text
