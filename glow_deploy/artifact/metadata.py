"""What a lone ONNX file says about itself, so that it can be run without its bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glow_deploy.errors import BundleError

if TYPE_CHECKING:
    from glow_deploy.protocol import Role

__all__ = ["FORMAT_VERSION", "IO_KEY", "PREFIX", "GraphMetadata", "latent_shapes"]

FORMAT_VERSION = 1

PREFIX = "glow_deploy."

IO_KEY = f"{PREFIX}io"
"""In graphs that take and give 8-bit pictures, for programs elsewhere: how the pictures lie."""


def latent_shapes(image_shape: tuple[int, int, int], *, levels: int) -> tuple[tuple[int, int, int], ...]:
    """Return (C, H, W) of z1 ... zL of images (C, H, W).

    >>> latent_shapes((3, 16, 16), levels=2)
    ((6, 8, 8), (48, 4, 4))
    """
    channels, height, width = image_shape
    split = tuple((channels << level, height >> level, width >> level) for level in range(1, levels))
    return (*split, (channels << (levels + 1), height >> levels, width >> levels))


@dataclass(frozen=True, kw_only=True)
class GraphMetadata:
    """Stored as `metadata_props` under `glow_deploy.*`, every value a string.

    Attributes:
        role: `encoder` or `decoder`.
        n_bits: pixel depth.
        image_size: (H, W).
        channels: of the image.
        levels: L, so z1 ... zL.
        steps: K of each level; 0 if they differ.
        coupling: `affine` or `additive`.
        precision: `fp32`, ...
        num_classes: of a class-conditional model, else None.
        model_id: sha256 of the folded weights; equal in an encoder and a decoder that belong together.
    """

    role: Role
    n_bits: int
    image_size: tuple[int, int]
    channels: int
    levels: int
    steps: int
    coupling: str
    precision: str
    num_classes: int | None
    model_id: str

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) of z1 ... zL."""
        return latent_shapes((self.channels, *self.image_size), levels=self.levels)

    def to_props(self) -> dict[str, str]:
        """Return the key-value pairs for `metadata_props`."""
        height, width = self.image_size
        values = {
            "format_version": str(FORMAT_VERSION),
            "role": self.role,
            "n_bits": str(self.n_bits),
            "image_size": f"{height}x{width}",
            "channels": str(self.channels),
            "levels": str(self.levels),
            "steps": str(self.steps),
            "coupling": self.coupling,
            "precision": self.precision,
            "num_classes": "" if self.num_classes is None else str(self.num_classes),
            "model_id": self.model_id,
        }
        return {PREFIX + key: value for key, value in values.items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str], *, source: str) -> GraphMetadata:
        """Read the pairs back.

        Args:
            props: all metadata_props of a graph; keys of others are ignored.
            source: file name for the message.

        Raises:
            BundleError: a key is missing, malformed or out of range, or the format is of another version.
        """
        version = props.get(PREFIX + "format_version")
        if version is None:
            raise BundleError(f"{source}: not a graph of glow-deploy (no {PREFIX}* metadata in it)")
        if version != str(FORMAT_VERSION):
            raise BundleError(f"{source}: graph format {version[:40]!r}; this release reads {FORMAT_VERSION}")
        try:
            height, width = props[PREFIX + "image_size"].split("x")
            role = props[PREFIX + "role"]
            if role not in ("encoder", "decoder"):
                raise ValueError(f"role is {role[:40]!r}")
            classes = props[PREFIX + "num_classes"]
            facts = cls(
                role="encoder" if role == "encoder" else "decoder",
                n_bits=int(props[PREFIX + "n_bits"]),
                image_size=(int(height), int(width)),
                channels=int(props[PREFIX + "channels"]),
                levels=int(props[PREFIX + "levels"]),
                steps=int(props[PREFIX + "steps"]),
                coupling=props[PREFIX + "coupling"],
                precision=props[PREFIX + "precision"],
                num_classes=int(classes) if classes else None,
                model_id=props[PREFIX + "model_id"],
            )
        except (KeyError, ValueError) as error:
            raise BundleError(f"{source}: its glow_deploy metadata is damaged ({error})") from error
        sizes = (*facts.image_size, facts.channels, 1 if facts.num_classes is None else facts.num_classes)
        if not (1 <= facts.n_bits <= 8 and 1 <= facts.levels <= 16 and facts.steps >= 0 and min(sizes) >= 1):
            raise BundleError(f"{source}: its glow_deploy metadata is damaged (a size or depth is out of range)")
        return facts
