"""Which graph holds the wrong weights: told by the trained model's own arrays, or else by the golden vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.artifact.golden import Golden
from glow_deploy.numerics.float64 import Float64Graph
from glow_deploy.verify.report.steps import Direction, WeightFault

from .counterpart import counterpart
from .taps import Layout
from .weights import Weights, compare_graphs, compare_trained, read_weights, replace_weights

if TYPE_CHECKING:
    import onnx

__all__ = ["WeightFindings", "find_weight_faults", "latent_deviations"]

_IMAGES = 4
_BETTER = 0.5  # what the right weights must at least do to a graph's deviation from the golden vectors


@dataclass(frozen=True, kw_only=True)
class WeightFindings:
    """What the weights say.

    Attributes:
        faults: in encoding order.
        reference: an encoder that holds the right weights: the deployed one where nothing is known against it.
        repaired: whether `reference` is a copy with other weights.
        source: where `reference` comes from, for people.
    """

    faults: tuple[WeightFault, ...]
    reference: onnx.ModelProto
    repaired: bool
    source: str


def find_weight_faults(
    encoder: onnx.ModelProto,
    decoder: onnx.ModelProto,
    layout: Layout,
    *,
    golden: Golden | None = None,
    trained: Weights | None = None,
) -> WeightFindings:
    """Compare the weights of both graphs, and find out which is wrong where they differ.

    Args:
        encoder: its graph.
        decoder: its graph.
        layout: of the model.
        golden: of the bundle; where the weights differ, the graph that agrees better with the golden vectors once it is
            given the other's weights is the wrong one.
        trained: `dict(folded.named_arrays())` of the trained model, which settles it.
    """
    negated = any(node.name.endswith("/coupling/exp") for node in decoder.graph.node)
    pair: dict[Direction, onnx.ModelProto] = {"encode": encoder, "decode": decoder}
    weights = {direction: read_weights(model) for direction, model in pair.items()}
    faults = compare_graphs(weights["encode"], weights["decode"], layout, negated=negated)
    right: Weights | None = None
    source = "the encoder's graph in float64"
    if trained is not None:
        right = counterpart(trained, layout, direction="encode", negated=negated)
        known = compare_trained(weights["encode"], right, direction="encode")
        known += compare_trained(
            weights["decode"], counterpart(trained, layout, direction="decode", negated=negated), direction="decode"
        )
        places = {fault.step for fault in known}
        faults = known + [fault for fault in faults if fault.step not in places]
        source = "the trained model's weights in float64"
    elif faults:
        other = _counterparts(weights, layout, negated=negated)
        if golden is not None and other:
            faults = _blame(pair, other, faults, golden)
        if any(fault.direction == "encode" for fault in faults):
            right = {name: other["encode"][name] for name in _names(other["encode"], faults, direction="encode")}
            source = "the encoder's graph in float64, with the decoder's weights where its own are wrong"
    faults = [_note_coarse(fault, weights) for fault in _in_order(faults, layout)]
    repaired = right is not None and any(fault.direction == "encode" for fault in faults)
    reference = replace_weights(encoder, right) if repaired and right is not None else encoder
    return WeightFindings(faults=tuple(faults), reference=reference, repaired=repaired, source=source)


def latent_deviations(encoder: Float64Graph, layout: Layout, golden: Golden) -> dict[str, float]:
    """How far the encoder's float64 latents lie from the golden ones, rms by name."""
    feeds = {"x": golden.x[:_IMAGES], **({} if golden.y is None else {"y": golden.y[:_IMAGES]})}
    found = encoder.run(feeds, outputs=list(layout.latents))
    return {name: _rms(found[name] - part[:_IMAGES]) for name, part in zip(layout.latents, golden.z, strict=True)}


def _counterparts(
    weights: Mapping[Direction, Weights], layout: Layout, *, negated: bool
) -> dict[Direction, dict[str, np.ndarray]]:
    """What each graph should hold if the other is right; empty where a 1x1 has no inverse."""
    try:
        return {
            "encode": counterpart(weights["decode"], layout, direction="encode", negated=negated),
            "decode": counterpart(weights["encode"], layout, direction="decode", negated=negated),
        }
    except (np.linalg.LinAlgError, KeyError):
        return {}


def _blame(
    pair: Mapping[Direction, onnx.ModelProto],
    other: Mapping[Direction, Mapping[str, np.ndarray]],
    faults: Sequence[WeightFault],
    golden: Golden,
) -> list[WeightFault]:
    """Give each fault the direction of the graph that is better off with the other's weights."""
    before = {direction: _deviation(model, direction, golden) for direction, model in pair.items()}

    def better(direction: Direction, some: Sequence[WeightFault]) -> float:
        arrays = {name: other[direction][name] for name in _names(other[direction], some)}
        after = _deviation(replace_weights(pair[direction], arrays), direction, golden)
        return after / before[direction] if before[direction] > 0.0 else np.inf

    encode, decode = better("encode", faults), better("decode", faults)
    if encode < _BETTER <= decode:
        return [replace(fault, direction="encode") for fault in faults]
    if decode < _BETTER <= encode:
        return [replace(fault, direction="decode") for fault in faults]
    # One fault in each graph, or more: step by step.
    result = []
    for fault in faults:
        ratios: dict[Direction, float] = {direction: better(direction, [fault]) for direction in pair}
        best = min(ratios, key=lambda direction: ratios[direction])
        result.append(replace(fault, direction=best) if ratios[best] < 1.0 <= max(ratios.values()) else fault)
    return result


def _deviation(model: onnx.ModelProto, direction: Direction, golden: Golden) -> float:
    graph = Float64Graph(model)
    labels = {} if golden.y is None else {"y": golden.y[:_IMAGES]}
    latents = {f"z{level}": z[:_IMAGES] for level, z in enumerate(golden.z, start=1)}
    with np.errstate(all="ignore"):
        if direction == "encode":
            found = graph.run({"x": golden.x[:_IMAGES], **labels}, outputs=list(latents))
            value = float(np.sqrt(sum(np.sum((found[name] - z) ** 2) for name, z in latents.items())))
        else:
            value = _rms(graph.run({**latents, **labels}, outputs=["x"])["x"] - golden.x_hat[:_IMAGES])
    return value if np.isfinite(value) else np.inf


def _names(arrays: Mapping[str, np.ndarray], faults: Sequence[WeightFault], *, direction: str = "") -> list[str]:
    """Initializers of the faulty places."""
    keys = []
    for fault in faults:
        if direction and fault.direction != direction:
            continue
        if fault.weight in ("mean", "scale"):
            keys += [f"{fault.step}/{fault.weight}", f"{fault.step}/inverse_{fault.weight}"]
        elif fault.weight == "split":
            keys.append(f"{fault.step}/conv/")
        else:
            keys.append(f"{fault.step}/{'' if fault.weight == 'invconv' else 'coupling/'}{fault.weight}/")
    return [name for name in arrays if name.startswith(tuple(keys))] if keys else []


def _in_order(faults: Sequence[WeightFault], layout: Layout) -> list[WeightFault]:
    steps = [stage.step for stage in layout.encode]
    return sorted(faults, key=lambda fault: steps.index(fault.step))


def _note_coarse(fault: WeightFault, weights: Mapping[Direction, Weights]) -> WeightFault:
    """Say so where a float32 weight holds no more digits than a narrower number would."""
    for direction, graph in (("encoder", weights["encode"]), ("decoder", weights["decode"])):
        if fault.direction is not None and not direction.startswith(fault.direction):
            continue
        for name in _names(graph, [fault]):
            if name.endswith("/weight") and _coarse(graph[name]):
                return replace(fault, coarse=f"the {direction}'s {name} holds only 11 bits, as after TF32 or float16")
    return fault


def _coarse(array: np.ndarray) -> bool:
    """True where every float32 has its last 13 bits clear, which 8 weights of a trained model never do by chance."""
    if array.dtype != np.float32:
        return False
    bits = np.ascontiguousarray(array).reshape(-1).view(np.uint32)
    mantissa = bits & np.uint32(0x7FFFFF)
    return int(np.count_nonzero(mantissa)) >= 8 and not bool(np.any(bits & np.uint32(0x1FFF)))


def _rms(array: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(array))))
