"""A look at the bytes of an ONNX file before protobuf builds objects from them.

An empty protobuf message takes two bytes in a file and over a hundred in memory, so a file is first walked over without
building anything: its fields are counted, and the bytes that are not values of weights are added up. Field numbers are
those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from glow_deploy.errors import BundleError

from .limits import MOST_FIELDS, MOST_OTHER_BYTES, SIZE_LIMIT

__all__ = ["check_wire"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WEIGHT = 2  # depth of a weight: model, graph, tensor; what nodes hold in their attributes lies deeper
_DEEPEST = 32  # messages inside messages; a graph without subgraphs has 6


@dataclass(frozen=True)
class _Message:
    """A message: what is walked into, by field number, and what holds the values of a weight as they are."""

    inside: Mapping[int, str]
    values: frozenset[int] = frozenset()


# Everything that may hold many small messages; what is left out is text, or a list of numbers.
_MESSAGES: Mapping[str, _Message] = {
    "model": _Message({7: "graph", 8: "leaf", 14: "leaf", 20: "training", 25: "function", 26: "leaf"}),
    "graph": _Message(
        {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "annotation", 15: "sparse", 16: "leaf"}
    ),
    "node": _Message({5: "attribute", 9: "leaf", 10: "leaf"}),
    "attribute": _Message(
        {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "type", 15: "type", 22: "sparse", 23: "sparse"}
    ),
    "tensor": _Message({13: "leaf", 16: "leaf"}, frozenset({4, 9})),  # float_data and raw_data
    "sparse": _Message({1: "tensor", 2: "tensor"}),
    "value": _Message({2: "type", 4: "leaf"}),
    "type": _Message({1: "tensor type", 4: "element", 8: "tensor type", 9: "element"}),
    "tensor type": _Message({2: "shape"}),
    "element": _Message({1: "type"}),
    "shape": _Message({1: "leaf"}),
    "annotation": _Message({2: "leaf"}),
    "training": _Message({1: "graph", 2: "graph", 3: "leaf", 4: "leaf"}),
    "function": _Message({7: "node", 9: "leaf", 11: "attribute", 12: "value", 14: "leaf"}),
    "leaf": _Message({}),
}


class _CutError(Exception):
    """The bytes are no protobuf message."""


class _Walk:
    def __init__(self, data: bytes, source: str, *, foreign: bool) -> None:
        self._data = data
        self._foreign = foreign
        self._source = source
        self._fields = 0
        self._other = 0

    def run(self) -> None:
        self._message(0, len(self._data), _MESSAGES["model"], 0)

    def _message(self, start: int, end: int, kind: _Message, depth: int) -> None:
        inside, values = kind.inside, kind.values
        for number, first, last in self._split(start, end):
            if number in values and (self._foreign or depth == _WEIGHT):
                continue
            if first is None:
                continue
            if number in inside:
                if depth == _DEEPEST:
                    raise BundleError(f"{self._source}: holds graphs inside graphs; no Glow has those")
                self._message(first, last, _MESSAGES[inside[number]], depth + 1)
            else:
                self._other += last - first
                if self._other > MOST_OTHER_BYTES:
                    raise BundleError(
                        f"{self._source}: holds more than {MOST_OTHER_BYTES >> 20} MiB of names, texts and lists "
                        "beside its weights; no Glow has that"
                    )

    def _split(self, position: int, end: int) -> Iterator[tuple[int, int | None, int]]:
        """Give each field's number, and where its bytes lie; None for a plain number."""
        data = self._data
        while position < end:
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise BundleError(f"{self._source}: holds more than {MOST_FIELDS} entries; no Glow has that many")
            key, position = _varint(data, position, end)
            kind = key & 7
            if kind == _BYTES:
                length, position = _varint(data, position, end)
                if position + length > end:
                    raise _CutError
                yield key >> 3, position, position + length
                position += length
            elif kind == _VARINT:
                _, position = _varint(data, position, end)
                yield key >> 3, None, 0
            elif kind in (_FIXED32, _FIXED64):
                position += 4 if kind == _FIXED32 else 8
                if position > end:
                    raise _CutError
                yield key >> 3, None, 0
            else:
                raise _CutError


def check_wire(data: bytes, *, source: str, foreign: bool = False) -> None:
    """Refuse bytes that would take far more memory as an ONNX model than they take in the file.

    What passes needs about a hundred bytes of memory for each of `MOST_FIELDS` fields at the very most, and the room
    of its weights once more.

    Args:
        data: the whole file.
        source: its name, for messages.
        foreign: of any origin, and only looked at; other tools keep weights in attributes of nodes too.

    Raises:
        BundleError: too large, too many entries, or not a protobuf message.
    """
    if len(data) > SIZE_LIMIT:
        raise BundleError(f"{source} is larger than 2 GiB, which no ONNX file of one piece can be")
    try:
        _Walk(data, source, foreign=foreign).run()
    except _CutError:
        raise BundleError(f"{source}: not an ONNX file, or damaged") from None


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _CutError
