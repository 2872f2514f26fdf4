from __future__ import annotations

from dataclasses import replace

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.engines.open import open_engine
from glow_deploy.errors import UsageError
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


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_exact_graphs_are_not_served_yet(bundle, role):
    plain = Bundle.open(bundle)
    exact = replace(plain, manifest=replace(plain.manifest, precision="exact"))
    with pytest.raises(UsageError, match="cannot yet be served"):
        bundle_engine_model(exact, "faces", role)
