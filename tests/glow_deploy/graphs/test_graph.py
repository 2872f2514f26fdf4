from __future__ import annotations

import numpy as np
import onnx
from model_graphs import models_of
from onnx import numpy_helper


def test_the_model_is_the_skeleton_with_a_copy_of_every_weight(one_level):
    graph = models_of(one_level)["encoder"]
    before = graph.skeleton.SerializeToString(deterministic=True)
    model = graph.to_model()
    onnx.checker.check_model(model, full_check=True)
    assert [tensor.name for tensor in model.graph.initializer] == list(graph.weights)
    for tensor in model.graph.initializer:
        assert numpy_helper.to_array(tensor).dtype == graph.weights[tensor.name].dtype
        assert np.array_equal(numpy_helper.to_array(tensor), graph.weights[tensor.name])
    # Nothing is added to the skeleton, so that a second model has every weight once again.
    assert graph.skeleton.SerializeToString(deterministic=True) == before
    assert graph.to_model() == model


def test_the_weights_are_those_of_the_folded_model_and_no_copies(one_level):
    graph = models_of(one_level)["encoder"]
    conv2 = one_level.levels[0].steps[0].conditioner.conv2
    assert np.shares_memory(graph.weights["level1/step01/coupling/conv2/weight"], conv2.weight)
