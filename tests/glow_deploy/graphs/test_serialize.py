import hashlib

import numpy as np
import onnx
import pytest

from glow_core import GlowConfig
from glow_deploy.errors import UsageError
from glow_deploy.folding.fold import fold
from glow_deploy.graphs import serialize as module
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.graphs.serialize import serialize, write_graph


@pytest.fixture
def folded(perturbed_glow):
    return fold(perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=200, num_classes=3)))


@pytest.fixture
def graph(folded):
    facts = describe(folded, role="encoder", precision="fp32", model_id=folded.model_id())
    return build_encoder(folded, metadata=facts)


def test_bytes_parse_back_to_the_same_model(graph):
    data, model = serialize(graph), graph.to_model()
    parsed = onnx.load_from_string(data)
    assert parsed == model
    assert len(data) == model.ByteSize()
    assert any(len(tensor.raw_data) > 2**14 for tensor in parsed.graph.initializer)  # lengths of three bytes


def test_a_model_beyond_one_file_is_refused(graph, monkeypatch):
    monkeypatch.setattr(module, "SIZE_LIMIT", 100_000)
    with pytest.raises(UsageError, match="2 GiB"):
        serialize(graph)


def test_a_file_holds_the_same_bytes_and_its_sha256_is_told(graph, tmp_path):
    digest = write_graph(graph, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == serialize(graph)
    assert digest == hashlib.sha256(serialize(graph)).hexdigest()


def test_building_copies_no_large_weight(folded, graph):
    folded_weight = folded.levels[0].steps[0].conditioner.conv2.weight
    assert np.shares_memory(graph.weights["level1/step01/coupling/conv2/weight"], folded_weight)
