"""Penalties that keep a trained Glow deployable: on the gain of its inverse, and on the condition of its 1x1s."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from glow_core.config import GlowConfig
from glow_core.flows import InvertibleConv1x1, InvertibleConv1x1LU
from glow_core.model import FlowStep, Glow, Level

from .sampler import generator_for
from .settings import InversePenaltyAt, TrainSettings

__all__ = [
    "EPSILON",
    "PenaltyTerms",
    "add_limited_gradient",
    "conditioning_penalty",
    "draw_directions",
    "inverse_gains",
    "log_singular_values",
    "penalty_terms",
]

EPSILON = 0.1
"""Size of the disturbance whose growth is measured, relative to what it disturbs; see `inverse_gains`."""

# A decode this far off, in units of x, says nothing of small errors any more; the disturbance is then made smaller.
_LARGEST_MOVE, _SHRINK, _TRIES = 1.0, 0.1, 4


@dataclass(frozen=True, kw_only=True)
class PenaltyTerms:
    """The penalties of one optimizer step.

    Attributes:
        objective: what is added to this process's loss, weights included, in bits/dim; a scalar, for
            `add_limited_gradient`. None where nothing is on or due.
        measured: of those that are, without weight and gradient: `inverse_penalty`, the mean log2 gain (this process's
            part: the mean over processes is that over images), and `conditioning_penalty`.
    """

    objective: Tensor | None
    measured: Mapping[str, Tensor]


def penalty_terms(
    model: Glow,
    x: Tensor,
    y: Tensor | None,
    *,
    settings: TrainSettings,
    step: int,
    rank: int = 0,
    world_size: int = 1,
    checkpointed: bool = False,
) -> PenaltyTerms:
    """Return what the penalties add to the loss of an optimizer step.

    Args:
        model: initialised; the plain module, not a distributed wrapper.
        x: the batch of all processes together, [N,C,H,W].
        y: its class labels [N] int64, for class-conditional models only.
        settings: weights, interval and number of images.
        step: counted from 1. The directions are a function of the seed and the step.
        rank: of this process, which takes every `world_size`-th of the images.
        world_size: number of processes; their gradients are averaged afterwards.
        checkpointed: keep the inputs of steps of flow alone for the backward pass, and run the steps again there.
    """
    parts: list[Tensor] = []
    measured: dict[str, Tensor] = {}
    if settings.inverse_penalty > 0 and step % settings.inverse_penalty_every == 0:
        count = min(settings.inverse_penalty_images, len(x))
        generator = generator_for(settings.seed, "inverse penalty", step)
        directions = draw_directions(model.config, count, at=settings.inverse_penalty_at, generator=generator)
        mine = slice(rank, count, world_size)
        # A sum over this process's images, if it has any, so that the mean over processes is the mean over all images.
        term = x.new_zeros(())
        if rank < count:
            gains = _local_gains(
                model,
                x[mine],
                None if y is None else y[mine],
                directions=[direction[mine].to(x) for direction in directions],
                at=settings.inverse_penalty_at,
                checkpointed=checkpointed,
            )
            term = torch.log2(gains).sum() * (world_size / count)
        # Counted `every` times, so that the weight means the same for every interval.
        parts.append(settings.inverse_penalty * settings.inverse_penalty_every * term)
        measured["inverse_penalty"] = term.detach()
    if settings.conditioning_penalty > 0:
        term = conditioning_penalty(model).to(x.dtype)
        parts.append(settings.conditioning_penalty * term)
        measured["conditioning_penalty"] = term.detach()
    objective = sum(parts[1:], start=parts[0]) if parts else None
    return PenaltyTerms(objective=objective, measured=measured)


def add_limited_gradient(
    objective: Tensor, parameters: Sequence[nn.Parameter], *, average: Callable[[Tensor], Tensor] = lambda value: value
) -> None:
    """Add the gradient of the penalties to that of the likelihood, scaled down where it is the larger of the two.

    The gradient of a decode that nearly overflows can be thousands of times the likelihood's. One such step, clipped
    together with it or remembered by the optimizer's moments, would hold up training for hundreds of others.

    Args:
        objective: of `penalty_terms`.
        parameters: of the model, holding the likelihood's gradient, averaged over the processes.
        average: the mean over the processes of a vector.
    """
    gradients = [torch.zeros_like(parameter) for parameter in parameters]
    if objective.requires_grad:  # not so in a process without images
        gradients = list(torch.autograd.grad(objective, parameters, allow_unused=True, materialize_grads=True))
    added = average(torch.cat([gradient.flatten() for gradient in gradients]))
    likelihood = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(p.grad) for p in parameters if p.grad is not None])
    )
    added = added * (likelihood / torch.linalg.vector_norm(added)).clamp(max=1)
    for parameter, part in zip(parameters, added.split([p.numel() for p in parameters]), strict=True):
        assert parameter.grad is not None
        parameter.grad.add_(part.view(parameter.shape))


def draw_directions(
    config: GlowConfig, count: int, *, at: InversePenaltyAt, generator: torch.Generator
) -> list[Tensor]:
    """Return entries of +-1 (Rademacher), float32 on the CPU, in the form that `inverse_gains` takes.

    Args:
        config: of the model.
        count: number of images.
        at: `latents`: one tensor [count,C,H,W] per latent, z1 first; `steps`: one per step of flow, in encoding order.
        generator: on the CPU.
    """
    shapes: Sequence[tuple[int, int, int]] = config.latent_shapes
    if at == "steps":
        shapes = [shape for shape in config.level_shapes for _ in range(config.steps)]
    return [
        torch.randint(0, 2, (count, *shape), generator=generator, device="cpu").to(torch.float32).mul_(2).sub_(1)
        for shape in shapes
    ]


def inverse_gains(
    model: Glow,
    x: Tensor,
    y: Tensor | None = None,
    *,
    directions: Sequence[Tensor],
    at: InversePenaltyAt,
    epsilon: float | Tensor = EPSILON,
    checkpointed: bool = False,
) -> Tensor:
    """Return per image how much the inverse magnifies a small disturbance, by finite differences; differentiable.

    `latents`: ||f^-1(z + epsilon v) - f^-1(z)|| / (epsilon ||v||) with z = f(x), the regularizer of Behrmann et al.
    2021 (arXiv:2006.09347, section 4.1) for the inverse. Its mean square over directions is the mean square of the
    singular values of the inverse's Jacobian. `steps`: every step's output h_k is disturbed while it is decoded, by
    epsilon * rms(h_k) * v_k with independent v_k, as rounding does. The squares then add up to the mean square
    Gamma^2 = sum over k of (gain of decoding from step k * rms of h_k)^2, to which round-trip errors are proportional.

    f^-1(z) is the image itself, so one decode is enough. An epsilon of 0.1, that of the paper's code too, was chosen
    by measurement on two trained models. The value changes by less than 0.1 doublings between 0.001 and 0.1, and by up
    to 1.1 more at 0.3. The gradient's noise from batch to batch falls with the root of epsilon, being 8 to 15 times
    larger at 0.001: each ReLU that the disturbance switches adds a jump divided by epsilon. Rounding to float32 matters
    at 0.00001 only.

    Args:
        model: initialised.
        x: images [N,C,H,W] in [0,1).
        y: class labels [N] int64, for class-conditional models only.
        directions: from `draw_directions`, of the dtype and on the device of x.
        at: where the disturbance enters.
        epsilon: its size, relative to the standard normal latents or to the rms of a step's output; one number, or one
            for each image [N].
        checkpointed: as for `penalty_terms`.

    Returns:
        [N], in units of x per unit of relative disturbance; non-finite where the decode is.
    """
    size = torch.as_tensor(epsilon, dtype=x.dtype, device=x.device).expand(len(x))
    disturbances = [size[:, None, None, None] * direction for direction in directions]
    z, _ = model.encode(x, y, through=_checkpointed_steps if checkpointed else None)
    if at == "latents":
        z = [part + disturbance for part, disturbance in zip(z, disturbances, strict=True)]
        decoded = _decode(model, z, y, checkpointed=True) if checkpointed else model.decode(z, y)
    else:
        decoded = _decode(model, z, y, disturbances=disturbances, checkpointed=checkpointed)
    return (decoded - x).square().mean(dim=(1, 2, 3)).sqrt() / size


def _local_gains(
    model: Glow,
    x: Tensor,
    y: Tensor | None,
    *,
    directions: Sequence[Tensor],
    at: InversePenaltyAt,
    checkpointed: bool,
) -> Tensor:
    """`inverse_gains`, with a smaller disturbance for those images whose decode leaves the picture or overflows.

    They are the ones that need the penalty most, and turn up with unbounded scales early in training.
    """
    epsilon = torch.full((len(x),), EPSILON, dtype=x.dtype, device=x.device)
    for _ in range(_TRIES):
        gains = inverse_gains(model, x, y, directions=directions, at=at, epsilon=epsilon, checkpointed=checkpointed)
        local = gains.detach() * epsilon < _LARGEST_MOVE  # false for NaN too
        if bool(local.all()):
            break
        epsilon = torch.where(local, epsilon, epsilon * _SHRINK)
    return gains


def _checkpointed_steps(level: Level, h: Tensor) -> tuple[Tensor, Tensor]:
    """The steps of a level, run again in the backward pass; for `Glow.encode`."""
    total = h.new_zeros(h.shape[0])
    for step in level.flow_steps():
        h, log_det = checkpoint(step.encode, h, use_reentrant=False, preserve_rng_state=False)
        total = total + log_det
    return h, total


def _decode(
    model: Glow, z: Sequence[Tensor], y: Tensor | None, *, disturbances: Sequence[Tensor] = (), checkpointed: bool
) -> Tensor:
    """`Glow.decode`, with every step's output disturbed before it is inverted where disturbances are given."""
    remaining = list(disturbances)
    h = model.prior.decode(z[-1], y)
    for index, level in reversed(list(enumerate(model.flow_levels()))):
        if level.split is not None:
            h = level.split.decode(h, z[index], y)
        for step in reversed(level.flow_steps()):
            if remaining:
                # The rms keeps its gradient: else the penalty would fall where a step merely enlarges what it gives on.
                rms = h.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
                h = h + rms * remaining.pop()
            if checkpointed:
                h = checkpoint(step.decode, h, use_reentrant=False, preserve_rng_state=False)
            else:
                h = step.decode(h)
        h = level.squeeze.decode(h)
    return h + 0.5


def conditioning_penalty(model: Glow) -> Tensor:
    """Return the mean over steps of flow of sum_i (log2 sigma_i - mean log2 sigma)^2; differentiable, float64 scalar.

    sigma are the singular values of the matrix as it is deployed, W diag(e^a): 1x1 convolution and actnorm in one.
    A scale leaves the sum as it is, so the determinant is free; it is 0 for multiples of orthogonal matrices alone,
    and bounds the condition number: kappa_2 <= 2^sqrt(2 * sum). Unit: squared doublings.
    """
    sums = []
    for level in model.flow_levels():
        logs = log_singular_values(level.flow_steps()) / math.log(2)
        sums.append((logs - logs.mean(dim=1, keepdim=True)).square().sum(dim=1))
    return torch.cat(sums).mean()


def log_singular_values(steps: Sequence[FlowStep]) -> Tensor:
    """Return the natural logs of the singular values of W diag(e^a), float64 [K,C], of K steps of one level.

    A fixed permutation is orthogonal and leaves the actnorm's a. Others are found as eigenvalues of A^T A in float64,
    whose gradient exists for equal ones too; condition numbers up to 1e7 are told apart.
    """
    scales = torch.stack([step.actnorm.log_scale.flatten() for step in steps]).double()
    matrices = [
        step.permutation.matrix()
        for step in steps
        if isinstance(step.permutation, (InvertibleConv1x1, InvertibleConv1x1LU))
    ]
    if not matrices:
        return scales
    deployed = torch.stack(matrices).double() * torch.exp(scales)[:, None, :]
    return 0.5 * torch.log(torch.linalg.eigvalsh(deployed.mT @ deployed))
