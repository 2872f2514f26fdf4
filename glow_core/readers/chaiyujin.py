"""Checkpoints of chaiyujin/glow-pytorch: a dictionary whose `graph` is the model; its hyper-parameters are elsewhere.

Where that code differs from the paper's: 3x3 convolutions pad with zeros; images are p / 255 with Gaussian noise and
nothing taken off; the top prior's convolution sees zeros, so that only its bias counts. Shift and scale of couplings,
mean and log_scale of splits come interleaved; mean and log_scale of the top prior one after the other. Whether actnorms
were set is not saved; loading takes it that they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from glow_core.import_options import ImportOptions

from .layers import ForeignGlow, Level, LowerUpper, Matrix, Net, Norm, ScaledConv, Step, TopPrior
from .numbering import numbered_levels
from .reader import Reader, Tensors

__all__ = ["READER"]

_NET = re.compile(r"flow\.layers\.[0-9]+\.f\.[024]\.")
_OTHERS = re.compile(r"h_top$|flow\.layers\.[0-9]+\.conv2d_zeros\.")  # what corenel/pytorch-glow calls its own
_BITS = 8  # their dequantisation knows no other depth


def _recognise(names: Iterable[str]) -> bool:
    known = tuple(names)
    return any(map(_NET.match, known)) and not any(map(_OTHERS.match, known))


def _read(tensors: Tensors, options: ImportOptions) -> ForeignGlow:
    if not any(".invconv." in name for name in tensors.names):
        raise tensors.refuse(
            "it has no 1x1 convolutions: with flow_permutation shuffle or reverse the order of the channels is not "
            "saved, nor which of the two it was; only invconv models can be read"
        )
    numbered = numbered_levels(tensors)
    channels = tensors.take(f"{numbered[0][0][0]}.actnorm.bias", 1, None, 1, 1).shape[1]
    levels = []
    for steps, split in numbered:
        levels.append(
            Level(
                steps=tuple(_step(tensors, path, channels) for path in steps),
                split=None
                if split is None
                else _conv(tensors, f"{split}.conv", channels // 2, channels).deinterleaved(),
            )
        )
        channels = channels if split is None else 2 * channels
    image_size = _image_size(tensors, options, channels, halvings=len(levels))
    prior = _top_prior(tensors, channels)
    return ForeignGlow(
        image_size=image_size,
        n_bits=options.n_bits or _BITS,
        centred=options.input_range == "centred",
        levels=tuple(levels),
        prior=prior,
        notes=_notes(tensors, options, affine=levels[0].steps[0].net.affine, prior=prior),
    )


def _step(tensors: Tensors, path: str, channels: int) -> Step:
    return Step(
        actnorm=_norm(tensors, f"{path}.actnorm", channels),
        permutation=_permutation(tensors, f"{path}.invconv", channels),
        net=_net(tensors, f"{path}.f", channels),
    )


def _norm(tensors: Tensors, path: str, channels: int) -> Norm:
    return Norm(
        bias=tensors.take(f"{path}.bias", 1, channels, 1, 1).flatten(),
        log_scale=tensors.take(f"{path}.logs", 1, channels, 1, 1).flatten(),
    )


def _permutation(tensors: Tensors, path: str, channels: int) -> LowerUpper | Matrix:
    if f"{path}.l" not in tensors:
        return Matrix(weight=tensors.take(f"{path}.weight", channels, channels))
    if f"{path}.p" not in tensors and f"{path}.sign_s" not in tensors:
        raise tensors.refuse(
            f"{path} has neither p nor sign_s, which early versions of the project drew at random and did not save; "
            "the weights are of no use without them"
        )
    sign = tensors.take(f"{path}.sign_s", channels)
    if not bool((sign.abs() == 1).all()):
        raise tensors.refuse(f"tensor {path}.sign_s holds other signs than -1 and 1; the file is damaged")
    return LowerUpper(
        permutation=tensors.take(f"{path}.p", channels, channels),
        lower=tensors.take(f"{path}.l", channels, channels),
        upper=tensors.take(f"{path}.u", channels, channels),
        sign=sign,
        log_abs_s=tensors.take(f"{path}.log_s", channels),
    )


def _net(tensors: Tensors, path: str, channels: int) -> Net:
    conv1 = tensors.weights(f"{path}.0.weight", None, channels // 2, 3, 3)
    width = conv1.shape[0]
    conv3 = _conv(tensors, f"{path}.4", width, None)
    outputs = len(conv3.bias)
    if outputs not in (channels, channels // 2):
        raise tensors.refuse(
            f"the network {path} has {outputs} outputs for {channels} channels; an affine coupling's has as many as "
            "channels and an additive one's half as many"
        )
    return Net(
        conv1=conv1,
        norm1=_norm(tensors, f"{path}.0.actnorm", width),
        conv2=tensors.weights(f"{path}.2.weight", width, width, 1, 1),
        norm2=_norm(tensors, f"{path}.2.actnorm", width),
        conv3=conv3.deinterleaved() if outputs == channels else conv3,
    )


def _conv(tensors: Tensors, path: str, inputs: int, outputs: int | None) -> ScaledConv:
    weight = tensors.weights(f"{path}.weight", outputs, inputs, 3, 3)
    outputs = weight.shape[0]
    return ScaledConv(
        weight=weight,
        bias=tensors.take(f"{path}.bias", outputs),
        log_scale=tensors.take(f"{path}.logs", outputs, 1, 1).flatten(),
    )


def _image_size(tensors: Tensors, options: ImportOptions, channels: int, *, halvings: int) -> tuple[int, int]:
    """The size of the zeros that the top prior starts from, as many times doubled as the model halves its images."""
    start = tensors.take("prior_h", None, 2 * channels, None, None)  # one for every image of a training batch
    if bool(start.any()):
        raise tensors.refuse("tensor prior_h is not zero, which the project's code does not run with; it is damaged")
    height, width = (side << halvings for side in start.shape[2:])
    given = options.image_size and "{}x{}".format(*options.image_size)
    tensors.settle("the image size", f"{height}x{width}", given, "--image-size")
    return height, width


def _top_prior(tensors: Tensors, channels: int) -> TopPrior:
    both = torch.zeros(2 * channels, dtype=torch.float64)
    if any(name.startswith("learn_top.") for name in tensors.names):
        conv = _conv(tensors, "learn_top", 2 * channels, 2 * channels)  # of zeros, which leave its bias
        both = conv.bias * torch.exp(3 * conv.log_scale)
    mean, log_scale = both.chunk(2)
    return TopPrior(mean=mean, log_scale=log_scale, class_offset=_class_offset(tensors, 2 * channels))


def _class_offset(tensors: Tensors, count: int) -> Tensor | None:
    """What a linear layer makes of each class's one-hot vector, [K,count]."""
    if not any(name.startswith("project_ycond.") for name in tensors.names):
        return None
    weight = tensors.take("project_ycond.weight", count, None)
    bias = tensors.take("project_ycond.bias", count)
    return (weight.T + bias) * torch.exp(3 * tensors.take("project_ycond.logs", count))


def _notes(tensors: Tensors, options: ImportOptions, *, affine: bool, prior: TopPrior) -> tuple[str, ...]:
    bins = 2 ** (options.n_bits or _BITS)
    notes = [f"It was trained on p / 255 with Gaussian noise, unless that was changed; here p is (p + u) / {bins}."]
    if options.n_bits is None:
        notes.append(f"Its pixels are taken to have {_BITS} bits, the only depth the project's code knows.")
    if options.input_range is None:
        notes.append("It is taken to be fed images in [0,1), with nothing taken off, as the project's code does.")
    if options.scale_map is None and affine:
        notes.append("Its couplings are taken to multiply by sigmoid(h + 2), as the project's do.")
    if prior.class_offset is not None:
        notes.append("An image has one class here, even if it was trained with several at once (multi-classes).")
    if tensors.ignore_prefix("project_class."):
        if not any(name.startswith("project_ycond.") for name in tensors.names):
            raise tensors.refuse("it has project_class but no project_ycond, and so is incomplete; give the whole file")
        notes.append("The classifier it was trained with (project_class) is left out: it is no part of the density.")
    return tuple(notes)


_LAYOUT = (
    "flow.layers.#.actnorm.bias",
    "flow.layers.#.actnorm.logs",
    "flow.layers.#.conv.bias",
    "flow.layers.#.conv.logs",
    "flow.layers.#.conv.weight",
    "flow.layers.#.f.#.actnorm.bias",
    "flow.layers.#.f.#.actnorm.logs",
    "flow.layers.#.f.#.bias",
    "flow.layers.#.f.#.logs",
    "flow.layers.#.f.#.weight",
    "flow.layers.#.invconv.l",
    "flow.layers.#.invconv.log_s",
    "flow.layers.#.invconv.p",
    "flow.layers.#.invconv.sign_s",
    "flow.layers.#.invconv.u",
    "flow.layers.#.invconv.weight",
    "learn_top.bias",
    "learn_top.logs",
    "learn_top.weight",
    "prior_h",
)

READER = Reader(project="chaiyujin/glow-pytorch", recognise=_recognise, read=_read, layout=_LAYOUT)
