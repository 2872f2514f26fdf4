"""Pictures that a decoder gave."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_path
from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import grid, png_bytes, write_png, x_to_values

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Pictures"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Pictures:
    """Decoded images. In a notebook they show themselves as a grid.

    They go wherever images do. `pictures[0]`, a slice, a list of numbers or a mask pick some of them, again as
    `Pictures`; so does a loop, one by one. `numpy.asarray(pictures)` is `pictures.pixels`.

    Attributes:
        x: [N, C, H, W] as decoded, not clamped.
        z: the latents they were decoded from, z1 ... zL.
        finite: bool [N]; an image that is not finite is shown black.
        n_bits: of the model.
        labels: int64 [N], None for a model without classes.
        columns: images in a row where they are shown; None makes the grid as square as possible.
    """

    x: npt.NDArray[np.floating]
    z: tuple[npt.NDArray[np.floating], ...]
    finite: npt.NDArray[np.bool_]
    n_bits: int
    labels: npt.NDArray[np.int64] | None = None
    columns: int | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __iter__(self) -> Iterator[Pictures]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:  # noqa: FBT001  # NumPy's own
        """The pixels, uint8 [N, H, W, C], for NumPy."""
        if copy is False:
            raise ValueError("the pixels of pictures are made when they are asked for, so they cannot be had uncopied")
        return self.pixels if dtype is None else self.pixels.astype(dtype)

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """uint8 [N, H, W, C], 0..255: what picture files hold."""
        return np.ascontiguousarray(self._values().transpose(0, 2, 3, 1))

    @property
    def images(self) -> list[Image]:
        """One PIL image each."""
        from PIL import Image

        return [Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels) for pixels in self.pixels]

    def save(self, path: str | Path) -> None:
        """Write all of them as one grid, a PNG; an earlier file is replaced whole.

        Args:
            path: of the file, which ends in `.png`.

        Raises:
            UsageError: another suffix, or a place that cannot be written.
            DataError: there are no pictures.
        """
        target = as_path("path", path)
        if target.suffix.lower() != ".png":
            raise UsageError(
                f"cannot write {target}: pictures are saved as one PNG; name a .png file, or write `pixels` or "
                "`images` in another format"
            )
        if not len(self):
            raise DataError("there are no pictures to save")
        write_png(target, grid(self._values(), columns=self.columns))

    def __getitem__(self, place: int | slice | Sequence[int] | npt.NDArray[np.generic]) -> Pictures:
        rows = np.arange(len(self))[[place] if isinstance(place, (int, np.integer)) else place]
        return Pictures(
            x=self.x[rows],
            z=tuple(level[rows] for level in self.z),
            finite=self.finite[rows],
            n_bits=self.n_bits,
            labels=None if self.labels is None else self.labels[rows],
        )

    def __repr__(self) -> str:
        count, channels, height, width = self.x.shape
        lost = int((~self.finite).sum())
        return f"Pictures({count} of {channels}x{height}x{width}" + (f", {lost} not finite)" if lost else ")")

    def _repr_html_(self) -> str:
        if not len(self):
            return f"<p>{escape(repr(self))}</p>"
        data = base64.b64encode(png_bytes(grid(self._values(), columns=self.columns))).decode("ascii")
        return f'<img alt="{len(self)} pictures" src="data:image/png;base64,{data}">'

    def _values(self) -> npt.NDArray[np.uint8]:
        return x_to_values(np.where(self.finite[:, None, None, None], self.x, 0.0), self.n_bits)
