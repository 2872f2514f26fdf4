"""What a notebook and a prompt show of a report."""

from __future__ import annotations

from dataclasses import replace

from glow_deploy.verify import VerifySettings, verify


def test_a_sound_report(making, tmp_path):
    model = making.export_model(tmp_path)
    report = verify(model.bundle, settings=VerifySettings(backends=("onnxruntime-cpu",), random_draws=0))
    assert repr(report) == "VerifyReport(sound: round trip sound, likelihood sound, samples sound, weights sound)"
    shown = report._repr_html_()
    assert shown.startswith("<p><b>sound</b>: round trip sound, likelihood sound, samples sound, weights sound</p>")
    assert shown.count("<tr>") == 1 + len(report.cells)
    assert "<script" not in shown

    evil = replace(report.cells[0], encode="<script>alert(1)</script>")
    assert "<script" not in replace(report, cells=(evil,))._repr_html_()


def test_an_unsound_report_names_the_first_failure(making, tmp_path):
    import numpy as np

    model = making.export_model(tmp_path / "model")

    def change(found, weight, _):
        if found != "level1/step01/invconv/weight":
            return None
        weight[np.unravel_index(np.abs(weight).argmax(), weight.shape)] *= 1.01
        return weight

    making.spoil_bundle(model.bundle, tmp_path / "spoilt", change, roles=("decoder",))
    report = verify(tmp_path / "spoilt", settings=VerifySettings(backends=("onnxruntime-cpu",), random_draws=0))
    assert repr(report).startswith("VerifyReport(UNSOUND: round trip unsound")
    assert "weights unsound" in repr(report)
    assert str(report.failures[0])[:60] in repr(report)
    assert len(repr(report)) < 500
    assert "<b>UNSOUND</b>" in report._repr_html_()
    assert "<li>" in report._repr_html_()
