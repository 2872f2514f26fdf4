"""Graphs for older runtimes: the same model in an older operator set and file version."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from glow_deploy.errors import UsageError
from glow_deploy.graphs.target import GraphTarget


@pytest.fixture(scope="module")
def exported_to(making, tmp_path_factory):
    """Export one model to any target; each once."""
    from glow_deploy.export import export

    folder = tmp_path_factory.mktemp("target")
    model = making.export_model(folder / "m", golden=4, steps=2, width=6, num_classes=3)
    made = {}

    def get(**options):
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = export(model.ckpt, out=folder / str(len(made)), golden=4, **options)
        return made[key]

    return get


def graphs(bundle):
    return [onnx.load(bundle.path / f"{role}.onnx") for role in ("encoder", "decoder")]


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_an_older_operator_set_is_valid_and_gives_the_same_bits(exported_to, opset):
    import onnxruntime

    older, ours = exported_to(opset=opset), exported_to()
    golden = ours.golden()
    for model, newest in zip(graphs(older), graphs(ours), strict=True):
        onnx.checker.check_model(model, full_check=True)
        assert model.opset_import[0].version == opset
        assert model.ir_version == onnx.helper.find_min_ir_version_for(model.opset_import)
        for node in model.graph.node:
            # What the operator set itself says of each: none is newer, and Split has no attribute that it lacks.
            schema = onnx.defs.get_schema(node.op_type, opset)
            assert {attribute.name for attribute in node.attribute} <= set(schema.attributes), node.name
        assert [tensor.SerializeToString() for tensor in model.graph.initializer] == [
            tensor.SerializeToString() for tensor in newest.graph.initializer
        ]
        feeds = {"x": golden.x} | {f"z{n}": z.astype(np.float32) for n, z in enumerate(golden.z, 1)} | {"y": golden.y}
        feeds = {value.name: feeds[value.name] for value in model.graph.input}
        results = [
            onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
            for part in (model, newest)
        ]
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_split_of_today_in_an_old_operator_set_would_be_noticed(exported_to):
    model = graphs(exported_to())[0]
    model.opset_import[0].version = 13
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model, full_check=True)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"opset": 13}, {"opset": 15, "precision": "mixed"}], ids=str)
def test_verify_knows_the_graphs_of_every_target(exported_to, options):
    from glow_deploy.verify import verify

    report = verify(exported_to(**options), backends="onnxruntime-cpu", random_draws=0, largest_batch=2)
    assert report.sound
    assert report.verdicts.weights == "sound"


def test_the_file_version_is_what_was_asked_for_and_the_rest_is_the_same(exported_to):
    for model, newest in zip(graphs(exported_to(ir_version=8)), graphs(exported_to()), strict=True):
        assert (model.ir_version, newest.ir_version) == (8, 10)
        model.ir_version = 10
        assert model.SerializeToString(deterministic=True) == newest.SerializeToString(deterministic=True)


def test_asking_for_the_newest_changes_no_byte(exported_to):
    named, ours = exported_to(opset=20, ir_version=10), exported_to()
    for role in ("encoder", "decoder"):
        assert (named.path / f"{role}.onnx").read_bytes() == (ours.path / f"{role}.onnx").read_bytes()


def test_what_no_glow_can_be_written_in_is_refused(tmp_path):
    from glow_deploy.export import ExportSettings

    for options, said in (
        ({"opset": 12}, "opset is 12; graphs of a Glow are written in 13 to 20"),
        ({"opset": 21}, "opset is 21"),
        ({"ir_version": 6}, "ir_version is 6; graphs of a Glow are written in 7 to 10"),
        ({"opset": 20, "precision": "bf16-mixed"}, "need operator set 22"),
        ({"opset": 1.5}, "opset must be a whole number"),
    ):
        with pytest.raises(UsageError, match=said):
            ExportSettings(**options)


def test_a_graph_says_what_it_is_written_in(exported_to):
    assert GraphTarget.of(graphs(exported_to(opset=13))[0]) == GraphTarget(opset=13, ir_version=7)
    assert GraphTarget.of(graphs(exported_to())[0]) == GraphTarget()
    strange = graphs(exported_to())[0]
    strange.opset_import[0].version, strange.ir_version = 3, 99
    assert GraphTarget.of(strange) == GraphTarget()
