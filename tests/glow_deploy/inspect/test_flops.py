from __future__ import annotations

import numpy as np

from glow_deploy.inspect.flops import convolutions, flops_per_image


def test_flops_are_those_of_the_convolutions():
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5, 4, 4])
    nodes = [
        helper.make_node("SpaceToDepth", ["x"], ["s"], blocksize=2),
        helper.make_node("Conv", ["s", "w"], ["y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    weight = numpy_helper.from_array(np.zeros((5, 12, 3, 3), np.float32), "w")
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], [weight]), ir_version=10)
    (conv,) = convolutions(model)
    assert (conv.rows, conv.inner, conv.columns) == (5, 12 * 9, 16)
    assert flops_per_image(model) == 2 * 5 * 12 * 9 * 16
