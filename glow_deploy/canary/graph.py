"""The canary as an ONNX graph: a decoder of one level to everything that opens, compiles or checks graphs here."""

from __future__ import annotations

import hashlib

import numpy as np

from .operands import CHANNELS, KERNELS, SIZE, Canary

__all__ = ["INPUT", "OUTPUT", "canary_graph"]

INPUT, OUTPUT = "z1", "x"


def canary_graph(canary: Canary) -> bytes:
    """Return the bytes of an ONNX file: `z1` [batch, 128, 16, 16] -> `x` of the same shape, float32, opset 20.

    The first half of the output channels is the 1x1 convolution of the input, the second half the 3x3. Being a decoder
    by its names and sizes, the graph opens in the same engines, by the same code, as the decoder of a model.
    """
    from glow_deploy.artifact.metadata import GraphMetadata
    from glow_deploy.folding import FoldedConv
    from glow_deploy.graphs.builder import GraphBuilder
    from glow_deploy.graphs.serialize import serialize

    builder = GraphBuilder("canary")
    source = builder.input(INPUT, (CHANNELS, SIZE, SIZE))
    results, digest = [], hashlib.sha256()
    for kind in KERNELS:
        weight = canary.weights[kind]
        digest.update(weight.tobytes())
        conv = FoldedConv(weight=weight, bias=np.zeros(len(weight), np.float32))
        results.append(builder.conv(source, conv, name=f"canary/conv{kind}"))
    builder.node("Concat", results, name="canary/output", output=OUTPUT, axis=1)
    builder.output(OUTPUT, (CHANNELS, SIZE, SIZE))
    facts = GraphMetadata(
        role="decoder",
        n_bits=8,
        image_size=(SIZE, SIZE),
        channels=CHANNELS,
        levels=1,
        steps=1,
        coupling="additive",
        precision="fp32",
        num_classes=None,
        model_id=digest.hexdigest(),
    )
    return serialize(builder.build(facts.to_props()))
