"""Fold a trained `glow_core.Glow` into plain arrays, in float64."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from glow_core.flows.actnorm import ActNorm
from glow_core.flows.base import Bijection
from glow_core.flows.conditioner import Conditioner, ZeroConv2d
from glow_core.flows.coupling import AdditiveCoupling, AffineCoupling
from glow_core.flows.edge import edge_map
from glow_core.flows.permutation import FixedPermutation, InvertibleConv1x1, InvertibleConv1x1LU
from glow_core.flows.prior import IndependentPrior, TopPrior
from glow_core.model import FlowStep, Glow
from glow_deploy.errors import CheckpointError

from .arrays import FoldedConditioner, FoldedConv, FoldedGlow, FoldedLevel, FoldedPrior, FoldedStep

__all__ = ["fold"]


def fold(glow: Glow) -> FoldedGlow:
    """Fold a model, in float64 on the CPU whatever it is held in.

    Args:
        glow: in any dtype, on any device; not changed.

    Raises:
        CheckpointError: a 1x1 convolution is singular or a folded weight is not finite in float32.
    """
    config = glow.config
    levels = []
    log_det = 0.0
    for index, level in enumerate(glow.flow_levels(), start=1):
        shape = config.level_shapes[index - 1]
        steps = []
        for number, step in enumerate(level.flow_steps(), start=1):
            folded, step_log_det = _fold_step(step, size=shape[1:], where=f"level {index} step {number}")
            if index == 1 and number == 1:
                folded = _centre(folded)
            steps.append(folded)
            log_det += step_log_det * shape[1] * shape[2]
        split = None if level.split is None else _fold_split(level.split.prior, size=shape[1:])
        levels.append(FoldedLevel(shape=shape, steps=tuple(steps), split=split))
    result = FoldedGlow(
        image_shape=(config.channels, *config.image_size),
        n_bits=config.n_bits,
        coupling=config.coupling,
        bounded_scale=config.bounded_scale,
        levels=tuple(levels),
        prior=_fold_prior(glow.prior, size=config.level_shapes[-1][1:]),
        num_classes=config.num_classes,
        log_det=log_det,
    )
    _check_finite(result)
    return result


def _array(tensor: Tensor) -> np.ndarray:
    values: np.ndarray = tensor.detach().to("cpu", torch.float64).numpy()
    return values


def _fold_step(step: FlowStep, *, size: tuple[int, int], where: str) -> tuple[FoldedStep, float]:
    """Fold one step; also return sum(a) + log|det W|, to be multiplied by H*W."""
    bias = _array(step.actnorm.bias).reshape(-1)
    log_scale = _array(step.actnorm.log_scale).reshape(-1)
    weight, inverse, log_det = _fold_permutation(step.permutation, where=where)
    encode = weight * np.exp(log_scale)[None, :]
    decode = np.exp(-log_scale)[:, None] * inverse
    folded = FoldedStep(
        encode=FoldedConv(weight=encode[:, :, None, None], bias=encode @ bias),
        decode=FoldedConv(weight=decode[:, :, None, None], bias=-bias),
        conditioner=_fold_coupling(step.coupling, size=size),
    )
    return folded, float(log_scale.sum()) + log_det


def _fold_permutation(layer: Bijection, *, where: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Return W, its inverse and log|det W|."""
    if isinstance(layer, FixedPermutation):
        weight = np.eye(layer.order.numel())[layer.order.cpu().numpy()]
        return weight, weight.T.copy(), 0.0
    if isinstance(layer, InvertibleConv1x1LU):
        weight, inverse = layer.matrix(dtype=torch.float64), layer.inverse(dtype=torch.float64)
        return _array(weight), _array(inverse), float(_array(layer.log_abs_s).sum())
    if isinstance(layer, InvertibleConv1x1):
        weight = _array(layer.weight)
        sign, log_det = np.linalg.slogdet(weight)
        if sign == 0:
            raise CheckpointError(f"{where}: the 1x1 convolution is singular, so this model has no inverse")
        return weight, np.linalg.inv(weight), float(log_det)
    raise TypeError(f"no folding for {type(layer).__name__}")


def _fold_coupling(coupling: Bijection, *, size: tuple[int, int]) -> FoldedConditioner:
    if isinstance(coupling, AdditiveCoupling):
        last = _fold_zero_conv(coupling.conditioner.conv3, size=size)
        return _fold_conditioner(coupling.conditioner, last=last, size=size)
    if isinstance(coupling, AffineCoupling):
        last = _fold_zero_conv(coupling.conditioner.conv3, size=size)
        last.bias[last.bias.size // 2 :] += 2.0  # sigmoid(h + 2)
        return _fold_conditioner(coupling.conditioner, last=last, size=size)
    raise TypeError(f"no folding for {type(coupling).__name__}")


def _fold_conditioner(conditioner: Conditioner, *, last: FoldedConv, size: tuple[int, int]) -> FoldedConditioner:
    edge = _edge_table(conditioner.edge1, size=size)
    return FoldedConditioner(
        conv1=_single(_fold_norm(_array(conditioner.conv1.weight), conditioner.norm1, edge=edge)),
        conv2=_single(_fold_norm(_array(conditioner.conv2.weight), conditioner.norm2)),
        conv3=_single(last),
    )


def _single(conv: FoldedConv) -> FoldedConv:
    # Overflow becomes infinity here and is reported with its place by _check_finite.
    with np.errstate(over="ignore"):
        return FoldedConv(
            weight=conv.weight.astype(np.float32),
            bias=conv.bias.astype(np.float32),
            edge=None if conv.edge is None else conv.edge.astype(np.float32),
        )


def _edge_table(edge: Tensor | None, *, size: tuple[int, int]) -> np.ndarray | None:
    """Return the border table of a `FoldedConv` on images of size (H, W); None where nothing is added anywhere."""
    if edge is None:
        return None
    # The smallest image with a first, an inner and a last row shows every row of a larger one.
    table = _edge_map(edge, size=(min(size[0], 3), min(size[1], 3)))
    return table if table.any() else None


def _edge_map(edge: Tensor, *, size: tuple[int, int]) -> np.ndarray:
    return _array(edge_map(edge.detach().to("cpu", torch.float64), *size)[0])


def _fold_norm(weight: np.ndarray, norm: ActNorm, *, edge: np.ndarray | None = None) -> FoldedConv:
    scale = np.exp(_array(norm.log_scale).reshape(-1))
    return FoldedConv(
        weight=weight * scale[:, None, None, None],
        bias=scale * _array(norm.bias).reshape(-1),
        edge=None if edge is None else edge * scale[:, None, None],
    )


def _fold_zero_conv(conv: ZeroConv2d, *, size: tuple[int, int]) -> FoldedConv:
    scale = np.exp(3 * _array(conv.log_scale))
    edge = _edge_table(conv.edge, size=size)
    return FoldedConv(
        weight=_array(conv.weight) * scale[:, None, None, None],
        bias=_array(conv.bias) * scale,
        edge=None if edge is None else edge * scale[:, None, None],
    )


def _fold_split(prior: ZeroConv2d | IndependentPrior, *, size: tuple[int, int]) -> FoldedConv | FoldedPrior:
    return _fold_zero_conv(prior, size=size) if isinstance(prior, ZeroConv2d) else _fold_prior(prior, size=size)


def _fold_prior(prior: TopPrior | IndependentPrior, *, size: tuple[int, int]) -> FoldedPrior:
    if isinstance(prior, IndependentPrior):
        return FoldedPrior(mean=_array(prior.mean).copy(), log_scale=_array(prior.log_scale).copy())
    parameters = np.concatenate((_array(prior.mean), _array(prior.log_scale)))[None, :, None, None]
    if prior.class_offset is not None:
        parameters = parameters + _array(prior.class_offset)[:, :, None, None]
    if prior.edge is not None and _edge_table(prior.edge, size=size) is not None:
        parameters = parameters + _edge_map(prior.edge, size=size)
    mean, log_scale = np.split(parameters, 2, axis=1)
    return FoldedPrior(mean=mean, log_scale=log_scale)


def _centre(step: FoldedStep) -> FoldedStep:
    """Move the model's x - 0.5 into the first step and its inverse into that step's decode."""
    encode, decode = step.encode, step.decode
    shift = 0.5 * encode.weight.sum(axis=(1, 2, 3))
    return FoldedStep(
        encode=FoldedConv(weight=encode.weight, bias=encode.bias - shift),
        decode=FoldedConv(weight=decode.weight, bias=decode.bias + 0.5),
        conditioner=step.conditioner,
    )


def _check_finite(folded: FoldedGlow) -> None:
    limit = float(np.finfo(np.float32).max)
    for name, array in folded.named_arrays():
        # min and max carry NaN along, and need no temporary array
        if not (array.min() >= -limit and array.max() <= limit):
            raise CheckpointError(
                f"folding {name} gives values that float32 cannot hold: the model's scales have run away, "
                "or a 1x1 convolution is close to singular; train it further with a lower learning rate"
            )
