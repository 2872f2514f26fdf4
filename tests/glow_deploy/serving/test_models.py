from __future__ import annotations

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.engines.open import open_engine
from glow_deploy.serving.models import bundle_engine_model, canary_model, sample_model, score_model


@pytest.mark.parametrize("kind", ["bundle", "class_bundle"])
def test_served_engines_take_and_give_what_the_engines_do(kind, request):
    path = request.getfixturevalue(kind)
    for role in ("encoder", "decoder"):
        model = bundle_engine_model(Bundle.open(path), "faces", role)
        assert (model.name, model.batched) == (f"faces-{role}", True)
        with open_engine(path / f"{role}.onnx") as engine:
            for tensors, specs in ((model.inputs, engine.inputs), (model.outputs, engine.outputs)):
                assert {tensor.name: (tensor.dtype, tensor.shape) for tensor in tensors} == {
                    spec.name: (spec.dtype, (-1, *(spec.shape or (1,)))) for spec in specs
                }


def test_labels_are_asked_for_where_the_model_has_classes(bundle, class_bundle):
    for make in (score_model, sample_model):
        names = [[tensor.name for tensor in make(Bundle.open(path), "g").inputs] for path in (bundle, class_bundle)]
        assert ["y" in found for found in names] == [False, True]
    assert canary_model("g").name == "g-canary"


def test_exact_graphs_are_served_with_the_tensors_that_they_have(exact_bundle):
    encoder, decoder = (bundle_engine_model(Bundle.open(exact_bundle), "e", role) for role in ("encoder", "decoder"))
    assert [tensor.name for tensor in encoder.inputs] == ["x", "y"]
    assert [tensor.name for tensor in encoder.outputs] == ["z1", "z2", "normal1", "normal2", "log_prob", "in_range"]
    assert [(tensor.name, tensor.shape) for tensor in decoder.inputs][2:] == [
        ("as_normal", (-1, 1, 1, 1)),
        ("y", (-1, 1)),
    ]
    assert [tensor.name for tensor in decoder.outputs] == ["x", "in_range"]
