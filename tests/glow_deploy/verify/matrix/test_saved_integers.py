"""What a program made of an exact bundle elsewhere is judged by equality, and every kind of fault is seen."""

from __future__ import annotations

import io

import numpy as np
import onnxruntime
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.canary.formats import FORMATS, round_to
from glow_deploy.engines.pair import open_pair
from glow_deploy.offline import golden_inputs, read_outputs
from glow_deploy.verify import verify
from glow_deploy.verify.backends.backend import Backend
from glow_deploy.verify.matrix.integers import exact_failures
from glow_deploy.verify.matrix.saved_integers import compare_saved
from glow_deploy.verify.report.exact import ExactReport
from glow_deploy.verify.terminal.answer import answer_line


@pytest.fixture(scope="module")
def exact(making, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact-saved")
    return making.export_model(folder, golden=12, channels=1, steps=2, coupling="additive", precision="exact").bundle


@pytest.fixture(scope="module")
def elsewhere(exact):
    """What another program would save, of everything."""
    inputs = golden_inputs(exact)

    def run(model, place):
        feeds = {name.partition(".")[2]: array for name, array in inputs.tensors.items() if name.startswith(place)}
        return answers(model, feeds)

    def answers(model, feeds):
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return dict(zip([value.name for value in session.get_outputs()], session.run(None, feeds), strict=True))

    encoded = run(str(exact / "encoder.onnx"), "encoder.")
    z = {name: array for name, array in encoded.items() if name[0] == "z"}
    back = answers(str(exact / "decoder.onnx"), {**z, "as_normal": inputs.tensors["decoder.as_normal"]})
    found = {f"encoder.{name}": array for name, array in encoded.items()}
    found |= {f"decoder.{name}": array for name, array in run(str(exact / "decoder.onnx"), "decoder.").items()}
    found |= {f"round_trip.{name}": array for name, array in back.items()}
    found["canary.x"] = run(inputs.canary, "canary.")["x"]
    return {**found, "inputs_sha256": np.array([inputs.digest])}


def judged(exact, tensors, tmp_path):
    path = tmp_path / "outputs.npz"
    np.savez(path, **tensors)
    return verify(exact, outputs=path, backends=("onnxruntime-cpu",), device="cpu", random_draws=0)


def test_the_same_integers_are_sound(exact, elsewhere, tmp_path):
    report = judged(exact, elsewhere, tmp_path)
    assert report.sound
    assert {report.verdicts.round_trip, report.verdicts.likelihood, report.verdicts.samples} == {"sound"}
    rows = {(row.what, row.first) for row in report.exact.rows if row.second == "outputs"}
    assert rows == {("integers", "golden"), ("pixels", "onnxruntime-cpu"), ("pixels", "outputs")}
    assert "outputs: convolves integers exactly (1x1, 3x3, wide)" in report.notes
    assert not any("not judged" in note for note in report.notes)


def spoil(tensors, name, by):
    values = tensors[name].copy()
    values.flat[0] += by
    return {**tensors, name: values}


FAULTS = {
    "none": (lambda found, fed: found, ()),
    "an integer off by one": (lambda found, fed: spoil(found, "encoder.z2", 1), ("golden",)),
    "a pixel off by little": (lambda found, fed: spoil(found, "decoder.x", 1e-6), ("onnxruntime-cpu",)),
    "its own pixel off by little": (lambda found, fed: spoil(found, "round_trip.x", 1e-6), ("outputs",)),
    "out of range": (lambda found, fed: spoil(found, "round_trip.in_range", -1), ("outputs",)),
    "what was fed, as latents": (
        lambda found, fed: found | {f"encoder.z{level}": fed[f"decoder.z{level}"] for level in (1, 2)},
        ("golden",),
    ),
    "what was fed, as pixels": (lambda found, fed: {**found, "decoder.x": fed["encoder.x"]}, ("onnxruntime-cpu",)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_seen(exact, elsewhere, tmp_path, fault):
    change, seen = FAULTS[fault]
    opened = Bundle.open(exact)
    np.savez(tmp_path / "out.npz", **change(elsewhere, golden_inputs(opened).tensors))
    saved = read_outputs(opened, tmp_path / "out.npz")
    with open_pair(exact) as (encoder, decoder):
        here = Backend(name="onnxruntime-cpu", encoder=encoder, decoder=decoder)
        rows = tuple(compare_saved(saved, opened.golden(), [here]))
    assert tuple(row.first for row in rows if row.differing) == seen
    assert bool(exact_failures(ExactReport(rows=rows))) is bool(seen)


def test_a_wrong_density_and_another_arithmetic_are_unsound(exact, elsewhere, tmp_path):
    changed = spoil(elsewhere, "encoder.log_prob", 5.0)
    changed["canary.x"] = round_to(elsewhere["canary.x"], FORMATS["bf16"]).astype(np.float32)
    report = judged(exact, changed, tmp_path)
    quantities = [failure.gate.quantity for failure in report.failures]
    assert "differing integers of the canary" in quantities
    assert report.verdicts.likelihood == "unsound"


def test_what_was_not_saved_is_not_compared(exact, elsewhere, tmp_path):
    report = judged(exact, {"encoder.z1": elsewhere["encoder.z1"], "encoder.z2": elsewhere["encoder.z2"]}, tmp_path)
    assert report.sound
    assert (report.verdicts.round_trip, report.verdicts.samples) == ("not compared", "not compared")
    notes = " ".join(report.notes)
    assert "not saved, so not judged: their log densities" in notes
    assert "outputs: whether it convolves integers exactly was not measured: the canary's result was not saved" in notes


LEFT_OUT = {
    "encoder.normal": ("round_trip",),
    "encoder.z": ("round_trip",),
    "encoder.in_range": ("round_trip", "likelihood"),
    "decoder.in_range": ("samples",),
    "round_trip.in_range": ("round_trip",),
}


def test_a_verdict_needs_all_that_it_rests_on(exact, elsewhere, tmp_path):
    """Without any of these, values that are wrong would pass: what is missing is named, and nothing is called sound."""
    opened = Bundle.open(exact)
    told = []
    for name in ("nothing", *LEFT_OUT):
        np.savez(tmp_path / "out.npz", **{key: part for key, part in elsewhere.items() if not key.startswith(name)})
        saved = read_outputs(opened, tmp_path / "out.npz")
        told.append(tuple(verdict for verdict, all_there in saved.told.items() if not all_there))
        assert len(saved.missing) == (name != "nothing")
        assert all(name in words for words in saved.missing if "(" in words)
    assert told == [(), *LEFT_OUT.values()]
    bare = {key: part for key, part in elsewhere.items() if not key.endswith("in_range") and "normal" not in key}
    report = judged(exact, bare, tmp_path)
    verdicts = report.verdicts
    assert {verdicts.round_trip, verdicts.likelihood, verdicts.samples} == {"not compared"}
    assert answer_line(report).startswith("sound as far as outputs were saved")
    assert "whether images are in range (decoder.in_range)" in " ".join(report.notes)


def test_the_inputs_are_files_that_give_nothing_away(exact, tmp_path):
    from glow_deploy.offline import write_inputs

    inputs = golden_inputs(exact)
    write_inputs(inputs, tmp_path / "in.npz")
    with np.load(io.BytesIO((tmp_path / "in.npz").read_bytes())) as held:
        names = set(held.files)
        integers = Bundle.open(exact).golden().integers
        for level, z in enumerate(integers, 1):
            assert (held[f"decoder.z{level}"] != z).any(axis=(1, 2, 3)).all()
    assert {"encoder.x", "decoder.z1", "decoder.z2", "decoder.as_normal", "canary.z1"} < names
    assert (tmp_path / "in.canary.onnx").read_bytes() == inputs.canary
