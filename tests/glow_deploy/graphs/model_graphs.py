"""Both graphs of a model, as the tests of the builders look at them."""

from __future__ import annotations

import onnxruntime

from glow_deploy.folding.fold import fold
from glow_deploy.graphs.decoder import build_decoder
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder

BUILD = {"encoder": build_encoder, "decoder": build_decoder}


def models_of(folded, plan=None):
    """Role -> graph of a folded model, with its weights beside it."""
    name = "fp32" if plan is None else plan.name
    facts = {role: describe(folded, role=role, precision=name, model_id=folded.model_id()) for role in BUILD}
    return {role: build(folded, metadata=facts[role], plan=plan) for role, build in BUILD.items()}


def graphs_of(glow):
    """Role -> ONNX model of a Glow."""
    return {role: graph.to_model() for role, graph in models_of(fold(glow)).items()}


def session_of(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
