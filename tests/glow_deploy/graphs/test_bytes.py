"""The bytes of graphs are a contract: a bundle exported today must be the one exported yesterday.

The folded models are made by NumPy alone, without linear algebra, so that the digests hold on every machine. Another
digest is another file for every user: change one only on purpose, and say so in the changelog.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from glow_deploy.folding import FoldedConditioner, FoldedConv, FoldedGlow, FoldedLevel, FoldedPrior, FoldedStep
from glow_deploy.graphs.decoder import build_decoder
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.graphs.serialize import serialize

# FoldedGlow's own options, then: edges, an independent prior, the precision.
MODELS = {
    "affine": ({"image": (3, 16, 16), "levels": 2}, "fp32"),
    "additive-grey": ({"image": (1, 8, 16), "levels": 3, "coupling": "additive", "n_bits": 5}, "fp32"),
    "unbounded-mixed": ({"image": (3, 8, 8), "levels": 1, "bounded": False}, "mixed"),
    "classes-bf16": ({"image": (3, 16, 16), "levels": 2, "classes": 3}, "bf16-mixed"),
    "edges-independent": ({"image": (3, 16, 16), "levels": 3, "edges": True, "independent": True}, "fp32"),
    "four-levels-fp16": ({"image": (3, 16, 16), "levels": 4}, "fp16"),
}
DIGESTS = {
    "additive-grey": {
        "encoder": "e77efdf0bf89ef541e5d1b9b9fad846f64a0925e10ecb3f90634efe90ede3bc9",
        "decoder": "fcdca0dc8be09c02c26c46ec1a46c5739df5a2577eaf411311be3b9037579693",
    },
    "affine": {
        "encoder": "d580fcf1b2698e49e53fc95a26ee5688895cc696f6c37fc1c3a6fe655b35faa9",
        "decoder": "ca97efd02b3e9fca2e0cfbc0c0251253e8cf39cdaf597a0806feeac3161ac07b",
    },
    "classes-bf16": {
        "encoder": "6408c9aa0dd7b481f1649d8a77e55a58faa0426a3963bee98c1426a3f230c188",
        "decoder": "53f03b1fc33a7857d20a9fb48826f1d7a86d8fd33bfbbc4ebaff738535c6350d",
    },
    "edges-independent": {
        "encoder": "90e7c4f8ad06a30d23957d5d52a3444e624fe6e6d696d41468cc0726af2d37a1",
        "decoder": "27ebb7374e33b8b07385fbc4881980c610c4e9bb8951a6243ce8b2692d1de08a",
    },
    "four-levels-fp16": {
        "encoder": "969989ae1e16c23b361bb9eb041b92457c4002bbc4a2a3eade8522163c11caf8",
        "decoder": "dafbec94d31e8a09493492bb5d5aca5d10c724cf4b0611afc3a3d62c3f50915a",
    },
    "unbounded-mixed": {
        "encoder": "da21bad3f2821da747566cb9fa90e7e482164cc1dcf6d1c832e5be83bbc9b09a",
        "decoder": "682d396da13945c525f480652a036194d99f1bcd96400db4b6d14f87a4deb672",
    },
}


def folded_model(
    *, image, levels, coupling="affine", n_bits=8, bounded=True, classes=None, edges=False, independent=False
):
    """A folded model whose every number comes from one random generator."""
    generator = np.random.default_rng(20181)

    def conv(rows, columns, size, *, dtype, height=0, width=0):
        weight = generator.standard_normal((rows, columns, size, size)) / (columns * size * size) ** 0.5
        edge = generator.standard_normal((rows, min(height, 3), min(width, 3))).astype(dtype) if height else None
        return FoldedConv(weight=weight.astype(dtype), bias=generator.standard_normal(rows).astype(dtype), edge=edge)

    def prior(shape, count):
        values = generator.standard_normal((2, count, *shape)) / 4
        return FoldedPrior(mean=values[0], log_scale=values[1])

    channels, height, width = image
    rooms = []
    for number in range(1, levels + 1):
        channels, height, width = 4 * channels, height // 2, width // 2
        size = {"height": height, "width": width} if edges else {}
        half, out = channels // 2, channels if coupling == "affine" else channels // 2
        steps = tuple(
            FoldedStep(
                encode=conv(channels, channels, 1, dtype=np.float64),
                decode=conv(channels, channels, 1, dtype=np.float64),
                conditioner=FoldedConditioner(
                    conv1=conv(8, half, 3, dtype=np.float32, **size),
                    conv2=conv(8, 8, 1, dtype=np.float32),
                    conv3=conv(out, 8, 3, dtype=np.float32, **size),
                ),
            )
            for _ in range(2)
        )
        split = None
        shape = (channels, height, width)
        if number < levels:
            split = (
                prior((half, height, width), classes or 1)
                if independent
                else conv(channels, half, 3, dtype=np.float64, **size)
            )
            channels = half
        rooms.append(FoldedLevel(shape=shape, steps=steps, split=split))
    top = prior((channels, height, width), classes or 1)
    return FoldedGlow(
        image_shape=image, n_bits=n_bits, coupling=coupling, bounded_scale=bounded, levels=tuple(rooms), prior=top,
        num_classes=classes, log_det=-12.5,
    )  # fmt: skip


def digests(name):
    options, precision = MODELS[name]
    folded = folded_model(**options)
    plan = None if precision == "fp32" else PrecisionPlan.uniform(precision, folded)
    found = {}
    for role, build in (("encoder", build_encoder), ("decoder", build_decoder)):
        facts = describe(folded, role=role, precision=precision, model_id=folded.model_id())
        graph = build(folded, metadata=facts, plan=plan)
        found[role] = hashlib.sha256(serialize(graph)).hexdigest()
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_bytes_of_a_graph_are_what_they_were(name):
    assert digests(name) == DIGESTS[name]


def test_another_weight_gives_other_bytes():
    options, _ = MODELS["affine"]
    folded = folded_model(**options)
    facts = describe(folded, role="decoder", precision="fp32", model_id=folded.model_id())
    assert hashlib.sha256(serialize(build_decoder(folded, metadata=facts))).hexdigest() == DIGESTS["affine"]["decoder"]
    folded.levels[0].steps[0].decode.bias[0] *= 1.001
    assert hashlib.sha256(serialize(build_decoder(folded, metadata=facts))).hexdigest() != DIGESTS["affine"]["decoder"]
