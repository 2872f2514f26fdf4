from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import UsageError
from glow_deploy.verify import verify
from glow_deploy.verify.backends.backend import Backend
from glow_deploy.verify.matrix.integers import compare_integers, exact_failures
from glow_deploy.verify.sections import stress_failures
from glow_deploy.verify.settings import VerifySettings
from glow_deploy.verify.sources import image_sources


@pytest.fixture(scope="module")
def exact(making, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact")
    return making.export_model(folder, golden=12, channels=1, steps=2, coupling="additive", precision="exact")


def open_ort(bundle):
    from glow_deploy.engines.open import open_engine

    return Backend(
        name="onnxruntime-cpu",
        encoder=open_engine(bundle / "encoder.onnx", device="cpu"),
        decoder=open_engine(bundle / "decoder.onnx", device="cpu"),
    )


class Spoilt:
    """An engine that changes one number of one output."""

    def __init__(self, engine, name, by):
        self._engine, self._name, self._by = engine, name, by

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def run(self, feeds):
        found = {name: array.copy() for name, array in self._engine.run(feeds).items()}
        found[self._name].flat[0] += self._by
        return found


def compare(bundle, *backends):
    opened = Bundle.open(bundle)
    sources = image_sources(opened, VerifySettings(), None)
    return compare_integers(backends, sources, opened.golden().integers, batch=5)


def test_a_sound_bundle_has_no_differing_number(exact):
    report = compare(exact.bundle, open_ort(exact.bundle))
    assert [row.what for row in report.rows] == ["integers", "pixels", "integers by batch"]
    assert report.rows[0].values == 12 * 64  # golden
    assert report.rows[1].values == 12 * 64 + 12  # and whether each is in range
    assert not exact_failures(report)
    assert report.line.startswith("exact: 0 of ")


@pytest.mark.parametrize(
    ("role", "name", "by", "what"),
    [
        ("encoder", "z2", 1.0, "integers"),
        ("decoder", "x", 1e-6, "pixels"),
        ("encoder", "in_range", -1.0, "range"),
        ("encoder", "in_range", -1.0, "integers"),
        ("decoder", "in_range", -1.0, "pixels"),
    ],
)
def test_one_number_off_on_one_backend_is_a_failure(exact, role, name, by, what):
    good = open_ort(exact.bundle)
    engine = getattr(good, role)
    from glow_deploy.engines.exact import ExactEngine

    bad = replace(good, name="other", **{role: ExactEngine(Spoilt(engine.integers, name, by))})
    failures = exact_failures(compare(exact.bundle, good, bad))
    assert failures
    assert any(what in failure.gate.quantity for failure in failures)
    assert all(failure.verdict == "round_trip" for failure in failures)
    assert any("other" in failure.where for failure in failures)


def test_an_image_out_of_range_is_a_failure_with_one_backend(exact):
    from glow_deploy.engines.exact import ExactEngine

    good = open_ort(exact.bundle)
    bad = replace(good, encoder=ExactEngine(Spoilt(good.encoder.integers, "in_range", -1.0)))
    report = compare(exact.bundle, bad)
    assert [failure.gate.quantity for failure in exact_failures(report)] == ["images out of range"]
    assert "images are not in range" in report.line


class Batchwise(Spoilt):
    """An engine that is wrong at one size of batch."""

    def run(self, feeds):
        alike = len(next(iter(feeds.values()))) == 3
        return super().run(feeds) if alike else self._engine.run(feeds)


@pytest.mark.parametrize(("role", "name"), [("encoder", "z1"), ("decoder", "x")])
def test_a_size_of_batch_that_gives_other_numbers_is_a_failure(exact, role, name):
    from glow_deploy.engines.exact import ExactEngine

    good = open_ort(exact.bundle)
    bad = replace(good, **{role: ExactEngine(Batchwise(getattr(good, role).integers, name, 1.0))})
    assert [failure.gate.quantity for failure in exact_failures(compare(exact.bundle, bad))] == [
        "differing integers by batch"
    ]


def test_nothing_compared_is_a_failure(exact):
    report = compare(exact.bundle)
    assert report.rows == ()
    assert [failure.verdict for failure in exact_failures(report)] == ["round_trip"]


def test_verify_says_how_many_were_compared(exact):
    report = verify(exact.bundle, device="cpu", random_draws=0)
    assert report.sound
    assert any("integers and pixels differ" in note for note in report.notes)
    reasons = {backend.name: backend.reason for backend in report.backends}
    assert reasons["simulated"].startswith("exact graphs are not simulated")
    assert report.to_dict()["exact"]["rows"][0]["differing"] == 0
    assert "onnxruntime-cpu: convolves integers exactly (1x1, 3x3, wide)" in report.notes
    backends = {part["name"]: part.get("integers") for part in report.to_dict()["backends"]}
    assert backends["onnxruntime-cpu"]["sound"] is True
    checks = {check.name: check.found for check in report.weights.checks}
    assert set(checks.values()) == {"pass"}


@pytest.mark.parametrize(("arithmetic", "sound"), [("winograd", False), ("tf32", True)])
def test_a_backend_whose_arithmetic_no_proof_covers_is_unsound_whatever_images_say(
    exact, monkeypatch, arithmetic, sound
):
    from glow_deploy.canary.integer_verdict import IntegerResult

    found = IntegerResult(arithmetic=arithmetic, differing={"3x3": 7}, values=100, reason="it multiplies sums")
    module = importlib.import_module("glow_deploy.verify.backends.arithmetic")
    monkeypatch.setattr(module, "integers_for", lambda name, **_: found)
    report = verify(exact.bundle, backends=("onnxruntime-cpu",), device="cpu", random_draws=0)
    assert report.sound == sound
    assert any("not exactly: it multiplies sums (differing: 7 of 100 in 3x3)" in note for note in report.notes)
    causes = [failure.cause for failure in report.failures]
    assert causes == ([] if sound else ["it multiplies sums"])


def test_what_differs_is_told_with_the_reason_that_the_canary_found(exact):
    from glow_deploy.engines.exact import ExactEngine

    good = open_ort(exact.bundle)
    bad = replace(good, name="other", encoder=ExactEngine(Spoilt(good.encoder.integers, "z2", 1.0)))
    report = compare(exact.bundle, good, bad)
    for reasons, cause in (
        ({}, "a weight was changed"),
        ({"other": "it sums in float16"}, "other: it sums in float16"),
    ):
        assert all(failure.cause.startswith(cause) for failure in exact_failures(report, reasons))


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_one_integer_of_a_weight_off_is_unsound(exact, making, tmp_path, role):
    def change(name, array, _):
        if name == "level1/step01/invconv/shear2/weight":
            array.flat[0] += 2.0**-11
            return array
        return None

    spoilt = making.spoil_bundle(exact.bundle, tmp_path / "b", change, roles=(role,))
    report = verify(spoilt, device="cpu", random_draws=0)
    assert report.verdicts.round_trip == "unsound"
    assert report.verdicts.weights == "unsound"
    assert any("differing" in failure.gate.quantity for failure in report.failures)


@pytest.mark.parametrize("options", [{"steps": True}, {"ckpt": "ckpt.pt"}])
def test_what_cannot_be_measured_of_integers_is_refused(exact, options):
    with pytest.raises(UsageError, match="are not verified with"):
        verify(exact.bundle, **options)


@pytest.mark.slow
def test_stress_images_come_back_to_the_bit_or_are_out_of_range(exact):
    report = verify(exact.bundle, stress=True, backends=("onnxruntime-cpu",), device="cpu", random_draws=0)
    assert report.sound
    assert len(report.stress.inputs) > 10
    assert {row.max for row in report.stress.inputs} == {0.0}
    assert report.stress.attack is None


@pytest.mark.parametrize(("size", "failures"), [(0.0, 0), (1e-6, 1), (np.nan, 0)])
def test_a_stress_image_that_is_off_by_little_is_a_failure(size, failures):
    row = SimpleNamespace(backend="a", name="noise", n=2, max=size)
    stress = SimpleNamespace(inputs=(row,), failures=())
    assert len(list(stress_failures(stress, exact=True))) == failures
    assert not list(stress_failures(stress))


def test_golden_integers_are_those_of_the_normal_numbers(exact):
    golden = Bundle.open(exact.bundle).golden()
    for z, integers in zip(golden.z, golden.integers, strict=True):
        np.testing.assert_array_equal(z == 0, integers == 0)
        np.testing.assert_array_equal(np.sign(z), np.sign(integers))
