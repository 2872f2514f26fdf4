"""How a model is trained. No torch here, so that a command line can show the defaults without it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from glow_core.errors import ConfigError

__all__ = ["FIXED_ON_RESUME", "InversePenaltyAt", "Memory", "OptimizerName", "Precision", "TrainSettings"]

OptimizerName = Literal["adamax", "adam"]
InversePenaltyAt = Literal["latents", "steps"]
Memory = Literal["auto", "plain", "checkpoint", "reversible"]
Precision = Literal["float32", "bf16-mixed"]

_OPTIMIZERS = ("adamax", "adam")
_PLACES = ("latents", "steps")
_MEMORIES = ("auto", "plain", "checkpoint", "reversible")
_PRECISIONS = ("float32", "bf16-mixed")

FIXED_ON_RESUME = ("batch_size", "optimizer", "precision", "seed")
"""What the loss curve of a run hangs on and therefore cannot change when it is resumed."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """One training run. At least one of `max_steps`, `max_epochs` and `max_seconds` must be given.

    Attributes:
        max_steps: stop after this many optimizer steps, counted from the start of the run, not of this session.
        max_epochs: stop after this many passes over the training images.
        max_seconds: stop after this much training time, earlier sessions of a resumed run included.
        batch_size: images per step, over all processes together.
        accumulate: the images of a step go through the model in this many parts, one after the other, and their
            gradients are added. What a step does changes by rounding only, and what it keeps becomes so much less.
        optimizer: `adamax` (the original code's choice) or `adam`.
        learning_rate: after the warm-up.
        warmup_steps: the learning rate rises linearly over this many steps; 0: no warm-up.
        decay: over the last part of the budget the learning rate falls linearly to a hundredth; this is the share
            of the budget that part takes, 0 to 1. 0: the learning rate stays.
        betas: the two averaging factors of the optimizer.
        weight_decay: L2 penalty added to the gradient.
        clip_norm: gradients are scaled down to this L2 norm, over all parameters; None: not.
        clip_value: every entry of the gradients is clamped to +- this, before `clip_norm`; None: not.
        inverse_penalty: bits/dim that a doubling of the inverse's gain costs (`penalties.inverse_gains`); 0: nothing.
        inverse_penalty_at: the gain is that of disturbances of the `latents` or of every one of the `steps` of flow.
        inverse_penalty_every: steps between two with this penalty, which then counts this many times.
        inverse_penalty_images: images of the batch whose gain is measured; all where there are fewer.
        conditioning_penalty: bits/dim per unit of `penalties.conditioning_penalty`, the spread of the singular values
            of actnorms and 1x1 convolutions in squared doublings; 0: nothing.
        exact_aware: weights and activations of the conditioners are rounded in the forward pass as exact graphs round
            them, which additive models have, and learn to bear it; validation and penalties are without. Ranges are
            those of all images that a process takes in a step, so that it takes no `accumulate`; and no `memory`
            `reversible`, since a recomputed input may be rounded another way.
        ema_decay: decay of the averaged weights; 0: the averaged weights are the weights.
        init_images: the data-dependent initialisation of the actnorms sees this many images.
        seed: of weights, order of images, dequantisation noise and sample grids.
        validate_every: steps between validations; None: only at the end.
        validation_images: at most this many validation images are used; None: all.
        checkpoint_every: steps between checkpoints; None: by time alone.
        checkpoint_seconds: a checkpoint is also written when the last one is this old; None: by steps alone.
        sample_every: steps between sample grids; None: only at the end.
        sample_count: images in a sample grid; 0: no grids.
        sample_temperature: multiplies the standard deviation of the latents.
        golden_images: validation images kept in the checkpoint, for golden vectors of exported graphs.
        device: `auto`, `cpu`, `cuda` or `cuda:N`. Under torchrun each process takes its own GPU.
        threads: CPU threads; None: torch's own choice. Curves repeat bit for bit only with the same number.
        memory: what the backward pass is given of the forward pass. `plain`: every activation. `checkpoint`: the input
            of every step of flow, from which it is run again. `reversible`: the input of every level; the rest is
            recomputed from the outputs by the inverse, and checked. `auto`: the first of the three that takes at most
            half of the device's memory, the copies of the weights and the penalties counted; on resume, the way that
            the run went before. Gradients differ by rounding.
        precision: `bf16-mixed` lets the convolutions of the conditioners compute in bfloat16, in training alone. Trunk,
            log-determinants, gradients and weights stay in float32, and so do validation, samples and penalties.
        channels_last: memory format of the convolutions; None: where it is faster (CPU).
        log_every: steps between rows of `log.csv`.
        tensorboard: write TensorBoard event files too.

    Raises:
        ConfigError: a value is out of range, or no budget is given.
    """

    max_steps: int | None = None
    max_epochs: float | None = None
    max_seconds: float | None = None
    batch_size: int = 64
    accumulate: int = 1
    optimizer: OptimizerName = "adamax"
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip_norm: float | None = 100.0
    clip_value: float | None = None
    inverse_penalty: float = 0.0
    inverse_penalty_at: InversePenaltyAt = "steps"
    inverse_penalty_every: int = 1
    inverse_penalty_images: int = 8
    conditioning_penalty: float = 0.0
    exact_aware: bool = False
    ema_decay: float = 0.999
    init_images: int = 256
    seed: int = 0
    validate_every: int | None = 1000
    validation_images: int | None = 1024
    checkpoint_every: int | None = 1000
    checkpoint_seconds: float | None = 60.0
    sample_every: int | None = 1000
    sample_count: int = 64
    sample_temperature: float = 0.7
    golden_images: int = 256
    device: str = "auto"
    threads: int | None = None
    memory: Memory = "auto"
    precision: Precision = "float32"
    channels_last: bool | None = None
    log_every: int = 1
    tensorboard: bool = True

    def __post_init__(self) -> None:
        self._whole(
            1, "batch_size", "accumulate", "init_images", "log_every", "inverse_penalty_every", "inverse_penalty_images"
        )
        self._whole(0, "warmup_steps", "sample_count", "golden_images", "seed")
        self._whole_or_none(1, "max_steps", "validate_every", "validation_images")
        self._whole_or_none(1, "checkpoint_every", "sample_every", "threads")
        self._number("learning_rate", low=0.0, open_low=True)
        self._number("weight_decay", low=0.0)
        self._number("inverse_penalty", low=0.0)
        self._number("conditioning_penalty", low=0.0)
        self._number("sample_temperature", low=0.0)
        self._number("ema_decay", low=0.0, high=1.0)
        self._number("decay", low=0.0, high=1.0, closed_high=True)
        for name in ("max_epochs", "max_seconds", "clip_norm", "clip_value", "checkpoint_seconds"):
            if getattr(self, name) is not None:
                self._number(name, low=0.0, open_low=True)
        if self.max_steps is None and self.max_epochs is None and self.max_seconds is None:
            raise ConfigError(
                "training has no end: give max_steps=, max_epochs= or max_seconds=, for example max_seconds=600"
            )
        if self.accumulate > self.batch_size:
            raise ConfigError(
                f"accumulate is {self.accumulate}: a batch of {self.batch_size} does not have so many parts"
            )
        if self.optimizer not in _OPTIMIZERS:
            raise ConfigError(f"optimizer is {self.optimizer!r}; choose one of {', '.join(_OPTIMIZERS)}")
        if self.inverse_penalty_at not in _PLACES:
            raise ConfigError(f"inverse_penalty_at is {self.inverse_penalty_at!r}; choose one of {', '.join(_PLACES)}")
        if self.memory not in _MEMORIES:
            raise ConfigError(f"memory is {self.memory!r}; choose one of {', '.join(_MEMORIES)}")
        if self.precision not in _PRECISIONS:
            raise ConfigError(f"precision is {self.precision!r}; choose one of {', '.join(_PRECISIONS)}")
        if self.exact_aware and self.precision != "float32":
            raise ConfigError(f"exact_aware rounds conditioners in its own way; leave precision {self.precision} away")
        if self.exact_aware and self.accumulate > 1:
            raise ConfigError(
                "exact_aware takes the ranges of activations from all images of a step; leave accumulate away, for "
                'example with memory="checkpoint", which keeps less too'
            )
        if self.exact_aware and self.memory == "reversible":
            raise ConfigError(
                "exact_aware rounds conditioners, and what rounds does not find its input again from its output: "
                'choose memory="checkpoint"'
            )
        betas = self.betas
        if (
            not isinstance(betas, (tuple, list))
            or len(betas) != 2
            or not all(_is_number(beta) and 0 <= beta < 1 for beta in betas)
        ):
            raise ConfigError(f"betas is {betas!r}; it must be two numbers in [0, 1)")
        object.__setattr__(self, "betas", (float(betas[0]), float(betas[1])))
        if self.seed >= 2**63:
            raise ConfigError(f"seed is {self.seed}; it must be less than 2^63")
        kind, _, index = self.device.partition(":")
        numbered = kind == "cuda" and index.isascii() and index.isdecimal() and len(index) <= 3
        if kind not in ("auto", "cpu", "cuda") or (":" in self.device and not numbered):
            raise ConfigError(f"device is {self.device!r}; choose auto, cpu, cuda or cuda:N")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that a checkpoint and `from_dict` understand."""
        return {**dataclasses.asdict(self), "betas": list(self.betas)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainSettings:
        """Build settings from what `to_dict` gave; settings a newer version added keep their defaults.

        Raises:
            ConfigError: a key is unknown, or a value is out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(map(str, set(values) - known))
        if unknown:
            raise ConfigError(f"unknown training settings: {', '.join(unknown)}; they come from another version")
        return cls(**values)

    def _whole(self, low: int, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ConfigError(f"{name} is {value!r}; it must be a whole number of at least {low}")

    def _whole_or_none(self, low: int, *names: str) -> None:
        self._whole(low, *(name for name in names if getattr(self, name) is not None))

    def _number(
        self, name: str, *, low: float, high: float = math.inf, open_low: bool = False, closed_high: bool = False
    ) -> None:
        value = getattr(self, name)
        inside = _is_number(value) and (value > low if open_low else value >= low)
        if not (inside and (value <= high if closed_high else value < high)):
            ends = f"{'(' if open_low else '['}{low:g}, {high:g}{']' if closed_high else ')'}"
            raise ConfigError(f"{name} is {value!r}; it must be a finite number in {ends}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
