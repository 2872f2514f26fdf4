"""Protocol buffers as text, as much of it as Triton's config.pbtxt needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Word", "pbtxt"]


class Word(str):
    """A name that stands without quotes: a value of an enumeration."""

    __slots__ = ()


def pbtxt(fields: Mapping[str, Any]) -> str:
    r"""Write a message: mappings are messages, lists are repeated fields, of numbers on one line.

    Args:
        fields: by name, in order; None is left out.

    Examples:
        >>> print(pbtxt({"name": "a\"b", "dims": [3, 8], "kind": Word("KIND_CPU"), "input": [{"name": "x"}]}), end="")
        name: "a\"b"
        dims: [3, 8]
        kind: KIND_CPU
        input {
          name: "x"
        }
    """
    return "".join(f"{line}\n" for line in _lines(fields, ""))


def _lines(fields: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, Sequence) and not isinstance(value, str):
            if not any(isinstance(item, Mapping) for item in value):
                yield f"{indent}{name}: [{', '.join(map(_scalar, value))}]"
                continue
            items: Sequence[Any] = value
        else:
            items = (value,)
        for item in items:
            if isinstance(item, Mapping):
                yield f"{indent}{name} {{"
                yield from _lines(item, indent + "  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(map(_letter, value)) + '"'
    return str(value)


def _letter(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    if letter.isprintable() and letter.isascii():
        return letter
    return "".join(f"\\{byte:03o}" for byte in letter.encode("utf-8", "surrogateescape"))
