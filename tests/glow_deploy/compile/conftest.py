"""Fixtures of the compile tests: the hand-written graphs, and the graphs of a real small Glow."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny():
    path = Path(__file__).parents[1] / "engines" / "tiny_graphs.py"
    spec = importlib.util.spec_from_file_location("glow_test_tiny_graphs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_bundle(tiny, folder: Path, encoder: bytes, decoder: bytes) -> Path:
    """Write a bundle without golden vectors."""
    folder.mkdir(exist_ok=True)
    files = {"encoder.onnx": encoder, "decoder.onnx": decoder}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "manifest.json").write_text(json.dumps(tiny.manifest(files)))
    return folder


@pytest.fixture
def bundle(tmp_path, tiny):
    return write_bundle(
        tiny, tmp_path / "bundle", tiny.encoder().SerializeToString(), tiny.decoder().SerializeToString()
    )


@pytest.fixture(params=["affine, unconditional", "additive, class-conditional", "edges and independent priors, class"])
def glow_bundle(request, tmp_path, perturbed_glow, tiny):
    """Both graphs of a perturbed two-level Glow."""
    pytest.importorskip("torch", reason="folding a Glow needs torch")
    from glow_core import GlowConfig
    from glow_deploy.folding.fold import fold
    from glow_deploy.graphs.decoder import build_decoder
    from glow_deploy.graphs.describe import describe
    from glow_deploy.graphs.encoder import build_encoder

    options = {"num_classes": 4} if "class" in request.param else {}
    options |= {"coupling": "additive"} if "additive" in request.param else {}
    options |= {"edge_bias": True, "prior": "independent"} if "edges" in request.param else {}
    folded = fold(perturbed_glow(GlowConfig(image_size=(8, 16), levels=2, steps=3, width=16, n_bits=5, **options)))
    graphs = {
        role: build(folded, metadata=describe(folded, role=role, precision="fp32", model_id="1" * 64)).to_model()
        for role, build in (("encoder", build_encoder), ("decoder", build_decoder))
    }
    return write_bundle(
        tiny, tmp_path / "glow", graphs["encoder"].SerializeToString(), graphs["decoder"].SerializeToString()
    )
