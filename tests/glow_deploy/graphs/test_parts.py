from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from model_graphs import models_of

from glow_core import GlowConfig
from glow_deploy.errors import UsageError
from glow_deploy.folding.arrays import FoldedConv, FoldedPrior, edge_index
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.graphs.serialize import serialize


def test_edges_are_small_tables_spread_where_they_are_used(glow):
    models = models_of(fold(glow))
    for role, graph in models.items():
        weights = {name: list(array.shape) for name, array in graph.weights.items()}
        assert weights["level1/step01/coupling/conv1/minus_edge"] == [1, 8, 3, 3], role
        assert weights["level1/step01/coupling/conv3/minus_edge"] == [1, 4, 3, 3]
        assert weights["level1/split/conv/minus_edge"] == [1, 4, 3, 3]
        assert weights["level2/step01/coupling/conv1/minus_edge"] == [1, 8, 3, 2]
        assert weights["level3/step02/coupling/conv1/minus_edge"] == [1, 8, 2, 1]
        assert "level1/step01/coupling/conv2/minus_edge" not in weights
        nodes = {node.name: node for node in graph.skeleton.graph.node}
        gathers = {name: list(node.input)[1] for name, node in nodes.items() if node.op_type == "Gather"}
        assert len(gathers) == 5 * 2 + 5  # both sides of level 1, the rows of level 2; nothing of level 3
        assert gathers["level1/step01/coupling/conv1/minus_edge/rows"] == "constants/edge_index/8"
        assert gathers["level1/step01/coupling/conv1/minus_edge/columns"] == "constants/edge_index/4"
        assert gathers["level2/split/conv/minus_edge/rows"] == "constants/edge_index/4"
        assert np.array_equal(graph.weights["constants/edge_index/8"], edge_index(8))
        assert list(nodes["level3/step01/coupling/conv3/add_edge"].input) == [
            "level3/step01/coupling/conv3:0",
            "level3/step01/coupling/conv3/minus_edge",
        ]
        # ONNX Runtime's CUDA provider would fuse Conv, Add and Relu, and expect no smaller batch in what is added.
        convs = {node.output[0] for node in nodes.values() if node.op_type == "Conv"}
        assert not [name for name, node in nodes.items() if node.op_type == "Add" and convs & {*node.input}]
        assert len(nodes) == len(graph.skeleton.graph.node)


def test_edges_cost_nothing_that_grows_with_the_image(perturbed_glow):
    sizes = {}
    for side in (16, 64):
        for edge_bias in (False, True):
            config = GlowConfig(image_size=(side, side), levels=1, steps=2, width=16, edge_bias=edge_bias)
            folded = fold(perturbed_glow(config))
            # The last prior of a model with edges is a map; all else is small tables.
            prior = FoldedPrior(mean=folded.prior.mean[..., :1, :1], log_scale=folded.prior.log_scale[..., :1, :1])
            folded = dataclasses.replace(folded, prior=prior)
            sizes[side, edge_bias] = len(serialize(models_of(folded)["encoder"]))
    added = {side: sizes[side, True] - sizes[side, False] for side in (16, 64)}
    assert added[64] - added[16] < 8 * 32 + 16  # a longer index


def test_models_without_edges_have_no_node_more(glow):
    folded = fold(glow)
    bare = [
        dataclasses.replace(
            level,
            steps=tuple(
                dataclasses.replace(step, conditioner=_without_edges(step.conditioner)) for step in level.steps
            ),
            split=dataclasses.replace(level.split, edge=None) if isinstance(level.split, FoldedConv) else level.split,
        )
        for level in folded.levels
    ]
    for graph in models_of(dataclasses.replace(folded, levels=tuple(bare))).values():
        assert not [node.name for node in graph.skeleton.graph.node if "edge" in node.name]
        assert not [name for name in graph.weights if "edge" in name]


def _without_edges(net):
    return dataclasses.replace(
        net, conv1=dataclasses.replace(net.conv1, edge=None), conv3=dataclasses.replace(net.conv3, edge=None)
    )


def test_a_plan_and_metadata_of_another_graph_are_refused(one_level):
    facts = describe(one_level, role="encoder", precision="fp32", model_id="1" * 64)
    with pytest.raises(UsageError, match="precision mixed cannot carry the metadata of precision fp32"):
        build_encoder(one_level, metadata=facts, plan=PrecisionPlan.uniform("mixed", one_level))
    facts = dataclasses.replace(facts, precision="mixed")
    with pytest.raises(UsageError, match="precision fp32 cannot carry"):
        build_encoder(one_level, metadata=facts)
    with pytest.raises(UsageError, match="another model"):
        build_encoder(one_level, metadata=facts, plan=PrecisionPlan.uniform("mixed", ["level1/step01"]))
