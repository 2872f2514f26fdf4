import onnx
import pytest

from glow_core import GlowConfig
from glow_deploy.errors import UsageError
from glow_deploy.folding.fold import fold
from glow_deploy.graphs import serialize as module
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.graphs.metadata import GraphMetadata
from glow_deploy.graphs.serialize import serialize


@pytest.fixture
def model(perturbed_glow):
    folded = fold(perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=200, num_classes=3)))
    facts = GraphMetadata.of(folded, role="encoder", precision="fp32", model_id=folded.model_id())
    return build_encoder(folded, metadata=facts)


def test_bytes_parse_back_to_the_same_model(model):
    data = serialize(model)
    parsed = onnx.load_from_string(data)
    assert parsed == model
    assert len(data) == model.ByteSize()
    assert any(len(tensor.raw_data) > 2**14 for tensor in parsed.graph.initializer)  # lengths of three bytes


def test_a_model_beyond_one_file_is_refused(model, monkeypatch):
    monkeypatch.setattr(module, "SIZE_LIMIT", 100_000)
    with pytest.raises(UsageError, match="2 GiB"):
        serialize(model)
