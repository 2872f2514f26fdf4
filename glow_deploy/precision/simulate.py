"""What a model would compute in fewer bits, on a machine that has no such arithmetic.

A float32 graph is rewritten to round where narrow hardware would, and runs in ONNX Runtime on the CPU. Assumed:

- operands of a convolution, weights included, are rounded to nearest even before it; ties of a TF32 activation may go
  either way (NVIDIA does not say which way its tensor cores' inputs are rounded);
- products are added up in float32, in ONNX Runtime's order. Tensor cores add in another order and cut off low bits;
- where the real graph holds a 16-bit tensor, the result is rounded once more when it is stored; elementwise functions
  are correct to float32 before that. A TF32 convolution gives float32;
- what lies beyond the largest float16 becomes infinite, and float16's subnormals are kept;
- log-determinants and log densities stay in float32, as in every plan.

So a simulation shows the size and the distribution of the error, not the bits of a particular GPU. Torch's CPU half
kernels agree with it in 99.9 % of a trained conditioner's values, and elsewhere to one rounding of the result.

The real graph is no substitute on a CPU. ONNX Runtime 1.31's CPU provider computes float16 convolutions in float32 and
drops the casts it put around them, with all optimisations off too: of a `mixed` graph only the weights are rounded, and
the round trip looks like float32's, 400 to 600 times better than it is. A bfloat16 convolution it does not run at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.errors import UsageError
from glow_deploy.folding.arrays import FoldedGlow
from glow_deploy.graphs.precision_plan import PrecisionPlan, part_of
from glow_deploy.graphs.rounding import Mode, Rounding, narrowed, round_values

if TYPE_CHECKING:
    import onnx

    from glow_deploy.protocol import Engine, Role

__all__ = ["float32_graphs", "open_simulated", "own_rounding", "simulated_graph"]

# On rounded values their results need no rounding.
_EXACT = frozenset({"Concat", "DepthToSpace", "Gather", "Neg", "Relu", "SpaceToDepth", "Split"})

_VELTKAMP = np.array(2.0**13 + 1, dtype=np.float32)


def open_simulated(
    model: FoldedGlow | Mapping[Role, onnx.ModelProto],
    rounding: Rounding | PrecisionPlan | None = None,
    *,
    threads: int | None = None,
) -> tuple[Engine, Engine]:
    """Open both directions of a model in ONNX Runtime on the CPU, rounded as told.

    Their `details.precision` says that they are simulated, and what was rounded.

    Args:
        model: a folded model, or the `encoder` and `decoder` graphs of an export.
        rounding: what to round, or the plan to imitate. None imitates the plan of the graphs given.
        threads: for one operator; None leaves it to ONNX Runtime.

    Returns:
        The encoder and the decoder. They take a batch of any size; close them.

    Raises:
        UsageError: a rounding for other steps than the model has; graphs that hold 16-bit parts and a rounding that is
            not None; or a weight beyond the largest value of its number.
        EngineError: ONNX Runtime refuses the graph.
    """
    from glow_deploy.artifact.graph_file import describe_graph
    from glow_deploy.artifact.graph_sizes import infer_sizes
    from glow_deploy.engines.device import Device
    from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

    graphs = float32_graphs(model) if isinstance(model, FoldedGlow) else model
    engines: list[Engine] = []
    try:
        roles: tuple[Role, ...] = ("encoder", "decoder")
        for role in roles:
            graph = simulated_graph(graphs[role], rounding)
            source = f"the simulated {role}"
            engines.append(
                OnnxRuntimeEngine(
                    graph.SerializeToString(),
                    graph=replace(describe_graph(graph, source=source), live=infer_sizes(graph, source=source).live),
                    device=Device("cpu"),
                    source=source,
                    threads=threads,
                )
            )
    except BaseException:
        for engine in engines:
            engine.close()
        raise
    return engines[0], engines[1]


def float32_graphs(folded: FoldedGlow) -> Mapping[Role, onnx.ModelProto]:
    """Build both directions of a model in float32, to open many simulations of it without folding or building again."""
    from glow_deploy.graphs.decoder import build_decoder
    from glow_deploy.graphs.describe import describe
    from glow_deploy.graphs.encoder import build_encoder

    model_id = folded.model_id()
    builds = {"encoder": build_encoder, "decoder": build_decoder}
    graphs: dict[Role, onnx.ModelProto] = {}
    roles: tuple[Role, ...] = ("encoder", "decoder")
    for role in roles:
        facts = describe(folded, role=role, precision="fp32", model_id=model_id)
        graphs[role] = builds[role](folded, metadata=facts).to_model()
    return graphs


def own_rounding(model: onnx.ModelProto) -> Rounding:
    """Return what a graph itself rounds, from the types of its weights.

    Raises:
        BundleError: the graph is none of a Glow.
    """
    from glow_deploy.graphs.widen import held_numbers

    trunk, conditioners = held_numbers(model)
    return Rounding(trunk=trunk, conditioners=dict(conditioners))


def simulated_graph(model: onnx.ModelProto, rounding: Rounding | PrecisionPlan | None = None) -> onnx.ModelProto:
    """Return a graph that is float32 throughout and rounds as told.

    Tensors keep their names and hold rounded values. The values before rounding are called `<name>/exact`.

    Args:
        model: an encoder or decoder; it is left as it is.
        rounding: what to round, or the plan to imitate. None imitates the graph's own plan, which is how a bfloat16
            graph is run where nothing computes bfloat16.

    Raises:
        BundleError: the graph is none of a Glow.
        UsageError: a rounding for other steps than the graph has; a graph that holds 16-bit parts and a rounding that
            is not None, since what its weights were before cannot be told; or a weight beyond the largest value of its
            number.
    """
    from glow_deploy.graphs.widen import set_precision, widened

    own = own_rounding(model)
    if rounding is None:
        chosen = own
    else:
        chosen = Rounding.of(rounding) if isinstance(rounding, PrecisionPlan) else rounding
        if {own.trunk, *own.conditioners.values()} != {"fp32"}:
            raise UsageError(
                f"a graph with {own.label} has lost the float32 weights that another rounding starts from: "
                "simulate from an export with precision fp32"
            )
        if set(chosen.conditioners) != set(own.conditioners):
            raise UsageError(
                f"the rounding names {len(chosen.conditioners)} steps, the graph has {len(own.conditioners)}: "
                "it is for another model"
            )
    result = _Rewriter(widened(model), chosen).run()
    set_precision(result, f"simulated: {chosen.label}")
    return result


class _Rewriter:
    """Puts roundings into a float32 graph, node by node."""

    def __init__(self, model: onnx.ModelProto, rounding: Rounding) -> None:
        from onnx import TensorProto, numpy_helper

        self._model = model
        self._rounding = rounding
        self._weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._integers = {name for name, values in self._weights.items() if values.dtype == np.int64}
        self._integers |= {
            value.name for value in model.graph.input if value.type.tensor_type.elem_type == TensorProto.INT64
        }
        self._nodes: list[onnx.NodeProto] = []
        self._held: set[tuple[str, Mode]] = set()  # tensors whose values a mode can hold
        self._rounded: dict[tuple[str, Mode], str] = {}
        self._used: dict[str, np.ndarray] = {}

    def run(self) -> onnx.ModelProto:
        from onnx import numpy_helper

        graph = self._model.graph
        for node in list(graph.node):
            mode = self._mode(node.name)
            if mode == "tf32":
                self._convolve(node) if node.op_type == "Conv" else self._keep(node)
            elif mode == "fp32":
                self._keep(node)
            else:
                self._narrow(node, mode)
        del graph.node[:]
        graph.node.extend(self._nodes)
        del graph.initializer[:]
        graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in self._used.items())
        return self._model

    def _mode(self, name: str) -> Mode:
        part = part_of(name)
        if part is None:
            return "fp32"
        return self._rounding.trunk if part == "trunk" else self._rounding.conditioners[part]

    def _keep(self, node: onnx.NodeProto) -> None:
        for name in node.input:
            if name in self._weights:
                self._used[name] = self._weights[name]
        self._nodes.append(node)

    def _convolve(self, node: onnx.NodeProto) -> None:
        """Round the two operands; the bias is added to the float32 sum."""
        node.input[0] = self._operand(node.input[0], "tf32")
        node.input[1] = self._operand(node.input[1], "tf32")
        self._keep(node)

    def _narrow(self, node: onnx.NodeProto, mode: Mode) -> None:
        node.input[:] = [name if name in self._integers else self._operand(name, mode) for name in node.input]
        outputs = list(node.output)
        if node.op_type not in _EXACT:
            node.output[:] = [f"{name}/exact" for name in outputs]
        self._keep(node)
        for name in outputs:
            if node.op_type not in _EXACT:
                self._append_rounding(f"{name}/exact", name, mode)
            self._held.add((name, mode))

    def _operand(self, name: str, mode: Mode) -> str:
        if (name, mode) in self._held:
            return name
        result = f"{name}/{mode}"
        if (name, mode) not in self._rounded:
            self._rounded[name, mode] = result
            if name in self._weights:
                self._used[result] = _round_weight(self._weights[name], mode, name=name)
            else:
                self._append_rounding(name, result, mode)
        return result

    def _append_rounding(self, source: str, result: str, mode: Mode) -> None:
        from onnx import TensorProto, helper

        if mode == "tf32":
            # Dekker's splitting, after Veltkamp: the upper 24 - 13 bits, with float32's own operations.
            self._used["constants/veltkamp"] = _VELTKAMP
            steps = [
                ("Mul", [source, "constants/veltkamp"], f"{result}/scaled"),
                ("Sub", [f"{result}/scaled", source], f"{result}/rest"),
                ("Sub", [f"{result}/scaled", f"{result}/rest"], result),
            ]
            self._nodes += [helper.make_node(op, inputs, [output], name=output) for op, inputs, output in steps]
            return
        to = TensorProto.FLOAT16 if mode == "fp16" else TensorProto.BFLOAT16
        narrow = f"{result}/narrow"
        self._nodes.append(helper.make_node("Cast", [source], [narrow], name=narrow, to=to))
        self._nodes.append(helper.make_node("Cast", [narrow], [result], name=f"{result}/widen", to=TensorProto.FLOAT))


def _round_weight(values: np.ndarray, mode: Mode, *, name: str) -> np.ndarray:
    if mode == "tf32":
        return round_values(values, mode)
    return narrowed(values, mode, name=name).astype(np.float32)
