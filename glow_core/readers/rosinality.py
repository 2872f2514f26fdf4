"""Checkpoints of rosinality/glow-pytorch: a bare state dictionary, which says nothing of the images.

Where that code differs from the paper's: actnorm multiplies by a scale of either sign; conditioners have biases and no
hidden actnorm, and give the scale before the shift; their last convolution and those of the priors pad with ones; the
last level's 1x1 convolutions are factored whatever the others are; images are fed minus 0.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from glow_core.import_options import ImportOptions

from .layers import ForeignGlow, Level, LowerUpper, Matrix, Net, Norm, ScaledConv, Step, TopPrior
from .numbering import level_counts
from .reader import Reader, Tensors

__all__ = ["READER"]

# No more digits than a count can have: an absurd one is a tensor without a place.
_STEP = re.compile(r"blocks\.([0-9]{1,4})\.flows\.([0-9]{1,4})\.")

_SIZE = "--image-size HxW"
_DEPTH = "--n-bits N (5 unless their train.py was told otherwise)"


def _recognise(names: Iterable[str]) -> bool:
    return any(_STEP.match(name) and name.endswith(".actnorm.loc") for name in names)


def _read(tensors: Tensors, options: ImportOptions) -> ForeignGlow:
    steps = _steps(tensors)
    channels = tensors.take("blocks.0.flows.0.actnorm.loc", 1, None, 1, 1).shape[1]
    levels = []
    for index, count in enumerate(steps):
        path = f"blocks.{index}"
        flows = tuple(_step(tensors, f"{path}.flows.{number}", channels) for number in range(count))
        last = index == len(steps) - 1
        split = None if last else _ones_padded(tensors, f"{path}.prior", channels // 2, channels)
        levels.append(Level(steps=flows, split=split))
        channels = channels if last else 2 * channels
    top = _ones_padded(tensors, f"blocks.{len(steps) - 1}.prior", channels, 2 * channels)
    image_size, n_bits = _told(tensors, options, halvings=len(steps))
    return ForeignGlow(
        image_size=image_size,
        n_bits=n_bits,
        centred=options.input_range != "unit",
        levels=tuple(levels),
        prior=_top_prior(top),
        notes=_notes(tensors, options, first=levels[0].steps[0]),
    )


def _steps(tensors: Tensors) -> list[int]:
    """How many steps of flow each level has, by the highest numbers in the names; a gap shows as a missing tensor."""
    numbers = [(int(found[1]), int(found[2])) for found in map(_STEP.match, tensors.names) if found]
    return [max(count, 1) for count in level_counts(numbers)]


def _told(tensors: Tensors, options: ImportOptions, *, halvings: int) -> tuple[tuple[int, int], int]:
    """The image size and pixel depth, neither of which is in the file."""
    size, n_bits = options.image_size, options.n_bits
    if size is None and n_bits is None:
        raise tensors.ask(f"{_SIZE} and {_DEPTH}", "the size of its images and the depth of its pixels")
    if size is None:
        raise tensors.ask(_SIZE, "the size of its images")
    if n_bits is None:
        raise tensors.ask(_DEPTH, "the depth of its pixels")
    tensors.check_size(size, halvings=halvings)
    return size, n_bits


def _step(tensors: Tensors, path: str, channels: int) -> Step:
    scale = tensors.take(f"{path}.actnorm.scale", 1, channels, 1, 1).flatten()
    if bool((scale == 0).any()):
        raise tensors.refuse(
            f"tensor {path}.actnorm.scale holds 0, which nothing can undo; give a checkpoint from before that happened"
        )
    if f"{path}.actnorm.initialized" in tensors and not bool(tensors.take(f"{path}.actnorm.initialized")):
        raise tensors.refuse(
            f"{path}.actnorm has never seen an image and would be set by the first one; give a trained checkpoint"
        )
    bias = tensors.take(f"{path}.actnorm.loc", 1, channels, 1, 1).flatten()
    return Step(
        actnorm=Norm(bias=bias, log_scale=scale.abs().log()),
        # exp(log_scale) cannot be negative: the sign moves on to what multiplies the same channel next.
        permutation=_permutation(tensors, f"{path}.invconv", channels).with_input_signs(scale.sign()),
        net=_net(tensors, f"{path}.coupling.net", channels),
    )


def _permutation(tensors: Tensors, path: str, channels: int) -> LowerUpper | Matrix:
    if f"{path}.weight" in tensors:
        return Matrix(weight=tensors.take(f"{path}.weight", channels, channels, 1, 1)[:, :, 0, 0])
    tensors.ignore(f"{path}.l_mask", f"{path}.u_mask", f"{path}.l_eye")  # of ones and zeros, the same in every file
    sign = tensors.take(f"{path}.s_sign", channels)
    if not bool((sign.abs() == 1).all()):
        raise tensors.refuse(f"tensor {path}.s_sign holds other signs than -1 and 1; the file is damaged")
    return LowerUpper(
        permutation=tensors.take(f"{path}.w_p", channels, channels),
        lower=tensors.take(f"{path}.w_l", channels, channels),
        upper=tensors.take(f"{path}.w_u", channels, channels),
        sign=sign,
        log_abs_s=tensors.take(f"{path}.w_s", channels),
    )


def _net(tensors: Tensors, path: str, channels: int) -> Net:
    conv1 = tensors.weights(f"{path}.0.weight", None, channels // 2, 3, 3)
    width = conv1.shape[0]
    conv3 = _ones_padded(tensors, f"{path}.4", width, None)
    outputs = len(conv3.bias)
    if outputs not in (channels, channels // 2):
        raise tensors.refuse(
            f"the network {path} has {outputs} outputs for {channels} channels; an affine coupling's has as many as "
            "channels and an additive one's half as many"
        )
    return Net(
        conv1=conv1,
        norm1=Norm.identity_but_bias(tensors.take(f"{path}.0.bias", width)),
        conv2=tensors.weights(f"{path}.2.weight", width, width, 1, 1),
        norm2=Norm.identity_but_bias(tensors.take(f"{path}.2.bias", width)),
        conv3=conv3.swapped() if outputs == channels else conv3,
    )


def _ones_padded(tensors: Tensors, path: str, inputs: int, outputs: int | None) -> ScaledConv:
    """A convolution that pads all its inputs with 1, as one of zero padding and the sums of its weights at the edge."""
    weight = tensors.weights(f"{path}.conv.weight", outputs, inputs, 3, 3)
    outputs = weight.shape[0]
    return ScaledConv(
        weight=weight,
        bias=tensors.take(f"{path}.conv.bias", outputs),
        log_scale=tensors.take(f"{path}.scale", 1, outputs, 1, 1).flatten(),
        edge=weight.sum(dim=1, dtype=torch.float64),
    )


def _top_prior(conv: ScaledConv) -> TopPrior:
    """What the convolution makes of zeros: its bias, and near the border what it makes of the padding."""
    factor = torch.exp(3 * conv.log_scale)
    mean, log_scale = (conv.bias * factor).chunk(2)
    edge: Tensor | None = None if conv.edge is None else conv.edge * factor[:, None, None]
    return TopPrior(mean=mean, log_scale=log_scale, edge=edge)


def _notes(tensors: Tensors, options: ImportOptions, *, first: Step) -> tuple[str, ...]:
    notes = []
    if options.input_range is None:
        notes.append("It is taken to be fed images minus 0.5, as the project's train.py does.")
    if options.scale_map is None and first.net.affine:
        notes.append("Its couplings are taken to multiply by sigmoid(log_s + 2), as the project's do.")
    if not any(name.endswith(".actnorm.initialized") for name in tensors.names):
        notes.append("Its actnorms have no flag that they were set, as before May 2019, and are taken to be.")
    return tuple(notes)


_LAYOUT = (
    "blocks.#.flows.#.actnorm.initialized",
    "blocks.#.flows.#.actnorm.loc",
    "blocks.#.flows.#.actnorm.scale",
    "blocks.#.flows.#.coupling.net.#.bias",
    "blocks.#.flows.#.coupling.net.#.conv.bias",
    "blocks.#.flows.#.coupling.net.#.conv.weight",
    "blocks.#.flows.#.coupling.net.#.scale",
    "blocks.#.flows.#.coupling.net.#.weight",
    "blocks.#.flows.#.invconv.l_eye",
    "blocks.#.flows.#.invconv.l_mask",
    "blocks.#.flows.#.invconv.s_sign",
    "blocks.#.flows.#.invconv.u_mask",
    "blocks.#.flows.#.invconv.w_l",
    "blocks.#.flows.#.invconv.w_p",
    "blocks.#.flows.#.invconv.w_s",
    "blocks.#.flows.#.invconv.w_u",
    "blocks.#.flows.#.invconv.weight",
    "blocks.#.prior.conv.bias",
    "blocks.#.prior.conv.weight",
    "blocks.#.prior.scale",
)

READER = Reader(project="rosinality/glow-pytorch", recognise=_recognise, read=_read, layout=_LAYOUT)
