"""What a model takes, and whether images may be changed to fit it."""

from __future__ import annotations

from dataclasses import dataclass

from glow_deploy.errors import DataError

__all__ = ["Fit"]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The size wanted.

    Attributes:
        size: (H, W), or None for the images' own.
        channels: 1 or 3, or None for the images' own.
        resize: crop and resample images of another size, and turn colour to grey where grey is wanted.
        skip_unreadable: leave out pictures that cannot be read, instead of failing.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    resize: bool = False
    skip_unreadable: bool = False

    def shape_for(self, held: tuple[int, int, int], *, name: str) -> tuple[int, int, int]:
        """Return the (C, H, W) that images of shape `held` will have.

        Raises:
            DataError: they would have to be resized and may not be.
        """
        channels = self.channels or held[0]
        size = self.size or held[1:]
        if size != held[1:] and not self.resize:
            raise DataError(
                f"{name}: images are {held[2]}x{held[1]} pixels, the model takes {size[1]}x{size[0]} (width x height); "
                "pass resize=True to crop and resample them"
            )
        return channels, size[0], size[1]
