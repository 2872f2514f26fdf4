from __future__ import annotations

import numpy as np
import pytest
from model_graphs import graphs_of
from narrow_graphs import narrow_graph, with_weight

from glow_core import GlowConfig
from glow_deploy.errors import UsageError
from glow_deploy.graphs.precision_plan import PrecisionPlan


def test_names_place_every_weight_and_node(perturbed_glow):
    graphs = graphs_of(perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=11, width=8)))
    for role, model in graphs.items():
        weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
        assert weights["level2/step07/invconv/weight"] == [24, 24, 1, 1], role
        assert weights["level1/step11/coupling/conv1/weight"] == [8, 6, 3, 3]
        assert weights["level1/step11/coupling/conv2/bias"] == [8]
        assert weights["level1/split/conv/weight"] == [12, 6, 3, 3]
        assert {tensor.data_type for tensor in model.graph.initializer} <= {1, 7}
        names = [node.name for node in model.graph.node]
        assert len(set(names)) == len(names)
        assert all(names)
        assert not model.graph.node[0].doc_string
        assert not model.doc_string


@pytest.mark.parametrize("sign", [1, -1])
def test_a_weight_beyond_float16_is_refused_by_name(sign, one_level):
    fits = with_weight(one_level, sign * 65519.0, part="conditioner")
    graph = narrow_graph(fits, "encoder", PrecisionPlan.uniform("mixed", fits))
    assert np.abs(graph.weights["level1/step01/coupling/conv1/weight"]).max() == 65504
    broken = with_weight(one_level, sign * 65520.0, part="conditioner")
    for name in ("mixed", "fp16"):
        with pytest.raises(UsageError, match=r"level1/step01/coupling/conv1/weight reaches 6\.55e\+04, beyond 65504"):
            narrow_graph(broken, "encoder", PrecisionPlan.uniform(name, broken))
    narrow_graph(broken, "encoder", PrecisionPlan.uniform("bf16-mixed", broken))
    narrow_graph(broken, "encoder", PrecisionPlan.auto(broken, narrow=["level1/step02"]))


def test_a_trunk_beyond_float16_is_refused_only_where_the_trunk_is_float16(one_level):
    broken = with_weight(one_level, 1e6, part="trunk")
    narrow_graph(broken, "encoder", PrecisionPlan.uniform("mixed", broken))
    with pytest.raises(UsageError, match="level1/step01/invconv/weight"):
        narrow_graph(broken, "encoder", PrecisionPlan.uniform("fp16", broken))
