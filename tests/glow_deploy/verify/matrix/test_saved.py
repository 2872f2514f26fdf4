"""What another program saved is judged as a backend is: sound, spoilt, and in part."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from glow_deploy.canary import make_canary
from glow_deploy.canary.graph import canary_graph
from glow_deploy.errors import DataError
from glow_deploy.offline import golden_inputs
from glow_deploy.verify import verify
from glow_deploy.verify.backends.saved import saved_notes, saved_report
from glow_deploy.verify.html.verdicts import verdict_cards
from glow_deploy.verify.terminal.answer import answer_line


def session(graph):
    import onnxruntime

    opened = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in opened.get_outputs()]
    return lambda **feeds: dict(zip(names, opened.run(None, feeds), strict=True))


@pytest.fixture(scope="module")
def saved(sound):
    """What a program elsewhere made of the golden images, which it did right."""
    tensors = golden_inputs(sound.bundle).tensors
    encode, decode = session(sound.bundle / "encoder.onnx"), session(sound.bundle / "decoder.onnx")
    coded = encode(x=tensors["encoder.x"])
    returned = decode(**{name: z for name, z in coded.items() if name != "log_prob"})
    again = encode(x=returned["x"])
    return {
        "inputs_sha256": np.array([golden_inputs(sound.bundle).digest]),
        **{f"encoder.{name}": array for name, array in coded.items()},
        "decoder.x": decode(**{f"z{n}": tensors[f"decoder.z{n}"] for n in (1, 2)})["x"],
        "round_trip.x": returned["x"],
        **{f"round_trip.{name}": array for name, array in again.items()},
        "canary.x": session(canary_graph(make_canary()))(z1=tensors["canary.z1"])["x"],
    }


@pytest.fixture
def judge(sound, tmp_path, monkeypatch):
    """Verify with these outputs. ONNX Runtime's own canary is left out: each takes half a second."""
    monkeypatch.setattr(import_module("glow_deploy.verify.run"), "with_canaries", lambda reports, *_, **__: reports)

    def run(tensors, **options):
        np.savez(tmp_path / "out.npz", **tensors)
        wanted = {"backends": ("onnxruntime-cpu",), "random_draws": 0, "largest_batch": 2} | options
        return verify(sound.bundle, outputs=tmp_path / "out.npz", **wanted)

    return run


def test_what_was_done_right_is_sound_and_compared_with_the_backends_here(judge, saved):
    report = judge(saved)
    assert report.sound
    assert set(report.verdicts.to_dict().values()) == {"sound"}
    pairs = {(cell.encode, cell.decode) for cell in report.cells}
    assert pairs == {
        ("onnxruntime-cpu", "onnxruntime-cpu"),
        ("outputs", "onnxruntime-cpu"),
        ("outputs", "outputs"),
    }
    here, there = (next(r for r in report.references if r.backend == name) for name in ("onnxruntime-cpu", "outputs"))
    assert (there.z, there.bits_per_dim, there.x_error) == (here.z, here.bits_per_dim, here.x_error)
    assert [gate.quantity for gate in there.gates] == [gate.quantity for gate in here.gates]
    own = next(cell for cell in report.cells if cell.encode == cell.decode == "outputs")
    first = report.cells[0]
    assert own.z_error == first.z_error
    assert own.bits_per_dim_round_trip == first.bits_per_dim_round_trip
    assert report.backends[-1].canary.detected == "fp32"
    assert not any("outputs:" in note for note in report.notes)
    assert "--outputs" in report.command
    json.loads(report.to_json())


def without_canary(tensors):
    return {name: array for name, array in tensors.items() if name != "canary.x"}


def lost_pixel(saved):
    x = saved["round_trip.x"].copy()
    x[3, 1, 2, 2] += 1 / 256
    return {"round_trip.x": x}


def half_canary(saved):
    """The canary in bfloat16, rounded to nearest."""

    def narrow(array):
        bits = array.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)

    canary = make_canary()
    rounded = replace(canary, weights={kind: narrow(weight) for kind, weight in canary.weights.items()})
    return {"canary.x": session(canary_graph(rounded))(z1=narrow(canary.x))["x"]}


FAULTS = {
    "a latent scaled": (lambda s: {"encoder.z2": s["encoder.z2"] * 0.7}, "round_trip", "z2 comes back scaled by 0.70"),
    "latents exchanged": (lambda s: {"encoder.z1": s["encoder.z1"][::-1]}, "round_trip", "nothing to do with what is"),
    "a density without its constant": (
        lambda s: {"encoder.log_prob": s["encoder.log_prob"] + 0.5},
        "likelihood",
        "a log-determinant or the sum of log densities is wrong",
    ),
    "a decoder of fewer bits": (
        lambda s: {"decoder.x": s["decoder.x"] * np.float32(1 + 2**-11)},
        "samples",
        "computes with fewer bits",
    ),
    "one pixel lost on the way back": (lost_pixel, "round_trip", "decode"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_done_wrong_is_unsound_in_the_verdict_that_it_belongs_to(judge, saved, fault):
    change, verdict, said = FAULTS[fault]
    report = judge(without_canary({**saved, **change(saved)}))
    assert not report.sound
    assert report.verdicts.to_dict()[verdict] == "unsound"
    own = [failure for failure in report.failures if "outputs" in failure.where]
    assert own == list(report.failures)
    if fault != "one pixel lost on the way back":
        assert said in str(own[0])


def test_reduced_arithmetic_is_told_from_the_canary_and_named_as_the_cause(judge, saved):
    report = judge({**saved, **half_canary(saved), "encoder.z1": saved["encoder.z1"] * np.float32(1.001)})
    assert report.backends[-1].canary.detected == "bf16"
    assert any("computes float32 convolutions in bfloat16" in note for note in report.notes)
    assert all("outputs computes float32 convolutions in bfloat16" in failure.cause for failure in report.failures)


@pytest.mark.parametrize(
    ("kept", "verdicts"),
    [
        (("encoder.z", "encoder.log_prob"), {"round_trip": "not compared", "samples": "not compared"}),
        (("decoder.x",), {"round_trip": "not compared", "likelihood": "not compared"}),
        (("encoder.log_prob",), {"round_trip": "not compared", "samples": "not compared"}),
        (("round_trip.x",), {"likelihood": "not compared", "samples": "not compared"}),
        (("canary.x",), {"round_trip": "not compared", "likelihood": "not compared", "samples": "not compared"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_of_a_part_only_what_was_saved_is_judged_and_the_rest_is_named(judge, saved, kept, verdicts):
    from rich.console import Console

    from glow_deploy.verify import report_tables

    report = judge({name: array for name, array in saved.items() if name.startswith(kept)})
    assert report.sound
    found = report.verdicts.to_dict()
    assert {name: value for name, value in found.items() if value == "not compared"} == verdicts
    assert any(note.startswith("outputs: not saved, so not judged") for note in report.notes)
    assert any("nothing tells which inputs" in note for note in report.notes)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(report_tables(report))
    text = console.export_text()
    assert text.startswith("sound as far as outputs were saved")
    assert "not judged: " in text
    if kept == ("round_trip.x",):
        spoilt = {
            name: array[::-1] for name, array in saved.items() if name.startswith(kept) and name != "inputs_sha256"
        }
        assert not judge(spoilt).sound


def test_the_first_images_are_judged_by_limits_for_images_of_their_own(judge, saved):
    every = without_canary(saved)
    few = {name: array if name == "inputs_sha256" else array[:5] for name, array in every.items()}
    report = judge(few)
    assert report.sound
    own = next(cell for cell in report.cells if cell.encode == cell.decode == "outputs")
    assert own.exactness.images == 5
    assert any("only the first 5 of 32 golden images" in note for note in report.notes)
    assert answer_line(report) == "sound as far as outputs were saved (outputs of 5 of 32 golden images)"
    document = json.loads(report.to_json())
    assert document["outputs"] == {"images": 5, "golden": 32}
    sentences = [card.sentence for card in verdict_cards(document)[:3]]
    assert all("Saved outputs are of 5 of 32 golden images." in sentence for sentence in sentences)
    paired = judge(every)
    assert answer_line(paired).startswith("sound: every image comes back exactly")
    document = json.loads(paired.to_json())
    assert document["outputs"] == {"images": 32, "golden": 32}
    assert not any("Saved outputs" in card.sentence for card in verdict_cards(document))
    limits = [next(c for c in r.cells if c.decode == "outputs").gates[1].limit for r in (report, paired)]
    assert limits[0] > limits[1]


@pytest.mark.parametrize("change", ["zero", "noise"])
def test_what_is_no_result_of_the_canary_is_refused(judge, saved, change):
    noise = np.random.default_rng(0).normal(size=saved["canary.x"].shape).astype(np.float32)
    with pytest.raises(DataError, match=r"canary.x has an error of \S+, which no number format makes: feed canary.z1"):
        judge({**saved, "canary.x": noise if change == "noise" else noise * 0})


def test_a_canary_that_fits_no_format_is_told_in_a_sentence(saved):
    canary = saved["canary.x"]
    noise = np.random.default_rng(0).normal(size=canary.shape, scale=2e-4 * canary.std())
    kept = SimpleNamespace(path="out", exact=False, canary=(canary + noise).astype(np.float32))
    report = saved_report(kept, SimpleNamespace(manifest=SimpleNamespace(precision="fp32")))
    assert report.canary.detected == "unknown"
    told = SimpleNamespace(images=1, missing=(), vouched=True, tools=(), ignored=("encoder.a",) * 6)
    ignored, words = saved_notes(told, report, golden=1)
    assert "does not tell what the program that made them computes in: an error of" in words
    assert ignored.endswith("such a name: encoder.a, encoder.a, encoder.a, encoder.a and 2 more")


@pytest.mark.slow
def test_a_report_with_outputs_is_its_own_baseline(judge, saved, tmp_path):
    some = {name: array for name, array in without_canary(saved).items() if not name.startswith("round_trip.z")}
    first = judge(some)
    (tmp_path / "base.json").write_text(first.to_json())
    again = judge(some, baseline=tmp_path / "base.json")
    assert again.baseline.passed
    worse = judge({**some, "encoder.z1": some["encoder.z1"] * np.float32(1 + 3e-6)}, baseline=tmp_path / "base.json")
    assert not worse.baseline.passed


def test_fresh_images_are_not_asked_of_it(judge, saved, sound, npz):
    report = judge(without_canary(saved), data=npz(sound, 4))
    assert {cell.encode for cell in report.cells if cell.images == "data"} == {"onnxruntime-cpu"}


@pytest.mark.slow
def test_the_page_shows_it(judge, saved, tmp_path):
    from glow_deploy.verify import write_html

    write_html(
        judge({name: array for name, array in without_canary(saved).items() if name != "round_trip.x"}),
        tmp_path / "r.html",
    )
    page = (tmp_path / "r.html").read_text()
    assert "outputs" in page
    assert "not compared" in page


def test_six_digits_of_a_text_are_named_before_the_engine_is_suspected(judge, saved, sound, tmp_path):
    from glow_deploy.verify.backends.saved import blame_digits

    report = judge(without_canary({**saved, "encoder.log_prob": saved["encoder.log_prob"] * np.float32(1.001)}))
    from glow_deploy.offline import read_outputs

    kept = read_outputs(sound.bundle, tmp_path / "out.npz")
    assert report.failures
    assert blame_digits(report.failures, kept) == report.failures
    for failure in blame_digits(report.failures, replace(kept, tools=("trtexec",))):
        assert "six digits" in failure.cause
