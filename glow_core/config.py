"""What a Glow is made of. No torch here, so that tools can read a description without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .errors import ConfigError

__all__ = ["Coupling", "GlowConfig", "Permutation", "Prior", "Weights"]

Coupling = Literal["affine", "additive"]
Permutation = Literal["lu", "plain", "shuffle", "reverse"]
Prior = Literal["conditional", "independent"]
Weights = Literal["ema", "raw"]
"""Which weights of a checkpoint: averaged over training where there are any, or those trained."""

_COUPLINGS = ("affine", "additive")
_PERMUTATIONS = ("lu", "plain", "shuffle", "reverse")
_PRIORS = ("conditional", "independent")

# Far beyond any Glow that can be trained; a damaged or hostile file must not ask for more memory or time than that.
_MAX_SIDE = 65536
_MAX_LEVELS = 16
_MAX_STEPS = 1024
_MAX_WIDTH = 65536
_MAX_CLASSES = 1_000_000

_LATER: Mapping[str, Any] = {"edge_bias": False, "prior": "conditional"}


@dataclass(frozen=True, kw_only=True)
class GlowConfig:
    """A multi-scale Glow: L levels of K steps of flow (Kingma & Dhariwal 2018, section 3 and figure 2).

    Attributes:
        image_size: (H, W) in pixels, each a multiple of 2^levels, at most 65536.
        channels: of the image; 1 for greyscale, 3 for RGB.
        levels: L, the number of squeezes, 1 to 16; the last level keeps all its channels.
        steps: K, steps of flow (actnorm, permutation, coupling) per level, 1 to 1024.
        width: channels of the two hidden layers of each coupling's conditioner, 1 to 65536.
        coupling: `affine` or `additive`.
        permutation: `lu` and `plain` are invertible 1x1 convolutions (section 3.2, equations 9 and 10);
            `shuffle` (drawn once, saved with the weights) and `reverse` are fixed.
        bounded_scale: the affine scale lies in (0.5, 1) rather than in (0, 1). A decoder then stretches by at most 2
            per step, which keeps samples finite far from the data. Has no meaning for additive coupling.
        n_bits: depth of the pixels the model is trained on, 1 to 8.
        num_classes: the priors are conditioned on a class label in 0 .. num_classes - 1, if given; at most a million.
            With `conditional` priors that is the top one (the paper's `ycond`), with `independent` ones every one.
        edge_bias: 3x3 convolutions see one more channel, which is 1 in the padding around the image and 0 inside, and
            so know the border (the padding of the paper's code, which the paper leaves out).
        prior: `conditional`, the paper's: each split predicts the mean and scale of the half that leaves from the half
            that goes on, and the coarsest latent has one mean and scale a channel. `independent`: every latent has a
            learned mean and scale at each of its channels and positions, whatever the others are.

    Raises:
        ConfigError: a value is out of range or the image cannot be squeezed `levels` times.
    """

    image_size: tuple[int, int]
    channels: int = 3
    levels: int = 3
    steps: int = 32
    width: int = 512
    coupling: Coupling = "affine"
    permutation: Permutation = "lu"
    bounded_scale: bool = True
    n_bits: int = 8
    num_classes: int | None = None
    edge_bias: bool = False
    prior: Prior = "conditional"

    def __post_init__(self) -> None:
        size = self.image_size
        if not isinstance(size, (tuple, list)) or len(size) != 2 or not all(_is_count(v, _MAX_SIDE) for v in size):
            raise ConfigError(f"image_size is {_shown(size)}; it must be two whole numbers (H, W), 1 to {_MAX_SIDE}")
        object.__setattr__(self, "image_size", (size[0], size[1]))
        if not _is_count(self.channels, 3) or self.channels == 2:
            raise ConfigError(f"channels is {_shown(self.channels)}; it must be 1 (greyscale) or 3 (RGB)")
        for name, most in (("levels", _MAX_LEVELS), ("steps", _MAX_STEPS), ("width", _MAX_WIDTH), ("n_bits", 8)):
            if not _is_count(getattr(self, name), most):
                raise ConfigError(f"{name} is {_shown(getattr(self, name))}; it must be a whole number, 1 to {most}")
        if self.coupling not in _COUPLINGS:
            raise ConfigError(f"coupling is {_shown(self.coupling)}; choose one of {', '.join(_COUPLINGS)}")
        if self.permutation not in _PERMUTATIONS:
            raise ConfigError(f"permutation is {_shown(self.permutation)}; choose one of {', '.join(_PERMUTATIONS)}")
        if self.prior not in _PRIORS:
            raise ConfigError(f"prior is {_shown(self.prior)}; choose one of {', '.join(_PRIORS)}")
        for name in ("bounded_scale", "edge_bias"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {_shown(getattr(self, name))}; it must be true or false")
        if self.num_classes is not None and not _is_count(self.num_classes, _MAX_CLASSES):
            raise ConfigError(
                f"num_classes is {_shown(self.num_classes)}; it must be a whole number, 1 to {_MAX_CLASSES}, or none"
            )
        factor = 2**self.levels
        height, width = self.image_size
        if height % factor or width % factor:
            raise ConfigError(
                f"an image of {height}x{width} cannot be squeezed {self.levels} times: both sides must be "
                f"multiples of {factor}; give another image_size=, or fewer levels="
            )

    @property
    def dims(self) -> int:
        """D, the number of values in one image."""
        return self.channels * self.image_size[0] * self.image_size[1]

    @property
    def level_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) inside each level, after its squeeze, finest first."""
        height, width = self.image_size
        return tuple(
            (self.channels * 2 ** (level + 1), height >> level, width >> level) for level in range(1, self.levels + 1)
        )

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) of z1 (the finest, factored out first) to zL (the coarsest)."""
        shapes = self.level_shapes
        split = tuple((channels // 2, height, width) for channels, height, width in shapes[:-1])
        return (*split, shapes[-1])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON and `from_dict` understand.

        What the first releases did not know is left out where it is off, so that they read the files they can.
        """
        values = {**dataclasses.asdict(self), "image_size": list(self.image_size)}
        return {name: value for name, value in values.items() if name not in _LATER or value != _LATER[name]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GlowConfig:
        """Build a config from what `to_dict` gave.

        Raises:
            ConfigError: a key is missing or unknown, or a value is out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, Mapping) or set(values) | set(_LATER) != known:
            found = _shown(sorted(map(_shown, values))) if isinstance(values, Mapping) else type(values).__name__
            raise ConfigError(f"the model config must hold {sorted(known)}; it holds {found}")
        return cls(**values)


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _shown(value: object) -> str:
    """One line of a value that may come from any file."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # Python does not print whole numbers of thousands of digits
        return f"an unprintable {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."
