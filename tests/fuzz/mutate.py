"""Mutants of a file: bytes changed blindly, and changes that keep what is around them whole (checksums, lengths)."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["mutate"]

NUMBERS = (0, 1, -1, 2, 7, 127, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))
WORDS = (b"nan", b"1e999", b"null", b"[]", b"\x1b[2J", b"\xff\xfe", b"9" * 5000, b"[" * 2000, b'"', b"\x00", b"\n")
Rng = np.random.Generator


def mutate(data: bytes, *, rng: Rng, others: Sequence[bytes]) -> bytes:
    """Return a mutant; the same generator gives the same.

    Args:
        data: a sound file.
        rng: what chances are drawn from.
        others: files to take pieces of.
    """
    # Mostly one change: two rarely get past the first check.
    turns = 1 if rng.integers(4) else 3
    for _ in range(turns):
        data = _one(data, rng, others)
    return data


def _one(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    ways: list[Callable[[], bytes]] = [lambda: _blind(data, rng, others)]
    if data[:2] == b"PK":
        ways += [lambda: _archive(data, rng, others)] * 3
    if data[:1] == b"\x08":
        ways += [lambda: _graph(data, rng)] * 6
    if re.search(rb"\d", data[:4096]):
        ways.append(lambda: _number(data, rng))
    return ways[int(rng.integers(len(ways)))]()


def _blind(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    out = bytearray(data or b"\0")
    place = int(rng.integers(len(out)))
    length = int(rng.integers(1, 65))
    match int(rng.integers(8)):
        case 0:
            for _ in range(1 + length // 16):
                out[int(rng.integers(len(out)))] ^= 1 << int(rng.integers(8))
        case 1:
            size = int(rng.choice([1, 2, 4, 8]))
            number = NUMBERS[int(rng.integers(len(NUMBERS)))] & ((1 << 8 * size) - 1)
            out[place : place + size] = number.to_bytes(size, "little" if rng.integers(2) else "big")
        case 2:
            del out[place:]
        case 3:
            del out[place : place + length]
        case 4:
            out[place:place] = out[place : place + length] * int(rng.integers(1, 200))
        case 5:
            out[place:place] = rng.bytes(length)
        case 6:
            out[place:place] = WORDS[int(rng.integers(len(WORDS)))]
        case _:
            other = others[int(rng.integers(len(others)))] or b"\0"
            start = int(rng.integers(len(other)))
            out[place : place + length] = other[start : start + 16 * length]
    return bytes(out)


def _number(data: bytes, rng: Rng) -> bytes:
    """Another number in the place of one that is written in digits, as in JSON, CSV and the headers of arrays."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data[:65536]))
    if not found:
        return data
    match = found[int(rng.integers(len(found)))]
    words = [str(number).encode() for number in NUMBERS] + list(WORDS)
    word = words[int(rng.integers(len(words)))]
    if len(word) < len(match[0]):
        word = word.rjust(len(match[0]))  # keeps the length of a header
    return data[: match.start()] + word + data[match.end() :]


def _archive(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    """One member of a zip archive changed, and the archive packed again with the right checksums."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()][:200]
    except Exception:
        return _blind(data, rng, others)
    if not members:
        return data
    place = int(rng.integers(len(members)))
    name, held = members[place]
    match int(rng.integers(6)):
        case 0:
            held = _number(held, rng) if held[:6] != b"\x93NUMPY" else _header(held, rng)
        case 1:
            held = _header(held, rng)
        case 2:
            held = held[: len(held) // 2]
        case 3:
            name = members[int(rng.integers(len(members)))][0]
        case 4:
            name += "\x1b[2J"
        case _:
            held = _blind(held, rng, others)
    members[place] = (name, held)
    kinds = (zipfile.ZIP_STORED,) * 4 + (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
    buffer = io.BytesIO()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(buffer, "w", kinds[int(rng.integers(len(kinds)))]) as archive:
            for member in members:
                archive.writestr(*member)
    return buffer.getvalue()


def _header(held: bytes, rng: Rng) -> bytes:
    """Another type or shape in the header of an array."""
    if held[:6] != b"\x93NUMPY" or len(held) < 10:
        return held
    (length,) = struct.unpack_from("<H", held, 8)
    text, rest = held[10 : 10 + length], held[10 + length :]
    kinds = (
        b"'|O'",
        b"'<U0'",
        b"'<U9'",
        b"[('a','<f4')]",
        b"'<M8[s]'",
        b"'<c16'",
        b"'|V8'",
        b"'>f8'",
        b"'|b1'",
        b"'<i8'",
    )
    shapes = (b"()", b"(0,)", b"(-1,)", b"(1000000000000, 0)", b"(9223372036854775807,)", b"(4, 4611686018427387904)")
    if rng.integers(2):
        text = re.sub(rb"'descr': [^,]+", b"'descr': " + kinds[int(rng.integers(len(kinds)))], text)
    else:
        text = re.sub(rb"\([^)]*\)", shapes[int(rng.integers(len(shapes)))], text)
    return held[:8] + struct.pack("<H", len(text)) + text + rest


def _graph(data: bytes, rng: Rng) -> bytes:
    """One node, weight or size of an ONNX graph changed."""
    import onnx
    from onnx import helper

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:
        return data
    graph, number = model.graph, NUMBERS[int(rng.integers(len(NUMBERS)))]
    if not graph.node:
        return data
    node = graph.node[int(rng.integers(len(graph.node)))]
    names = [name for one in graph.node for name in (*one.input, *one.output)] or ["x"]
    name = names[int(rng.integers(len(names)))]
    operators = (
        "Add",
        "Div",
        "Concat",
        "Conv",
        "Gather",
        "Split",
        "ReduceSum",
        "Cast",
        "Expand",
        "Loop",
        "DepthToSpace",
    )
    match int(rng.integers(10)):
        case 0 if node.attribute:
            attribute = node.attribute[int(rng.integers(len(node.attribute)))]
            attribute.i = number
            for place in range(len(attribute.ints)):
                attribute.ints[place] = number
        case 1:
            keys = ("axis", "group", "strides", "pads", "dilations", "to", "num_outputs", "keepdims", "blocksize")
            value = number if rng.integers(2) else [number] * int(rng.integers(1, 6))
            node.attribute.append(helper.make_attribute(keys[int(rng.integers(len(keys)))], value))
        case 2 if node.input:
            node.input[int(rng.integers(len(node.input)))] = name
        case 3 if node.output:
            node.output[int(rng.integers(len(node.output)))] = name
        case 4:
            node.op_type = operators[int(rng.integers(len(operators)))]
        case 5 if graph.initializer:
            tensor = graph.initializer[int(rng.integers(len(graph.initializer)))]
            if tensor.dims:
                tensor.dims[int(rng.integers(len(tensor.dims)))] = number
        case 6 if graph.initializer:
            tensor = graph.initializer[int(rng.integers(len(graph.initializer)))]
            tensor.data_type = int(rng.integers(0, 24))
        case 7:
            values = [*graph.input, *graph.output]
            dims = values[int(rng.integers(len(values)))].type.tensor_type.shape.dim if values else ()
            if dims:
                dims[int(rng.integers(len(dims)))].dim_value = number
        case 8:
            graph.node.add().CopyFrom(node)
        case _:
            before = graph.node[:]
            extra = helper.make_node("Concat", [name, name], [f"{name}/twice"], axis=int(rng.integers(-2, 5)))
            del graph.node[:]
            place = int(rng.integers(len(before) + 1))
            graph.node.extend([*before[:place], extra, *before[place:]])
    try:
        return model.SerializeToString()
    except Exception:
        return data
