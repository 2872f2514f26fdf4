"""From a folded model to an exact one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from glow_core.rounding import CONDITIONER_BITS
from glow_deploy.errors import UnsoundModelError, UsageError
from glow_deploy.folding import FoldedConv, FoldedGlow, FoldedLevel, FoldedPrior, FoldedStep
from glow_deploy.folding.arrays import step_path

from .arrays import ExactGlow, ExactLevel, ExactPrior, ExactSplit, ExactStep, Shear
from .conditioners import Convolve, centred, convolve, integer_conditioner, integer_conv, rounding_of, run_real
from .interpret import ExactModel
from .linear import LinearStep, limit_bits, linear_steps
from .narrow import FORMATS, NarrowNumber
from .operands import first_unfit
from .proof import prove
from .shears import is_lower, product, refine

__all__ = ["BITS", "LEAST_BITS", "MOST_BITS", "Built", "build_exact", "refuse_affine"]

BITS = CONDITIONER_BITS
"""Of a conditioner by default."""

LEAST_BITS, MOST_BITS = 4, 11

SHEAR_BITS = 11
"""Bits of a shear's weights, and a sign: TF32 holds them exactly."""

_LIMB_BITS = 9
_FRACTION_BITS = 8
_LEAST_FRACTION_BITS = 4
_HEADROOM = 2.0  # over the largest |q| of the calibration images


@dataclass(frozen=True, kw_only=True, eq=False)
class Built:
    """An exact model, and what was seen while it was built.

    Attributes:
        model: the integers.
        images: calibration images.
        largest: |q| on them at every checked place.
    """

    model: ExactGlow
    images: int
    largest: int


def refuse_affine(coupling: str) -> None:
    """Raise a UsageError for a model whose couplings are affine."""
    if coupling == "affine":
        raise UsageError(
            "precision exact is for additive couplings, and this model's are affine: a scale that depends on the image "
            "is no bijection of integers: train an additive model with `glow-deploy train --coupling additive`; the "
            "weights of an affine one do not carry over"
        )


def build_exact(
    folded: FoldedGlow,
    x: np.ndarray,
    *,
    bits: int = BITS,
    narrow: NarrowNumber | None = None,
    levels: tuple[tuple[LinearStep, ...], ...] | None = None,
    progress: Callable[[int, int], None] | None = None,
    convolve: Convolve = convolve,
) -> Built:
    """Make the exact model of an additive Glow, with ranges from calibration images.

    The fraction bits below a pixel step are 8, or fewer where the integers would come too near their limit, or could
    leave what float32 holds for some image.

    Args:
        folded: the trained model.
        x: images [N,C,H,W] in [0,1); more make better ranges.
        bits: of a conditioner's weights (and a sign) and of its activations, 4 to 11; 8 at most for bfloat16.
        narrow: round the hidden sums of conditioners to bfloat16 or float16, so that the same integers come from
            convolutions in that type and in float32.
        levels: the linear steps, where they are known from another call.
        progress: told steps done and all steps, twice as many as the model has.
        convolve: what runs the model on the images; exact for integers.

    Raises:
        UsageError: the model is affine, one of its 1x1 convolutions is too near a singular matrix, the integers need
            more room than float32 has, or an operand more than the 16-bit format has.
    """
    refuse_affine(folded.coupling)
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise UsageError(f"bits is {bits}; a conditioner's weights have {LEAST_BITS} to {MOST_BITS} bits and a sign")
    if narrow is not None and bits > FORMATS[narrow].bits:
        raise UsageError(f"bfloat16 holds integers of {FORMATS[narrow].bits} bits exactly, and bits is {bits}")
    total = sum(len(level.steps) for level in folded.levels)
    report = progress or (lambda done, total: None)
    if levels is None:
        levels = linear_steps(folded, progress=lambda done, _: report(done, 2 * total))
    limit = 2 ** limit_bits(levels)
    failed = ""
    for fraction in range(_FRACTION_BITS, _LEAST_FRACTION_BITS - 1, -1):
        # With half the limit there is more room for what strong couplings may add.
        for most in (limit, limit // 2):
            if 2 ** (folded.n_bits + fraction - 1) > most:
                continue
            builder = _Builder(
                folded, levels, limit=most, fraction_bits=fraction, bits=bits, narrow=narrow, convolve=convolve
            )
            built = builder.build(x, lambda done: report(total + done, 2 * total))
            if built is None:
                break
            wrong = first_unfit(built.model)
            if wrong is not None:  # of a coarser grid the same operands would be no smaller
                raise UsageError(
                    f"{wrong}: the numbers of this conditioner are too unlike in size for convolutions in 16 bit: "
                    "export the model without native="
                )
            try:
                prove(built.model)
            except UnsoundModelError as error:
                failed = str(error)
            else:
                return built
    if failed:
        raise UsageError(
            f"{failed}, with the coarsest grid too: this model's couplings may add more than exact graphs have room "
            "for: train one with fewer hidden channels or smaller weights, or export this one with another precision"
        )
    raise UsageError(
        f"this model's values grow beyond {limit} steps of {2.0**-_LEAST_FRACTION_BITS:g} of a pixel step, where "
        "float32 is no longer exact: it has no exact graphs; export it with another precision"
    )


class _Builder:
    def __init__(
        self,
        folded: FoldedGlow,
        levels: tuple[tuple[LinearStep, ...], ...],
        *,
        limit: int,
        fraction_bits: int,
        bits: int,
        narrow: NarrowNumber | None,
        convolve: Convolve,
    ) -> None:
        self._folded, self._levels, self._bits, self._narrow = folded, levels, bits, narrow
        self._convolve = convolve
        self._spacing = 2.0 ** -(folded.n_bits + fraction_bits)
        self._blank = ExactGlow(
            image_shape=folded.image_shape,
            n_bits=folded.n_bits,
            fraction_bits=fraction_bits,
            limb_bits=_LIMB_BITS,
            limit=limit,
            levels=(),
            prior=ExactPrior(mean=np.zeros(0), log_scale=np.zeros(0)),
            num_classes=folded.num_classes,
        )
        self._run = ExactModel(self._blank, convolve=convolve)

    def build(self, x: np.ndarray, report: Callable[[int], None]) -> Built | None:
        """Build; None where the calibration images leave too little room."""
        q = self._run.pixels(x)
        levels: list[ExactLevel] = []
        largest = int(np.abs(q).max())
        done = 0
        for index, (level, linear) in enumerate(zip(self._folded.levels, self._levels, strict=True), start=1):
            q = self._run.squeeze(q)
            steps = []
            for number, (step, lines) in enumerate(zip(level.steps, linear, strict=True), start=1):
                made, q = self._step(step, lines, q, where=step_path(index, number))
                steps.append(made)
                largest = max(largest, int(np.abs(q).max()))
                if _HEADROOM * largest > self._blank.limit:
                    return None
                done += 1
                report(done)
            kept = q[:, : q.shape[1] // 2]
            split = self._split(level, kept)
            sign = linear[-1].sign if split is None else linear[-1].sign[kept.shape[1] :]
            levels.append(ExactLevel(shape=level.shape, steps=tuple(steps), split=split, sign=sign))
            q = kept
        model = replace(self._blank, levels=tuple(levels), prior=self._prior(self._folded.prior))
        return Built(model=model, images=len(x), largest=largest)

    def _step(self, step: FoldedStep, linear: LinearStep, q: np.ndarray, *, where: str) -> tuple[ExactStep, np.ndarray]:
        """Return the step and what it makes of the calibration images."""
        self._spacing *= linear.ratio
        shears = self._shears(linear)
        first, second = self._run.shear(q, shears)
        net = integer_conditioner(
            step.conditioner,
            first,
            spacing=self._spacing,
            sign=linear.sign[len(shears[0].conv.bias) :],
            bits=self._bits,
            narrow=self._narrow,
            convolve=self._convolve,
        )
        added = self._run.conditioner(first, net)
        sign = linear.sign[len(shears[0].conv.bias) :, None, None]
        wanted = run_real(step.conditioner, first * self._spacing, self._convolve) / (sign * self._spacing)
        made = ExactStep(shears=shears, conditioner=centred(net, wanted - added), spacing=self._spacing)
        return made, np.concatenate((first, second + added), axis=1)  # near enough for the ranges that follow

    def _shears(self, linear: LinearStep) -> tuple[Shear, ...]:
        """Round one shear after the other; those that follow make up for what rounding did."""
        bias, found, matrix = linear.bias / self._spacing, linear.shears, product(linear.shears)
        half = len(bias) // 2
        blank = self._blank
        shears: list[Shear] = []
        for number in range(len(found)):
            # The first half is complete before the last shear reads it, its bias included.
            offset = np.zeros(half)
            if number == len(found) - 2:
                offset = bias[:half]
            elif number == len(found) - 1:
                offset = bias[half:] - found[-1] @ bias[:half]
            conv = integer_conv(
                FoldedConv(weight=found[number][:, :, None, None], bias=offset / 2.0**blank.limb_bits),
                scale=np.ones(half),
                largest_weight=2**SHEAR_BITS,
                largest_input=blank.largest_limb,
            )
            shears.append(Shear(lower=is_lower(number), conv=conv))
            rounded = conv.weight[:, :, 0, 0] / np.exp2(conv.shift)[:, None]
            found = (*found[:number], rounded, *found[number + 1 :])
            if number + 1 < len(found):
                found = refine(matrix, found, first=number + 1)
        return tuple(shears)

    def _split(self, level: FoldedLevel, kept: np.ndarray) -> ExactSplit | ExactPrior | None:
        if level.split is None:
            return None
        if isinstance(level.split, FoldedPrior):
            return self._prior(level.split)
        rounding = rounding_of(kept)
        half = kept.shape[1]
        step = self._spacing * 2.0**rounding.shift
        scaled = FoldedConv(weight=level.split.weight * step, bias=level.split.bias, edge=level.split.edge)
        scale = np.concatenate((np.full(half, self._spacing), np.ones(half)))
        conv = integer_conv(scaled, scale=scale, largest_weight=2**SHEAR_BITS, largest_input=rounding.largest)
        return ExactSplit(input=rounding, conv=conv)

    def _prior(self, prior: FoldedPrior) -> ExactPrior:
        return ExactPrior(mean=np.rint(prior.mean / self._spacing).astype(np.int64), log_scale=prior.log_scale)
