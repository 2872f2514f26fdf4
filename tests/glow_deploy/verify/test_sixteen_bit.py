"""Bundles in 16 bit: what their manifests must say, the promise they are held to, and faults that must not hide."""

from __future__ import annotations

import numpy as np
import pytest
from narrow_records import record

from glow_deploy.verify import VerifySettings, verify

QUICK = VerifySettings(backends=("onnxruntime-cpu", "simulated"), random_draws=0)


@pytest.mark.parametrize("name", ["mixed", "auto"])
def test_what_export_writes_verify_calls_sound(narrow, name):
    report = verify(narrow[name], settings=QUICK)
    assert report.sound, [str(failure) for failure in report.failures]


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
