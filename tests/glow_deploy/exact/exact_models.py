"""Small exact models, and their graphs in three runtimes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glow_core import GlowConfig
from glow_deploy.exact.build import build_exact
from glow_deploy.exact.decoder import build_exact_decoder
from glow_deploy.exact.encoder import build_exact_encoder
from glow_deploy.exact.interpret import ExactModel
from glow_deploy.exact.linear import linear_steps
from glow_deploy.folding import FoldedGlow
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.graph import Graph

__all__ = ["CONFIGS", "Made", "feeds_of", "make", "make_of", "ort_run", "pictures", "torch_run"]

CONFIGS = {
    "rgb": GlowConfig(image_size=(8, 8), levels=2, steps=2, width=16, coupling="additive", n_bits=5),
    "grey-plain-edge": GlowConfig(
        image_size=(16, 8),
        channels=1,
        levels=3,
        steps=2,
        width=8,
        coupling="additive",
        permutation="plain",
        edge_bias=True,
    ),
    "classes": GlowConfig(
        image_size=(8, 8), channels=1, levels=2, steps=2, width=8, coupling="additive", n_bits=8, num_classes=3
    ),
    "independent-shuffle": GlowConfig(
        image_size=(8, 4), levels=2, steps=2, width=8, coupling="additive", permutation="shuffle", prior="independent"
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """An exact model, what it was made from, and both of its graphs."""

    folded: FoldedGlow
    levels: object
    built: object
    run: ExactModel
    encoder: Graph
    decoder: Graph

    def native(self):
        """Return both graphs with hidden convolutions typed in 16 bit."""
        return tuple(
            build(
                self.built.model,
                metadata=describe(self.folded, role=role, precision="exact", model_id=self.folded.model_id()),
                native=True,
            ).to_model()
            for role, build in (("encoder", build_exact_encoder), ("decoder", build_exact_decoder))
        )


def pictures(shape, n_bits, count, seed=0):
    """Smooth pictures at bin centres, and their labels."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((count, shape[0], 2, 2))
    x = np.kron(coarse, np.ones((1, 1, shape[1] // 2, shape[2] // 2))) + 0.05 * generator.random((count, *shape))
    return ((np.floor(np.clip(x, 0, 1 - 1e-6) * 2**n_bits) + 0.5) / 2**n_bits).astype(np.float32)


def make(glow, **options):
    """Fold a model and build its exact graphs."""
    folded = fold(glow)
    return make_of(folded, levels=linear_steps(folded), **options)


def make_of(folded, *, levels, **options):
    """Build the exact graphs of a folded model whose linear steps are known."""
    built = build_exact(folded, pictures(folded.image_shape, folded.n_bits, 16), levels=levels, **options)

    def graph(role, build):
        return build(built.model, metadata=describe(folded, role=role, precision="exact", model_id=folded.model_id()))

    return Made(
        folded=folded,
        levels=levels,
        built=built,
        run=ExactModel(built.model),
        encoder=graph("encoder", build_exact_encoder),
        decoder=graph("decoder", build_exact_decoder),
    )


def feeds_of(z, *, normal, y=None):
    """What a decoder graph takes."""
    feeds = {f"z{level}": np.asarray(part, np.float32) for level, part in enumerate(z, start=1)}
    feeds["as_normal"] = np.full((len(z[0]), 1, 1, 1), float(normal), np.float32)
    return feeds if y is None else {**feeds, "y": y}


def ort_run(model, feeds):
    """Run an ONNX model in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, feeds), strict=True))


def torch_run(model, feeds, *, conv=None):
    """Run an ONNX model node by node in PyTorch float32.

    Args:
        model: an exact graph.
        feeds: by name.
        conv: what a convolution does instead of torch's.
    """
    import torch
    from onnx import helper, numpy_helper

    values = {}
    for tensor in model.graph.initializer:
        held = numpy_helper.to_array(tensor)
        if held.dtype.name == "bfloat16":
            values[tensor.name] = torch.from_numpy(held.astype(np.float32)).to(torch.bfloat16)
        else:
            values[tensor.name] = torch.from_numpy(held.copy())
    values |= {name: torch.from_numpy(np.asarray(array)) for name, array in feeds.items()}
    for node in model.graph.node:
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        given = [values[name] for name in node.input]
        results = _torch_node(
            torch, node.op_type, given, attributes, conv or torch.nn.functional.conv2d, len(node.output)
        )
        values |= dict(zip(node.output, results, strict=True))
    return {value.name: values[value.name].numpy() for value in model.graph.output}


def _torch_node(torch, op, given, attributes, conv, outputs):
    from functools import reduce

    one = {
        "Abs": torch.abs,
        "LessOrEqual": torch.le,
        "Exp": torch.exp,
        "Floor": torch.floor,
        "Neg": torch.neg,
        "Round": torch.round,
        "Mul": torch.mul,
        "Sub": torch.sub,
        "Add": torch.add,
    }
    if op in one:
        return [one[op](*given)]
    if op == "Conv":
        pad = attributes["pads"][0]
        return [conv(given[0], given[1], *given[2:], padding=pad, groups=attributes.get("group", 1))]
    if op == "Cast":
        return [given[0].to({1: torch.float32, 10: torch.float16, 16: torch.bfloat16}[attributes["to"]])]
    if op == "Clip":
        return [torch.minimum(torch.maximum(given[0], given[1]), given[2])]
    if op == "Sum":
        return [reduce(torch.add, given)]
    if op == "ReduceSum":
        return [torch.sum(given[0], dim=tuple(given[1].tolist()), keepdim=bool(attributes["keepdims"]))]
    if op == "Concat":
        return [torch.cat(given, dim=attributes["axis"])]
    if op == "Split":
        return list(torch.chunk(given[0], outputs, dim=attributes["axis"]))
    if op == "Gather":
        return [torch.index_select(given[0], attributes["axis"], given[1])]
    if op == "SpaceToDepth":
        n, c, h, w = given[0].shape
        return [
            given[0].reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2)
        ]
    assert op == "DepthToSpace", op
    n, c, h, w = given[0].shape
    return [given[0].reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)]
