"""Every way of not being exact is told from the others: by rewritten graphs in ONNX Runtime, and by simulations."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from glow_deploy.canary.formats import FORMATS, round_to
from glow_deploy.canary.graph import canary_graph
from glow_deploy.canary.integer_verdict import judge_integers
from glow_deploy.canary.integers import BATCH, convolve, make_integers


def ort_run(model):
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"z1": x})[0]


def rewritten(number):
    """The canary's graph, the result of each convolution cast to a number and back."""
    model = onnx.load_from_string(canary_graph(make_integers()))
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type == "Conv":
            name = node.output[0]
            node.output[0] = f"{name}/sum"
            nodes.append(helper.make_node("Cast", [f"{name}/sum"], [f"{name}/narrow"], to=number))
            nodes.append(helper.make_node("Cast", [f"{name}/narrow"], [name], to=TensorProto.FLOAT))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return ort_run(model)


def simulated(conv):
    """A runner whose convolutions are a function of two images and a weight."""

    def run(x):
        parts = [
            conv(x[:2].astype(np.float64), weight.astype(np.float64)) for weight in make_integers().weights.values()
        ]
        whole = np.concatenate(parts, axis=1)
        with np.errstate(over="ignore"):
            return np.tile(whole, (BATCH // 2, 1, 1, 1)).astype(np.float32)

    return run


def rounded_operands(number, *, toward_zero=False, results=False):
    def conv(x, weight):
        parts = [round_to(part, FORMATS[number], toward_zero=toward_zero) for part in (x, weight)]
        return round_to(convolve(*parts), FORMATS[number]) if results else convolve(*parts)

    return simulated(conv)


def half_operands(*, toward_zero=False, most=np.inf):
    def conv(x, weight):
        weight = round_to(weight, FORMATS["fp16"], toward_zero=toward_zero)
        return convolve(x, np.where(weight > 65504, most, weight))

    return simulated(conv)


def narrow_sums(dtype):
    """Add up in a narrow format, one input channel and tap after the other."""

    def conv(x, weight):
        size = weight.shape[2]
        pad = size // 2
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        total = np.zeros((2, len(weight), 16, 16), dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            for channel in range(x.shape[1]):
                for i in range(size):
                    for j in range(size):
                        values = padded[:, channel, i : i + 16, j : j + 16]
                        taps = weight[:, channel, i, j]
                        if taps.any():
                            total = (total + (values[:, None] * taps[:, None, None]).astype(dtype)).astype(dtype)
        return total.astype(np.float64)

    return simulated(conv)


def winograd(x, weight):
    """F(2x2, 3x3) of Lavin and Gray (2016) in float32; 1x1 as it is."""
    if weight.shape[2] == 1:
        return convolve(x, weight)
    single = np.float32
    g = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], single)
    b = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], single)
    a = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], single)
    kernels = g @ weight.astype(single) @ g.T  # [O,C,4,4]
    padded = np.pad(x.astype(single), ((0, 0), (0, 0), (1, 1), (1, 1)))
    tiles = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), axis=(2, 3))[:, :, ::2, ::2]
    moved = b @ tiles @ b.T  # [n,C,8,8,4,4]
    total = np.zeros((2, len(weight), 8, 8, 4, 4), single)
    for channel in range(x.shape[1]):
        total += moved[:, channel, None] * kernels[:, channel, None, None]
    out = a @ total @ a.T  # [n,O,8,8,2,2]
    return out.transpose(0, 1, 2, 4, 3, 5).reshape(2, len(weight), 16, 16)


CASES = {
    "rewritten to bfloat16 results": (lambda: rewritten(TensorProto.BFLOAT16), "bf16-results", False),
    "rewritten to float16 results": (lambda: rewritten(TensorProto.FLOAT16), "fp16-results", False),
    "TF32": (lambda: rounded_operands("tf32"), "tf32", True),
    "TF32, bits dropped": (lambda: rounded_operands("tf32", toward_zero=True), "tf32", True),
    "float16 operands": (lambda: half_operands(), "fp16", False),
    "float16 operands, bits dropped": (lambda: half_operands(toward_zero=True), "fp16", False),
    "float16 operands, the largest kept": (lambda: half_operands(most=65504), "fp16", False),
    "bfloat16": (lambda: rounded_operands("bf16", results=True), "bf16", False),
    "bfloat16 operands": (lambda: rounded_operands("bf16"), "bf16", False),
    "float16 sums": (lambda: narrow_sums(np.float16), "fp16-sums", False),
    "Winograd": (lambda: simulated(winograd), "winograd", False),
    "one integer off": (lambda: lambda x: _one_off(simulated(convolve)(x)), "unknown", False),
    "one wide integer off": (lambda: lambda x: _one_off(simulated(convolve)(x), channel=70), "unknown", False),
    "no number": (lambda: lambda x: np.full_like(x, np.nan), "unknown", False),
}


def _one_off(values, channel=4):
    values = values.copy()
    values[3, channel, 5, 6] += 1
    return values


def test_what_is_exact_is_called_exact():
    for run in (ort_run(onnx.load_from_string(canary_graph(make_integers()))), simulated(convolve)):
        found = judge_integers(run)
        assert (found.arithmetic, found.sound, found.text) == ("exact", True, "exact")
        assert set(found.differing.values()) == {0}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_exact_is_told_apart(case):
    run, arithmetic, sound = CASES[case]
    found = judge_integers(run())
    assert (found.arithmetic, found.sound) == (arithmetic, sound)
    assert found.reason
    assert any(found.differing.values())
    assert found.to_dict()["reason"] in found.text


@pytest.mark.parametrize("result", [np.zeros((1, 96, 16, 16), np.float32), np.zeros((32, 96, 16, 16), int), None])
def test_what_is_no_result_is_unknown(result):
    found = judge_integers(lambda x: result)
    assert found.arithmetic == "unknown"
    assert "is due" in found.reason
