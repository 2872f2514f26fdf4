"""Faults planted into edges and independent priors: each is named, at its place, in the graph it is in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from blame import ROLES

KINDS = {"edge_bias": True, "bounded_scale": False, "image_size": (16, 16)}
OWN = {"prior": "independent", "num_classes": 3}


def only(name, change):
    return lambda found, array: change(array) if found == name else None


def without(model, role, name):
    """Take an edge out of one graph: its table, what spreads it and the node that adds it."""
    import onnx

    graph = onnx.ModelProto()
    graph.CopyFrom(getattr(model, role))
    conv = name.removesuffix("/minus_edge")
    kept = [node for node in graph.graph.node if not node.name.startswith((f"{name}/", f"{conv}/add_edge"))]
    assert len(graph.graph.node) - len(kept) == 3
    for node in kept:
        node.input[:] = [f"{conv}:0" if given == f"{conv}/add_edge:0" else given for given in node.input]
    del graph.graph.node[:]
    graph.graph.node.extend(kept)
    weights = [tensor for tensor in graph.graph.initializer if tensor.name != name]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(weights)
    return replace(model, **{role: graph})


def assert_named(report, step, direction, *words):
    first = report.first_jump
    assert first is not None, "nothing was named"
    assert (first.step, first.direction, first.kind) == (step, direction, "weights"), str(first)
    for word in words:
        assert word in str(first), str(first)


@pytest.mark.parametrize(("role", "direction"), ROLES)
@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("level1/step02", "level1/step02/coupling/conv1/minus_edge"),
        ("level2/step01", "level2/step01/coupling/conv3/minus_edge"),
        ("level1/split", "level1/split/conv/minus_edge"),
    ],
)
def test_a_wrong_edge(case, step, name, role, direction):
    for change in (lambda array: array[:, :, ::-1], lambda array: array + 0.02):
        report = case(**KINDS).change(role, only(name, change)).measure()
        assert_named(report, step, direction, name)


@pytest.mark.parametrize(("role", "direction"), ROLES)
@pytest.mark.parametrize("told_by", ["weights", "trained"])
def test_a_missing_edge(case, told_by, role, direction):
    model = case(**KINDS)
    name = "level1/step02/coupling/conv1/minus_edge"
    trained = dict(model.folded.named_arrays()) if told_by == "trained" else None
    report = without(model, role, name).measure(trained=trained, golden=None)
    words = ("has no", name) if trained else ("only one graph holds", name)
    assert_named(report, "level1/step02", direction if trained else None, *words)


def test_an_edge_that_both_graphs_lack(case):
    model = case(**KINDS)
    name = "level1/step02/coupling/conv3/minus_edge"
    spoilt = without(without(model, "encoder", name), "decoder", name)
    report = spoilt.measure(trained=dict(model.folded.named_arrays()))
    found = [(jump.step, jump.direction) for jump in report.backends[0].jumps[:2]]
    assert found == [("level1/step02", "encode"), ("level1/step02", "decode")]
    # The golden vectors alone say the level.
    first = spoilt.measure().first_jump
    assert (first.step, first.kind) == ("level1", "reference")


@pytest.mark.parametrize(("role", "direction"), ROLES)
def test_an_edge_spread_wrongly(case, role, direction):
    change = only("constants/edge_index/8", lambda index: np.roll(index, 1))
    first = case(**KINDS).change(role, change).measure().first_jump
    assert first.kind == "undo"
    assert first.step.startswith("level1/")


@pytest.mark.parametrize(("role", "direction"), ROLES)
@pytest.mark.parametrize("path", ["level1/split", "prior"])
@pytest.mark.parametrize("weight", ["mean", "scale"])
@pytest.mark.parametrize("told_by", ["golden", "trained"])
def test_a_wrong_prior(case, told_by, weight, path, role, direction):
    model = case(**OWN)
    name = f"{path}/inverse_{weight}" if (role, weight) == ("encoder", "scale") else f"{path}/{weight}"
    options = {} if told_by == "golden" else {"golden": None, "trained": dict(model.folded.named_arrays())}

    def change(array):
        array[:, 0] += 0.02
        return array

    assert_named(model.change(role, only(name, change)).measure(**options), path, direction, weight)


@pytest.mark.parametrize(("role", "direction"), ROLES)
def test_class_labels_exchanged_in_one_graph(case, role, direction):
    def change(name, array):
        place, _, last = name.rpartition("/")
        return array[[1, 0, 2]] if place == "level1/split" and last.endswith(("mean", "scale")) else None

    report = case(**OWN).change(role, change).measure()
    assert_named(report, "level1/split", direction, "class labels are exchanged")


def test_class_labels_exchanged_in_the_images(case):
    model = case(**OWN)
    golden = replace(model.golden, y=np.array([1, 0, 2, 1]))
    first = replace(model, y=golden.y).measure(golden=golden).first_jump
    assert (first.step, first.kind) == ("prior", "reference")
    assert "class labels are exchanged" in str(first)


@pytest.mark.parametrize(("role", "direction"), ROLES)
def test_an_edge_computed_in_float16(case, role, direction):
    report = case(**KINDS).rounded(role, ["level2/step02/coupling/conv1/add_edge:0"]).measure()
    first = report.first_jump
    assert (first.step, first.direction, first.kind) == ("level2/step02", direction, "arithmetic")
