"""What was found where exact graphs were compared for equality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["ExactReport", "ExactRow"]


@dataclass(frozen=True, kw_only=True)
class ExactRow:
    """One comparison.

    Attributes:
        what: `integers` of two encoders, `pixels` of encode on A and decode on B, or `integers by batch` of one
            encoder, with the pixels that its decoder makes of them.
        images: name of the image set.
        first: the backend, or `golden` for the integers of the bundle, that is compared with.
        second: the backend compared.
        n: images compared.
        values: numbers compared, among them whether each image is in range.
        differing: numbers that are not equal.
        outside: images that are not in range, which are not compared.
    """

    what: str
    images: str
    first: str
    second: str
    n: int
    values: int
    differing: int
    outside: int

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "what": self.what,
            "images": self.images,
            "first": self.first,
            "second": self.second,
            "n": self.n,
            "values": self.values,
            "differing": self.differing,
            "outside": self.outside,
        }


@dataclass(frozen=True, kw_only=True)
class ExactReport:
    """All comparisons of a run.

    Attributes:
        rows: in the order in which they were made.
    """

    rows: tuple[ExactRow, ...]

    @property
    def line(self) -> str:
        """One sentence of all of it."""
        differing = sum(row.differing for row in self.rows)
        values = sum(row.values for row in self.rows)
        outside = sum(row.outside for row in self.rows if row.what == "pixels" and row.first == row.second)
        beyond = f"; {outside} images are not in range" if outside else ""
        return f"exact: {differing:,} of {values:,} integers and pixels differ in {len(self.rows)} comparisons{beyond}"

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {"rows": [row.to_dict() for row in self.rows]}
