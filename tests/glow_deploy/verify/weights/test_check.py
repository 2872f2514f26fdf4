"""Weights and structure, compared without running a graph. Every fault is planted; every sound model is a control."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.verify.matrix.precision import read_precision
from glow_deploy.verify.report.weights import EXPORT, PAIR, STRUCTURE, TRAINED
from glow_deploy.verify.weights import check_weights, structure

BOTH = ("encoder", "decoder")
KINDS = {
    "affine": {},
    "unbounded": {"bounded_scale": False},
    "additive, one level": {"coupling": "additive", "levels": 1},
    "classes": {"num_classes": 3},
    "shuffled, grey": {"permutation": "shuffle", "channels": 1},
    "edges": {"edge_bias": True, "levels": 3},
    "independent priors": {"prior": "independent", "num_classes": 2},
    "plain, 5 bits": {"permutation": "plain", "n_bits": 5},
}


def look(bundle, **options):
    bundle = Bundle.open(bundle)
    precision = read_precision(bundle)
    return check_weights(bundle, plan=None if precision is None else precision.plan, **options)


def found(report):
    return {check.name: check.found for check in report.checks}


def sign(folder, edit=None):
    """Write what the manifest says of the files anew."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("encoder.onnx", "decoder.onnx"):
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    if edit is not None:
        edit(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def forget(manifest):
    """As of a release that kept no digests."""
    del manifest["numerics"]["weights"]
    manifest["versions"]["glow-deploy"] = "0.1.0"


def change_graph(source, target, change, *, roles=BOTH, edit=None):
    shutil.copytree(source, target)
    for role in roles:
        model = onnx.load(target / f"{role}.onnx")
        change(model)
        (target / f"{role}.onnx").write_bytes(model.SerializeToString())
    return sign(target, edit)


def one_weight(name, change):
    def planted(model):
        for tensor in model.graph.initializer:
            if tensor.name == name:
                before = numpy_helper.to_array(tensor)
                after = change(before.copy())
                assert not np.array_equal(before, after)
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(after.astype(before.dtype)), name))
                return
        raise AssertionError(f"{name} is not there")

    return planted


def next_float(array):
    flat = array.reshape(-1)
    flat[np.abs(flat).argmax()] = np.nextafter(flat[np.abs(flat).argmax()], array.dtype.type(9))
    return array


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_model_passes_whatever_its_kind(exported, kind):
    model = exported(**KINDS[kind])
    report = look(model.bundle, ckpt=model.ckpt)
    assert found(report) == dict.fromkeys((STRUCTURE, PAIR, EXPORT, TRAINED), "pass"), report
    assert report.verdict == "sound"
    assert report.findings == ()


@pytest.mark.parametrize("precision", ["mixed", "bf16-mixed", "fp16"])
def test_a_sound_model_in_16_bit_passes(exported, tmp_path, precision):
    from glow_deploy.export import ExportSettings, export

    model = exported(num_classes=3)
    export(model.ckpt, out=tmp_path / "b", settings=ExportSettings(precision=precision, force=True))
    report = look(tmp_path / "b", ckpt=model.ckpt)
    assert set(found(report).values()) == {"pass"}, report


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "of an older release"])
@pytest.mark.parametrize("roles", [("encoder",), ("decoder",), BOTH], ids="-".join)
@pytest.mark.parametrize(
    "name",
    [
        "level1/step02/coupling/conv1/weight",
        "level2/step01/coupling/conv2/bias",
        "level1/step01/invconv/weight",
        "level1/split/conv/weight",
        "prior/mean",
    ],
)
def test_one_weight_that_is_off(sound, tmp_path, name, roles, kept):
    change = one_weight(name, lambda array: array * 1.0001)
    report = look(change_graph(sound.bundle, tmp_path / "b", change, roles=roles, edit=None if kept else forget))
    part = "/".join(name.split("/")[:2]) if name.startswith("level") else "prior"
    if not kept and roles == BOTH and "invconv" not in name:
        # Both graphs agree, and nothing says what was exported.
        assert report.verdict == "not compared"
        return
    assert report.verdict == "unsound"
    assert part in {finding.part for finding in report.findings}
    if kept:
        (finding,) = (finding for finding in report.findings if finding.part == part)
        assert finding.files == tuple(f"{role}.onnx" for role in roles)


@pytest.mark.parametrize("roles", [("encoder",), BOTH], ids="-".join)
def test_one_unit_in_the_last_place_of_one_weight(sound, tmp_path, roles):
    change = one_weight("level2/step03/coupling/conv2/weight", next_float)
    report = look(change_graph(sound.bundle, tmp_path / "b", change, roles=roles))
    assert found(report)[EXPORT] == "fail"
    assert found(report)[PAIR] == ("pass" if roles == BOTH else "fail")


@pytest.mark.parametrize("name", ["encoder.onnx log_prob/constant", "encoder.onnx prior/log_det"])
def test_a_log_determinant_that_is_not_of_the_weights(exported, tmp_path, name):
    model = exported(num_classes=3)
    change = one_weight(name.split()[1], lambda array: array + 0.05)
    bundle = change_graph(model.bundle, tmp_path / "b", change, roles=("encoder",), edit=forget)
    report = look(bundle)
    assert report.verdict == "unsound"
    assert "log-det" in report.findings[0].detail or "log_det" in report.findings[0].detail


def test_a_class_that_no_golden_image_has(exported, tmp_path, quick):
    model = exported(num_classes=3, golden=2)
    (golden,) = {tuple(Bundle.open(model.bundle).golden().y)}
    assert 2 not in golden

    def move(array):
        array[2] += 0.5
        return array

    bundle = change_graph(model.bundle, tmp_path / "b", one_weight("prior/mean", move))
    report = quick(bundle)
    assert not report.sound
    assert report.verdicts.weights == "unsound"
    assert report.verdicts.round_trip == report.verdicts.likelihood == "sound"  # the images do not show it
    assert report.failures[0].verdict == "weights"
    assert "prior" in str(report.failures[0])


def test_a_hidden_unit_that_no_image_reaches(sound, tmp_path, quick):
    def quiet(array):
        array[0] = -100.0
        return array

    def planted(model):
        one_weight("level1/step02/coupling/conv1/bias", quiet)(model)

    base = change_graph(sound.bundle, tmp_path / "base", planted)
    digests = json.loads((base / "manifest.json").read_text())["numerics"]["weights"]
    assert set(digests) == set(BOTH)
    report = quick(base)
    assert report.verdicts.weights == "unsound"


def rename_a_node(model):
    model.graph.node[3].name = "other"


def another_operator(model):
    node = next(node for node in model.graph.node if node.op_type == "Add")
    node.op_type = "Sub"


def one_node_more(model):
    last = model.graph.output[0].name
    node = next(node for node in model.graph.node if last in node.output)
    node.output[:] = [f"{last}_before" if name == last else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "memory"))
    place = list(model.graph.node).index(node)
    model.graph.node.insert(
        place + 1, onnx.helper.make_node("Mul", [f"{last}_before", "memory"], [last], name="memory/mul")
    )


def inputs_exchanged(model):
    node = next(node for node in model.graph.node if node.op_type == "Concat")
    node.input[:] = list(node.input)[::-1]


def another_constant(model):
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name.startswith("constants/"))
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(array + array.dtype.type(1), tensor.name))


@pytest.mark.parametrize("change", [rename_a_node, another_operator, one_node_more, inputs_exchanged, another_constant])
@pytest.mark.parametrize("role", BOTH)
def test_a_graph_of_another_structure(sound, tmp_path, role, change):
    report = look(change_graph(sound.bundle, tmp_path / "b", change, roles=(role,)))
    assert found(report)[STRUCTURE] == "fail"
    assert report.verdict == "unsound"
    assert report.findings[-1].files == (f"{role}.onnx",) or report.findings[0].files == (f"{role}.onnx",)


def test_another_structure_of_another_version_is_unknown_and_not_damaged(sound, tmp_path):
    def older(manifest):
        forget(manifest)
        manifest["versions"]["glow-deploy"] = "0.0.9"

    report = look(change_graph(sound.bundle, tmp_path / "b", rename_a_node, edit=older))
    assert found(report) == {STRUCTURE: "not compared", PAIR: "not compared", EXPORT: "not compared"}
    assert report.verdict == "not compared"
    assert "structure unknown to this version" in report.checks[0].detail
    assert "export the model again" in report.checks[0].detail


def test_a_bundle_of_this_version_must_say_what_was_exported(sound, tmp_path):
    shutil.copytree(sound.bundle, tmp_path / "b")
    report = look(sign(tmp_path / "b", edit=lambda manifest: manifest["numerics"].pop("weights")))
    assert found(report)[EXPORT] == "fail"
    assert report.verdict == "unsound"


@pytest.mark.parametrize("role", BOTH)
def test_other_nodes_are_noticed_whatever_version_built_them(sound, tmp_path, role):
    """A later version cannot build the graph again, but the manifest says which nodes were exported."""

    def later(manifest):
        manifest["versions"]["glow-deploy"] = "0.0.9"

    report = look(change_graph(sound.bundle, tmp_path / "b", one_node_more, roles=(role,), edit=later))
    assert found(report)[STRUCTURE] == "not compared"
    assert found(report)[EXPORT] == "fail"
    assert report.verdict == "unsound"
    assert "nodes are not those that were exported" in report.findings[0].detail


def test_the_checkpoints_weights_in_nodes_that_nobody_knows_are_no_sound_model(sound, tmp_path):
    def older(manifest):
        forget(manifest)
        manifest["versions"]["glow-deploy"] = "0.0.9"

    report = look(change_graph(sound.bundle, tmp_path / "b", rename_a_node, edit=older), ckpt=sound.ckpt)
    assert found(report)[TRAINED] == "pass"
    assert report.verdict == "not compared"


@pytest.mark.parametrize("roles", [("encoder",), BOTH], ids=["encoder", "both"])
def test_a_1x1_that_nothing_undoes_is_no_pass(sound, tmp_path, roles):
    """Two rows are the same. A tolerance that grows with the condition number must not swallow that."""

    def repeat(array):
        array = array.copy()
        array[1] = array[0]
        return array

    change = one_weight("level1/step01/invconv/weight", repeat)
    report = look(change_graph(sound.bundle, tmp_path / "b", change, roles=roles, edit=forget))
    assert found(report)[PAIR] == "fail"
    assert report.verdict == "unsound"


def test_a_bundle_without_digests_says_so_and_is_not_damaged(sound, tmp_path, quick):
    shutil.copytree(sound.bundle, tmp_path / "b")
    report = quick(sign(tmp_path / "b", edit=forget))
    assert report.sound
    assert report.verdicts.weights == "not compared"
    assert look(tmp_path / "b", ckpt=sound.ckpt).verdict == "sound"


@pytest.mark.parametrize("digests", [[], {"encoder": {}}, {"encoder": {"prior": 3}, "decoder": {}}, "no"])
def test_malformed_digests_are_refused(sound, tmp_path, digests):
    from glow_deploy.errors import BundleError

    def change(manifest):
        manifest["numerics"]["weights"] = digests

    shutil.copytree(sound.bundle, tmp_path / "b")
    with pytest.raises(BundleError, match="weights"):
        look(sign(tmp_path / "b", edit=change))


def test_the_checkpoint_is_compared_bit_for_bit(sound, tmp_path):
    change = one_weight("level1/step02/coupling/conv3/weight", lambda array: array * 1.0001)
    report = look(change_graph(sound.bundle, tmp_path / "b", change, edit=forget), ckpt=sound.ckpt)
    assert found(report)[TRAINED] == "fail"
    assert "level1/step02/coupling/conv3/weight" in report.findings[0].detail


def test_another_checkpoint_is_asked_about(sound, exported):
    report = look(sound.bundle, ckpt=exported(seed=21).ckpt)
    assert found(report)[TRAINED] == "fail"
    assert "is " in report.findings[0].advice
    assert report.findings[0].advice.endswith("?")


def test_plans_are_not_compared(sound):
    report = look(sound.bundle, plans=("tensorrt",))
    assert report.checks[-1].found == "not compared"
    assert "tensorrt" in report.checks[-1].detail
    assert report.verdict == "sound"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("width", 65536, "level1/step01/coupling/conv1/weight is"),
        ("steps", 1024, "it has no weight level1/step"),
        ("num_classes", 1_000_000, "prior/mean is"),
    ],
)
def test_a_manifest_that_asks_for_terabytes_is_compared_and_not_built(sound, tmp_path, monkeypatch, key, value, words):
    """The control is every sound model above, of which the zeros are built."""
    monkeypatch.setattr(structure, "blank_model", lambda *_, **__: pytest.fail("built"))
    shutil.copytree(sound.bundle, tmp_path / "b")
    opened = Bundle.open(sign(tmp_path / "b"))
    forged = replace(opened, manifest=replace(opened.manifest, model={**opened.manifest.model, key: value}))
    report = check_weights(forged, plan=None)
    assert (report.checks[0].found, words in report.checks[0].detail) == ("fail", True)
