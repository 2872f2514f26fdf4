"""Models that know their border or have independent priors, from checkpoint to verdict."""

from __future__ import annotations

import pytest

from glow_deploy.export import ExportSettings, export
from glow_deploy.verify import VerifySettings, verify

KINDS = {
    "edges": {"edge_bias": True, "seed": 20},
    "independent": {"prior": "independent", "image_size": (8, 16), "seed": 21},
    "both, classes, grey": {
        "edge_bias": True,
        "prior": "independent",
        "num_classes": 3,
        "channels": 1,
        "coupling": "additive",
        "seed": 22,
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_is_sound_with_its_steps_and_the_checkpoint(exported, kind):
    model = exported(**KINDS[kind])
    report = verify(model.bundle, settings=VerifySettings(ckpt=model.ckpt, batch=13, random_draws=8, steps=True))
    assert report.sound, [str(failure) for failure in report.failures]
    assert (report.verdicts.round_trip, report.verdicts.likelihood) == ("sound", "sound")
    names = {"pytorch-fp64", "pytorch-fp32", "onnxruntime-cpu"}
    assert {(cell.encode, cell.decode) for cell in report.cells} >= {(a, b) for a in names for b in names}
    assert report.steps is not None
    assert report.steps.weights == ()
    assert report.steps.first_jump is None
    assert report.budget is not None
    assert not report.budget.predicted["fp32"].overflows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        pytest.param(kind, precision, marks=() if a == b else pytest.mark.slow)
        for a, kind in enumerate(KINDS)
        for b, precision in enumerate(("mixed", "bf16-mixed", "fp16"))
    ],
)
def test_narrow_bundles_keep_what_their_precision_promises(exported, tmp_path, kind, precision):
    model = exported(**KINDS[kind])
    export(model.ckpt, out=tmp_path / "bundle", settings=ExportSettings(golden=16, precision=precision))
    report = verify(tmp_path / "bundle", settings=VerifySettings(device="cpu", random_draws=0, steps=True))
    assert report.sound, [str(failure) for failure in report.failures]
    assert report.steps is not None
    assert report.steps.first_jump is None


@pytest.mark.parametrize(
    ("kind", "name", "step"),
    [
        ("edges", "level1/step02/coupling/conv1/minus_edge", "level1/step02"),
        ("edges", "level1/split/conv/minus_edge", "level1/split"),
        ("independent", "level1/split/mean", "level1/split"),
    ],
)
@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_rows_exchanged_in_one_graph_are_unsound_and_named(exported, spoil, quick, kind, name, step, role):
    def change(found, array, _):
        return array[:, :, ::-1] if found == name else None

    report = quick(spoil(change, roles=(role,), source=exported(**KINDS[kind]).bundle), steps=True)
    assert not report.sound
    assert report.steps is not None
    first = report.steps.first_jump
    assert first is not None
    assert first.step == step
