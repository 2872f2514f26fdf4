from __future__ import annotations

import pytest
from narrow_records import all_narrow, record

from glow_deploy.errors import BundleError
from glow_deploy.verify import VerifySettings, verify

QUICK = VerifySettings(backends=("onnxruntime-cpu", "simulated"), random_draws=0)


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("mixed", lambda m: m["numerics"].pop("precision"), "is missing"),
        ("mixed", lambda m: m["numerics"].update(precision=None), "is missing"),
        ("mixed", lambda m: m.update(precision="fp16"), "a plan for mixed"),
        ("auto", lambda m: m.update(precision="bf16-mixed"), "a plan for auto"),
        ("mixed", lambda m: m.update(precision="fp32"), "belongs to graphs in 16 bit"),
        ("auto", all_narrow, "is not that of encoder.onnx"),
        ("auto", lambda m: record(m)["plan"].update(conditioners={"level9/step99": "fp16"}), "is not that of"),
        ("auto", lambda m: record(m).update(choice=None), "promise a number"),
        ("auto", lambda m: record(m).update(choice="x"), r"precision\.choice is missing or not an object"),
        ("auto", lambda m: record(m)["choice"].update(tolerance="0.5"), r"choice\.tolerance is '0\.5'"),
        ("auto", lambda m: record(m)["choice"].update(tolerance=1e9), "promise a number"),
        ("mixed", lambda m: record(m).update(figures=None), r"precision\.figures is missing"),
        ("mixed", lambda m: record(m).update(onnxruntime_cpu=None), r"precision\.onnxruntime_cpu is missing"),
        ("mixed", lambda m: record(m)["figures"]["x_hat"].update(rms=10**400), r"figures\.x_hat\.rms"),
        ("mixed", lambda m: record(m)["figures"].update(n=10**400), r"figures\.n"),
        ("mixed", lambda m: record(m)["figures"]["x_from_z"].update(rms=1e30), r"x_from_z\.rms"),
    ],
)
def test_a_promise_that_is_missing_or_malformed_is_no_pass(tampered, name, edit, words):
    with pytest.raises(BundleError, match=words) as raised:
        verify(tampered(name, edit), settings=QUICK)
    assert len(str(raised.value)) < 500
