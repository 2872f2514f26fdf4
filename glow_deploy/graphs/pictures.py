"""Graphs that take and give 8-bit pictures: a float32 graph with the rules of pixels before and after it.

Nobody who feeds such an encoder can centre an image twice, or divide by 255 where 256 is due. The rules are those of
`glow_deploy.images.pixels`: reading keeps the n highest bits of a value and takes the centre of its bin; writing takes
the bin of x, clamped, and spreads the 2^n pixels over 0 to 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from glow_deploy.artifact.lint import load_model
from glow_deploy.artifact.metadata import IO_KEY, PREFIX

from .builder import BATCH

if TYPE_CHECKING:
    import onnx

__all__ = ["PIXELS", "PictureLayout", "is_picture_graph", "picture_graph"]

PictureLayout = Literal["uint8", "uint8-nhwc", "uint8-int32", "uint8-nhwc-int32"]
"""Pictures [N, C, H, W], or [N, H, W, C]; of exact graphs also with latents that are int32."""

PIXELS = "pixels"
"""Name of the input of such an encoder and of the output of such a decoder."""

_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def picture_graph(model: onnx.ModelProto, layout: PictureLayout) -> onnx.ModelProto:
    """Put the rules of pixels around a graph.

    An encoder then takes `pixels`, uint8, and gives what it gave; of each picture it takes the bin centres. A decoder
    takes what it took and gives `pixels`, uint8, clamped; what is no number in `x` is no picture in them. With int32
    latents an exact encoder gives its integers so, and an exact decoder takes them so, and takes no `as_normal`.

    Args:
        model: an encoder or a decoder of this tool, looked over; it is not changed. An exact one for int32.
        layout: of the pictures.
    """
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    n_bits = int(facts[f"{PREFIX}n_bits"])
    result.metadata_props.add(key=IO_KEY, value=layout)
    encodes, nhwc = facts[f"{PREFIX}role"] == "encoder", layout.startswith("uint8-nhwc")
    if layout.endswith("int32"):
        _integers(result.graph, encodes=encodes)
    if encodes:
        _read(result.graph, n_bits, nhwc=nhwc)
    else:
        _write(result.graph, n_bits, nhwc=nhwc)
    return result


def is_picture_graph(data: bytes, model: onnx.ModelProto, *, source: str) -> bool:
    """Tell whether a file is `picture_graph` of a graph, in either layout, and nothing else.

    Args:
        data: the file.
        model: the graph, looked over.
        source: the file's name, for messages.

    Raises:
        BundleError: it is no ONNX file.
    """
    found = load_model(data, source=source)
    layout = {entry.key: entry.value for entry in found.metadata_props}.get(IO_KEY)
    return any(layout == known and found == picture_graph(model, known) for known in get_args(PictureLayout))


class _Chain:
    """Nodes one after another, each reading what the last one gave."""

    def __init__(self, graph: onnx.GraphProto, first: str) -> None:
        self._graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self._last = first

    def add(self, op: str, *others: str, name: str, output: str | None = None, **attributes: object) -> None:
        from onnx import helper

        result = output or f"{PIXELS}/{name}:0"
        self.nodes.append(
            helper.make_node(op, [self._last, *others], [result], name=f"{PIXELS}/{name}", **attributes)  # type: ignore[arg-type]
        )
        self._last = result

    def constant(self, name: str, value: float) -> str:
        from onnx import numpy_helper

        full = f"{PIXELS}/{name}"
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), full))
        return full


def _read(graph: onnx.GraphProto, n_bits: int, *, nhwc: bool) -> None:
    """pixels -> x = (floor(v / 2^(8 - n)) + 0.5) / 2^n; every step is exact in float32."""
    from onnx import TensorProto

    chain = _Chain(graph, PIXELS)
    if nhwc:
        chain.add("Transpose", name="to_nchw", perm=_TO_NCHW)
    chain.add("Cast", name="cast", to=TensorProto.FLOAT)
    if n_bits < 8:
        chain.add("Mul", chain.constant("per_bin", 2.0 ** (n_bits - 8)), name="bins")
        chain.add("Floor", name="floor")
    chain.add("Add", chain.constant("half", 0.5), name="centre")
    chain.add("Mul", chain.constant("per_value", 2.0**-n_bits), name="scale", output="x")
    nodes = [*chain.nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in graph.input:
        if value.name == "x":
            value.CopyFrom(_pictures(value, nhwc=nhwc))


def _write(graph: onnx.GraphProto, n_bits: int, *, nhwc: bool) -> None:
    """x -> p = floor(clamp(x) * 2^n), at most 2^n - 1 -> round(p * 255 / (2^n - 1)), which never meets a half."""
    from onnx import TensorProto

    top = 2**n_bits - 1
    zero, one = (_constant_of(graph, name, value) for name, value in (("zero", 0.0), ("one", 1.0)))
    chain = _Chain(graph, "x")
    chain.add("Clip", zero, one, name="clamp")
    chain.add("Mul", chain.constant("bins", 2.0**n_bits), name="scale")
    chain.add("Floor", name="floor")
    chain.add("Clip", zero, chain.constant("top", float(top)), name="bin")
    if n_bits < 8:
        chain.add("Mul", chain.constant("spread", 255.0 / top), name="spread_out")
        chain.add("Add", chain.constant("half", 0.5), name="to_nearest")
        chain.add("Floor", name="value")
    chain.add("Cast", name="cast", to=TensorProto.UINT8, output=None if nhwc else PIXELS)
    if nhwc:
        chain.add("Transpose", name="to_nhwc", perm=_TO_NHWC, output=PIXELS)
    graph.node.extend(chain.nodes)
    for value in graph.output:
        if value.name == "x":
            value.CopyFrom(_pictures(value, nhwc=nhwc))


def _integers(graph: onnx.GraphProto, *, encodes: bool) -> None:
    """Cast latents to int32 where they leave, or from it where they come in; there are integers alone."""
    from onnx import TensorProto, helper, numpy_helper

    inner = {}
    for value in graph.output if encodes else graph.input:
        if value.name[:1] == "z":
            value.type.tensor_type.elem_type = TensorProto.INT32
            inner[value.name] = f"{value.name}/carried"
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = inner.get(name, name)
    casts = [
        helper.make_node("Cast", [carried], [name], name=f"{name}/to_int32", to=TensorProto.INT32)
        if encodes
        else helper.make_node("Cast", [name], [carried], name=f"{name}/from_int32", to=TensorProto.FLOAT)
        for name, carried in inner.items()
    ]
    nodes = [*graph.node, *casts] if encodes else [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    if not encodes:
        kept = [value for value in graph.input if value.name != "as_normal"]
        del graph.input[:]
        graph.input.extend(kept)
        graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1, 1, 1), np.float32), "as_normal"))


def _constant_of(graph: onnx.GraphProto, name: str, value: float) -> str:
    return _Chain(graph, "").constant(name, value)


def _pictures(value: onnx.ValueInfoProto, *, nhwc: bool) -> onnx.ValueInfoProto:
    from onnx import TensorProto, helper

    channels, height, width = (dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])
    shape: Sequence[int] = (height, width, channels) if nhwc else (channels, height, width)
    return helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, [BATCH, *shape])
