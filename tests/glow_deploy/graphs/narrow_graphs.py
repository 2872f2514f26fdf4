"""Graphs with parts in 16 bit, and models whose weights do not fit into them."""

from __future__ import annotations

import dataclasses

from glow_deploy.graphs.decoder import build_decoder
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder

BUILD = {"encoder": build_encoder, "decoder": build_decoder}


def narrow_graph(folded, role, plan):
    facts = describe(folded, role=role, precision=plan.name, model_id=folded.model_id())
    return BUILD[role](folded, metadata=facts, plan=plan)


def with_weight(folded, value, *, part):
    """The model with one value changed: a conditioner's conv1, or the 1x1 convolution."""
    first, *rest = folded.levels[0].steps
    conv = first.conditioner.conv1 if part == "conditioner" else first.encode
    weight = conv.weight.copy()
    weight[0, 0, 0, 0] = value
    conv = dataclasses.replace(conv, weight=weight)
    step = (
        dataclasses.replace(first, conditioner=dataclasses.replace(first.conditioner, conv1=conv))
        if part == "conditioner"
        else dataclasses.replace(first, encode=conv)
    )
    return dataclasses.replace(folded, levels=(dataclasses.replace(folded.levels[0], steps=(step, *rest)),))
