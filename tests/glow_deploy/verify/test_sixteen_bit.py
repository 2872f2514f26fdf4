"""Bundles in 16 bit: what their manifests must say, the promise they are held to, and faults that must not hide."""

from __future__ import annotations

import json

import numpy as np
import pytest

from glow_deploy.errors import BundleError
from glow_deploy.verify import VerifySettings, verify

QUICK = VerifySettings(backends=("onnxruntime-cpu", "simulated"), random_draws=0)


@pytest.fixture(scope="module")
def narrow(exported, tmp_path_factory):
    """`auto` and `mixed` bundles of one model, by name; their images are its own samples, of which there are enough."""
    from glow_deploy.export import ExportSettings, export

    folder, model = tmp_path_factory.mktemp("narrow"), exported(carry=False)
    return {
        name: export(model.ckpt, out=folder / name, settings=ExportSettings(precision=name, golden=32)).path
        for name in ("mixed", "auto")
    }


@pytest.fixture
def tampered(narrow, tmp_path):
    """Copy a bundle and change its manifest."""
    import shutil

    def change(name, edit):
        shutil.copytree(narrow[name], tmp_path / "b")
        manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
        edit(manifest)
        (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
        return tmp_path / "b"

    return change


def record(manifest):
    return manifest["numerics"]["precision"]


def all_narrow(manifest):
    steps = record(manifest)["plan"]["conditioners"]
    steps[next(iter(steps))] = "fp32" if steps[next(iter(steps))] == "fp16" else "fp16"


@pytest.mark.parametrize("name", ["mixed", "auto"])
def test_what_export_writes_verify_calls_sound(narrow, name):
    report = verify(narrow[name], settings=QUICK)
    assert report.sound, [str(failure) for failure in report.failures]


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


def test_auto_is_held_to_the_tolerance_it_promised(tampered):
    report = verify(
        tampered("auto", lambda m: record(m)["choice"].update(tolerance=1e-9)),
        settings=VerifySettings(backends=("simulated",), random_draws=0),
    )
    missed = [gate for cell in report.cells for gate in cell.gates if gate.statistic == "max"]
    assert missed
    assert not any(gate.passed for gate in missed)
    assert report.verdicts.round_trip == "unsound"


def off(name, change):
    return lambda found, array, role: change(array) if found == name else None


def larger(weight):
    weight[np.unravel_index(np.abs(weight).argmax(), weight.shape)] *= 1.01
    return weight


def raised(bias):
    bias.reshape(-1)[0] += np.asarray(0.02, bias.dtype)
    return bias


@pytest.mark.parametrize("precision", ["mixed", "auto"])
@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("level1/step02/invconv/weight", larger),
        ("level2/step03/invconv/weight", larger),
        ("level1/step03/coupling/conv2/weight", lambda weight: weight * np.asarray(1.02, weight.dtype)),
        ("level1/step01/coupling/conv3/bias", raised),
        ("level2/step02/invconv/bias", raised),
    ],
)
def test_faults_that_float32_bundles_fail_on_fail_here_too(narrow, spoil, quick, precision, role, name, change):
    assert not quick(spoil(off(name, change), roles=(role,), source=narrow[precision])).sound


@pytest.mark.parametrize(("lost", "sound"), [(0, True), (1, True), (2, True), (8, False)])
def test_auto_may_lose_as_many_fresh_images_as_its_bound_says(exported, narrow, tamper, npz, lost, sound):
    """Of 256 calibration images none was lost, so that fewer than 1.2 % of others are: up to 2 of 60."""
    from glow_deploy.verify.backends import backend as backends

    model = exported(carry=False)
    seen = []

    def drop(name, x):
        x = x.copy()
        for row in range(len(x)):
            if len(seen) < lost:
                seen.append(row)
                x[row, 0, 0, 0] += np.float32(0.6 / 2**model.config.n_bits)
        return x

    real = backends.Backend.decode
    data = npz(model, 60)
    report = None
    with pytest.MonkeyPatch.context() as patch:
        # The third decode is the first of the data: after the golden images' own, and of their reference's latents.
        calls = []

        def decode(self, z, y):
            calls.append(len(z[0]))
            x = real(self, z, y)
            return drop(self.name, x) if len(calls) == 3 else x

        patch.setattr(backends.Backend, "decode", decode)
        report = verify(
            narrow["auto"], settings=VerifySettings(backends=("simulated",), random_draws=0, data=data, limit=60)
        )
    cell = next(cell for cell in report.cells if cell.images == "data")
    assert cell.exactness.images - cell.exactness.images_exact == lost
    (gate,) = (gate for gate in cell.gates if gate.statistic == "count")
    assert (gate.value, gate.limit) == (lost, 2)
    assert gate.passed == sound
