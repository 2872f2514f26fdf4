"""What looking at a file found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Inspection"]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found.

    Attributes:
        kind: `bundle`, `onnx`, `plan`, `checkpoint` or `npz`.
        path: the file or folder.
        facts: single values by name, in the order to print them.
        tables: rows of equal keys by title.
    """

    kind: str
    path: str
    facts: Mapping[str, object]
    tables: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Inspection({self.kind} {self.path!r}, {len(self.facts)} facts, {len(self.tables)} tables)"
