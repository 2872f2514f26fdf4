"""What an open model says of itself."""

from __future__ import annotations

from pathlib import Path

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.notebook import html_table
from glow_deploy.protocol import EngineDetails

__all__ = ["ModelFacts"]


class ModelFacts:
    """The facts of a bundle and of what runs it; they stay readable after the model is closed."""

    def __init__(self, bundle: Bundle, details: EngineDetails) -> None:
        self._bundle = bundle
        self._details = details
        self._closed = False

    @property
    def bundle(self) -> Bundle:
        """The folder and its manifest."""
        return self._bundle

    @property
    def path(self) -> Path:
        """The bundle's folder."""
        return self._bundle.path

    @property
    def backend(self) -> str:
        """What really runs: `onnxruntime-cpu`, ..."""
        return self._details.backend

    @property
    def device(self) -> str:
        """Where it runs: `cpu`, or `cuda:N` with the GPU's name."""
        return self._details.device

    @property
    def precision(self) -> str:
        """Of the graphs: `fp32`, `mixed`, ..."""
        return self._bundle.manifest.precision

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self._bundle.manifest.image_shape

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.image_shape[1:]

    @property
    def channels(self) -> int:
        """1 for grey pictures, 3 for colour."""
        return self.image_shape[0]

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) of z1 ... zL, the finest first."""
        return self._bundle.manifest.latent_shapes

    @property
    def n_bits(self) -> int:
        """Depth of the model's pixels, 1 to 8."""
        return self._bundle.manifest.n_bits

    @property
    def num_classes(self) -> int | None:
        """K of a class-conditional model, None for one without classes."""
        return self._bundle.manifest.num_classes

    @property
    def closed(self) -> bool:
        """Whether the engines have been given back."""
        return self._closed

    def __repr__(self) -> str:
        classes = "" if self.num_classes is None else f", {self.num_classes} classes"
        runs = "closed" if self._closed else f"on {self.backend}"
        return (
            f"{type(self).__name__}({str(self.path)!r}: {_by(self.image_shape)}, {self.n_bits} bits, "
            f"{len(self.latent_shapes)} levels{classes}, {self.precision} {runs})"
        )

    def _repr_html_(self) -> str:
        facts = [
            ("bundle", self.path),
            ("images", f"{_by(self.image_shape)}, {self.n_bits} bits"),
            ("latents", ", ".join(f"z{level} {_by(shape)}" for level, shape in enumerate(self.latent_shapes, 1))),
            ("classes", "none" if self.num_classes is None else self.num_classes),
            ("precision", self.precision),
            ("runs on", "nothing: closed" if self._closed else f"{self.backend}, {self.device}"),
        ]
        return html_table((), facts)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
