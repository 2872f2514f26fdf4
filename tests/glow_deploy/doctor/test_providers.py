from __future__ import annotations

from glow_deploy.doctor import providers
from glow_deploy.doctor.providers import examine_providers


def test_a_listed_provider_that_does_not_run_is_not_usable(monkeypatch, capfd):
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["DmlExecutionProvider", "CPUExecutionProvider"]
    )
    other, cpu = examine_providers()
    assert cpu.usable
    assert not other.usable
    assert other.detail
    assert capfd.readouterr().err == "", "native complaints reached the terminal"


def test_a_wrong_product_is_noticed(monkeypatch):
    class Session:
        def __init__(self, *_args, **_options):
            pass

        def get_providers(self):
            return ["CPUExecutionProvider"]

        def run(self, _names, feeds):
            return [feeds["x"]]

    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    found = providers._examine(__import__("onnxruntime"), "CPUExecutionProvider")
    assert (found.usable, found.detail) == (False, "the session gave a wrong matrix product")
