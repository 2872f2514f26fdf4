"""A one-level flow small enough to write by hand: x -> squeeze -> 1x1 with bias -> z1, and back.

Its float64 answer is computed here in NumPy, independently of any runtime.
"""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from glow_deploy.artifact.graph_file import read_graph

CHANNELS, SIZE, N_BITS = 1, 4, 5
Z_SHAPE = (4, 2, 2)
_rng = np.random.default_rng(3)
WEIGHT = (np.eye(4) + 0.3 * _rng.standard_normal((4, 4))).astype(np.float32)
BIAS = _rng.standard_normal(4).astype(np.float32)
METADATA = {
    "glow_deploy.format_version": "1",
    "glow_deploy.n_bits": str(N_BITS),
    "glow_deploy.image_size": f"{SIZE}x{SIZE}",
    "glow_deploy.channels": str(CHANNELS),
    "glow_deploy.levels": "1",
    "glow_deploy.steps": "1",
    "glow_deploy.precision": "fp32",
    "glow_deploy.num_classes": "",
    "glow_deploy.coupling": "additive",
    "glow_deploy.model_id": "0" * 64,
}


def encoder(**changes) -> onnx.ModelProto:
    """x [batch,1,4,4] -> z1 [batch,4,2,2], log_prob [batch] (the standard normal's density and log |det|)."""
    dims = CHANNELS * SIZE * SIZE
    constant = 4 * np.linalg.slogdet(WEIGHT.astype(np.float64))[1] - 0.5 * dims * np.log(2 * np.pi)
    nodes = [
        helper.make_node("SpaceToDepth", ["x"], ["s"], blocksize=2),
        helper.make_node("Conv", ["s", "weight", "bias"], ["z1"], name="level1/step01/invconv"),
        helper.make_node("Mul", ["z1", "z1"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "axes"], ["norm"], keepdims=0),
        helper.make_node("Mul", ["norm", "half"], ["quadratic"]),
        helper.make_node("Add", ["quadratic", "constant"], ["log_prob"]),
    ]
    weights = {
        "weight": WEIGHT[:, :, None, None],
        "bias": BIAS,
        "half": np.float32([-0.5]),
        "constant": np.float32([constant]),
        "axes": np.int64([1, 2, 3]),
    }
    return _model("encoder", nodes, weights, {"x": (1, 4, 4)}, {"z1": Z_SHAPE, "log_prob": ()}, changes)


def decoder(**changes) -> onnx.ModelProto:
    """z1 [batch,4,2,2] -> x [batch,1,4,4]."""
    inverse = np.linalg.inv(WEIGHT.astype(np.float64))
    nodes = [
        helper.make_node("Conv", ["z1", "weight", "bias"], ["s"], name="level1/step01/invconv"),
        helper.make_node("DepthToSpace", ["s"], ["x"], blocksize=2, mode="CRD"),
    ]
    weights = {
        "weight": inverse.astype(np.float32)[:, :, None, None],
        "bias": (-inverse @ BIAS).astype(np.float32),
    }
    return _model("decoder", nodes, weights, {"z1": Z_SHAPE}, {"x": (1, 4, 4)}, changes)


def expected(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z1 and log_prob of x, in float64."""
    n = len(x)
    s = x.astype(np.float64).reshape(n, 2, 2, 2, 2).transpose(0, 2, 4, 1, 3).reshape(n, 4, 2, 2)
    z = np.einsum("oi,nihw->nohw", WEIGHT.astype(np.float64), s) + BIAS.astype(np.float64)[:, None, None]
    logdet = 4 * np.linalg.slogdet(WEIGHT.astype(np.float64))[1]
    return z, logdet - 0.5 * (z**2).sum(axis=(1, 2, 3)) - 8 * np.log(2 * np.pi)


def manifest(files: dict[str, bytes]) -> dict:
    """The manifest of a bundle of these two graphs, without golden vectors."""
    encoder, decoder = (read_graph(files[name], source=name) for name in ("encoder.onnx", "decoder.onnx"))
    facts = encoder.facts

    def tensors(specs):
        return {spec.name: {"dtype": spec.dtype, "shape": list(spec.shape)} for spec in specs}

    model = {
        name: getattr(facts, name) for name in ("channels", "levels", "steps", "n_bits", "num_classes", "coupling")
    }
    model |= {"image_size": list(facts.image_size), "width": 8, "permutation": "lu", "bounded_scale": True}
    return {
        "format_version": 1,
        "model": model,
        "model_id": facts.model_id,
        "weights": "raw",
        "precision": facts.precision,
        "tensors": {
            role: {"inputs": tensors(graph.inputs), "outputs": tensors(graph.outputs)}
            for role, graph in (("encoder", encoder), ("decoder", decoder))
        },
        "golden_source": None,
        "numerics": {"yardstick": None},
        "versions": {},
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }


def images(n: int, seed: int = 0) -> np.ndarray:
    """n pictures [n,1,4,4] float32 at bin centres."""
    pixels = np.random.default_rng(seed).integers(0, 2**N_BITS, (n, 1, 4, 4))
    return ((pixels + 0.5) / 2**N_BITS).astype(np.float32)


def _model(role, nodes, weights, inputs, outputs, changes) -> onnx.ModelProto:
    def info(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])

    graph = helper.make_graph(
        nodes,
        role,
        [info(*item) for item in inputs.items()],
        [info(*item) for item in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    metadata = {**METADATA, "glow_deploy.role": role}
    metadata.update({f"glow_deploy.{key}": value for key, value in changes.items()})
    helper.set_model_props(model, {key: value for key, value in metadata.items() if value is not None})
    return model
