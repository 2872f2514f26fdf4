"""The canary as an ONNX graph: a decoder of one level to everything that opens, compiles or checks graphs here."""

from __future__ import annotations

import hashlib

import numpy as np

from .integers import IntegerCanary
from .operands import Canary

__all__ = ["INPUT", "OUTPUT", "canary_graph"]

INPUT, OUTPUT = "z1", "x"


def canary_graph(canary: Canary | IntegerCanary) -> bytes:
    """Return the bytes of an ONNX file: `z1` [batch, C, 16, 16] -> `x` of the same shape, float32, opset 20.

    The output channels are those of each of the canary's convolutions in turn, the 1x1 first. Being a decoder by its
    names and sizes, the graph opens in the same engines, by the same code, as the decoder of a model.
    """
    from glow_deploy.artifact.metadata import GraphMetadata
    from glow_deploy.folding import FoldedConv
    from glow_deploy.graphs.builder import GraphBuilder
    from glow_deploy.graphs.serialize import serialize

    builder = GraphBuilder("canary")
    channels, height, width = canary.images.shape[1:]
    source = builder.input(INPUT, (channels, height, width))
    results, digest = [], hashlib.sha256()
    for kind, weight in canary.weights.items():
        digest.update(weight.tobytes())
        conv = FoldedConv(weight=weight, bias=np.zeros(len(weight), np.float32))
        results.append(builder.conv(source, conv, name=f"canary/conv{kind}"))
    builder.node("Concat", results, name="canary/output", output=OUTPUT, axis=1)
    builder.output(OUTPUT, (channels, height, width))
    facts = GraphMetadata(
        role="decoder",
        n_bits=8,
        image_size=(height, width),
        channels=channels,
        levels=1,
        steps=1,
        coupling="additive",
        precision="fp32",
        num_classes=None,
        model_id=digest.hexdigest(),
    )
    return serialize(builder.build(facts.to_props()))
