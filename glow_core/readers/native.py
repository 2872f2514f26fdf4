"""From the layers of another project's Glow to this package's own model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from glow_core.checkpoint import Checkpoint, Origin
from glow_core.config import GlowConfig
from glow_core.errors import CheckpointError, ConfigError
from glow_core.import_options import ImportOptions
from glow_core.state import check_state, reference_state

from .layers import ForeignGlow, IndependentPrior, LowerUpper, Matrix, Net, Norm, Order, ScaledConv, Step, TopPrior

__all__ = ["to_checkpoint"]


def to_checkpoint(glow: ForeignGlow, *, path: Path, project: str, options: ImportOptions) -> Checkpoint:
    """Write a model's layers as the state dictionary of a `Glow`, float32.

    Args:
        glow: the layers.
        path: names the file in messages.
        project: whose they are.
        options: what was told to read them.

    Raises:
        CheckpointError: the layers do not fit together, or hold values that float32 cannot.
    """
    glow = _plain_where_mixed(glow if glow.centred else _centred(glow))
    try:
        config = _config(glow)
        state = {name: _stored(tensor) for name, tensor in _named(glow, config)}
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
    model = check_state(path, state, reference_state(path, config, state), part=f"{project} model")
    return Checkpoint(
        config=config,
        model=model,
        origin=Origin(project=project, options=options.to_dict(), notes=glow.notes),
    )


def _steps(glow: ForeignGlow) -> Iterator[Step]:
    for level in glow.levels:
        yield from level.steps


def _plain_where_mixed(glow: ForeignGlow) -> ForeignGlow:
    """Assemble every 1x1 convolution where they are of different kinds: a `Glow` has one kind throughout."""
    if len({type(step.permutation) for step in _steps(glow)}) <= 1:
        return glow
    levels = tuple(
        replace(
            level,
            steps=tuple(replace(step, permutation=Matrix(weight=step.permutation.matrix())) for step in level.steps),
        )
        for level in glow.levels
    )
    return replace(glow, levels=levels)


def _config(glow: ForeignGlow) -> GlowConfig:
    steps = list(_steps(glow))
    first = steps[0].net
    halves = 2 * first.conv1.shape[1]
    channels, rest = divmod(halves, 4)
    if rest or not channels:
        raise ConfigError(f"its first 1x1 convolution has {halves} channels, which no squeezed image has")
    kinds: dict[type, Literal["lu", "plain", "shuffle"]] = {LowerUpper: "lu", Matrix: "plain", Order: "shuffle"}
    independent = isinstance(glow.prior, IndependentPrior)
    classes = glow.prior.mean.shape[0] if isinstance(glow.prior, IndependentPrior) else None
    if isinstance(glow.prior, TopPrior) and glow.prior.class_offset is not None:
        classes = glow.prior.class_offset.shape[0]
    counts = {len(level.steps) for level in glow.levels}
    if len(counts) != 1:
        raise ConfigError(f"its levels have {sorted(counts)} steps of flow; this package's Glow has as many in each")
    widths = {step.net.conv1.shape[0] for step in steps}
    if len(widths) != 1:
        raise ConfigError(f"its conditioners have {sorted(widths)} hidden channels; this package's Glow has one width")
    if len({step.net.affine for step in steps}) != 1:
        raise ConfigError("some of its couplings are affine and some additive; this package's Glow has one kind")
    return GlowConfig(
        image_size=glow.image_size,
        channels=channels,
        levels=len(glow.levels),
        steps=counts.pop(),
        width=first.conv1.shape[0],
        coupling="affine" if first.affine else "additive",
        permutation=kinds[type(steps[0].permutation)],
        bounded_scale=False,
        n_bits=glow.n_bits,
        num_classes=None if independent and classes == 1 else classes,
        edge_bias=any(_has_edge(step.net) for step in steps) or _prior_has_edge(glow),
        prior="independent" if independent else "conditional",
    )


def _has_edge(net: Net) -> bool:
    return net.edge1 is not None or net.conv3.edge is not None


def _prior_has_edge(glow: ForeignGlow) -> bool:
    splits = any(isinstance(level.split, ScaledConv) and level.split.edge is not None for level in glow.levels)
    return splits or (isinstance(glow.prior, TopPrior) and glow.prior.edge is not None)


def _centred(glow: ForeignGlow) -> ForeignGlow:
    """A `Glow` takes 0.5 off its images; a model that does not gets it back in its first actnorm."""
    first = glow.levels[0].steps[0]
    moved = replace(first, actnorm=replace(first.actnorm, bias=first.actnorm.bias + 0.5))
    level = replace(glow.levels[0], steps=(moved, *glow.levels[0].steps[1:]))
    return replace(glow, levels=(level, *glow.levels[1:]))


def _named(glow: ForeignGlow, config: GlowConfig) -> Iterator[tuple[str, Tensor]]:
    edges = config.edge_bias
    for index, level in enumerate(glow.levels):
        shape = config.level_shapes[index]
        for number, step in enumerate(level.steps):
            path = f"levels.{index}.steps.{number}"
            yield from _named_norm(f"{path}.actnorm", step.actnorm)
            yield from _named_permutation(f"{path}.permutation", step.permutation)
            yield from _named_net(f"{path}.coupling.conditioner", step.net, edges=edges)
        if isinstance(level.split, ScaledConv):
            yield from _named_conv(f"levels.{index}.split.prior", level.split, edges=edges)
        elif level.split is not None:
            half = (shape[0] // 2, *shape[1:])
            yield from _named_prior(f"levels.{index}.split.prior", level.split, half, config.num_classes)
    top = glow.prior
    if isinstance(top, IndependentPrior):
        yield from _named_prior("prior", top, config.level_shapes[-1], config.num_classes)
        return
    yield "prior.mean", top.mean
    yield "prior.log_scale", top.log_scale
    if top.class_offset is not None:
        yield "prior.class_offset", top.class_offset
    if edges:
        yield "prior.edge", _edge(top.edge, 2 * len(top.mean))


def _named_norm(path: str, norm: Norm) -> Iterator[tuple[str, Tensor]]:
    yield f"{path}.bias", norm.bias.reshape(1, -1, 1, 1)
    yield f"{path}.log_scale", norm.log_scale.reshape(1, -1, 1, 1)
    yield f"{path}.initialized", torch.tensor(1, dtype=torch.uint8)


def _named_permutation(path: str, layer: LowerUpper | Matrix | Order) -> Iterator[tuple[str, Tensor]]:
    if isinstance(layer, LowerUpper):
        yield f"{path}.permutation", layer.permutation
        yield f"{path}.sign", layer.sign
        yield f"{path}.lower", layer.lower.tril(-1)
        yield f"{path}.upper", layer.upper.triu(1)
        yield f"{path}.log_abs_s", layer.log_abs_s
    elif isinstance(layer, Matrix):
        yield f"{path}.weight", layer.weight
    else:
        yield f"{path}.order", layer.order


def _named_net(path: str, net: Net, *, edges: bool) -> Iterator[tuple[str, Tensor]]:
    yield f"{path}.conv1.weight", net.conv1
    if edges:
        yield f"{path}.edge1", _edge(net.edge1, net.conv1.shape[0])
    yield from _named_norm(f"{path}.norm1", net.norm1)
    yield f"{path}.conv2.weight", net.conv2
    yield from _named_norm(f"{path}.norm2", net.norm2)
    yield from _named_conv(f"{path}.conv3", net.conv3, edges=edges)


def _named_conv(path: str, conv: ScaledConv, *, edges: bool) -> Iterator[tuple[str, Tensor]]:
    yield f"{path}.weight", conv.weight
    yield f"{path}.bias", conv.bias
    yield f"{path}.log_scale", conv.log_scale
    if edges:
        yield f"{path}.edge", _edge(conv.edge, len(conv.bias))


def _named_prior(
    path: str, prior: IndependentPrior, shape: Sequence[int], classes: int | None
) -> Iterator[tuple[str, Tensor]]:
    # One channel's value at every position, and for every class, where the source has no more than that.
    full = (classes or 1, *shape)
    try:
        yield f"{path}.mean", prior.mean.expand(full)
        yield f"{path}.log_scale", prior.log_scale.expand(full)
    except RuntimeError:
        found = tuple(prior.mean.shape)
        raise ConfigError(f"the prior {path} has shape {found}; an image of this size needs {full}") from None


def _edge(edge: Tensor | None, count: int) -> Tensor:
    return torch.zeros(count, 3, 3) if edge is None else edge


def _stored(tensor: Tensor) -> Tensor:
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
