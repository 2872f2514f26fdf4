"""Checkpoints of normflows: a bare state dictionary of a MultiscaleFlow of GlowBlocks.

Where that code differs from the paper's: all is written in sampling direction, so that levels and the blocks in them
are numbered from the latents and actnorm is inverted; couplings subtract their shift; every latent has a distribution
of its own, which may depend on a class, and no split has a convolution. The scale map of affine couplings and the
transform that images go through first leave no trace in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from glow_core.import_options import ImportOptions

from .layers import ForeignGlow, IndependentPrior, Level, LowerUpper, Matrix, Net, Norm, ScaledConv, Step
from .numbering import level_counts
from .reader import Reader, Tensors

__all__ = ["READER"]

# No more digits than a count can have: an absurd one is a tensor without a place.
_BLOCK = re.compile(r"flows\.([0-9]{1,4})\.([0-9]{1,4})\.flows\.0\.flows\.1\.param_map\.net\.")
_FLAG = "data_dep_init_done"


def _recognise(names: Iterable[str]) -> bool:
    listed = list(names)
    return any(name.startswith("q0.0.") for name in listed) and any(map(_BLOCK.match, listed))


def _read(tensors: Tensors, options: ImportOptions) -> ForeignGlow:
    blocks = _blocks(tensors)
    count = len(blocks)
    channels = _channels(tensors, blocks)
    levels = []
    priors = []
    sizes = set()
    for index in reversed(range(count)):  # their last level is the finest, their last block the first in encoding
        path = f"flows.{index}"
        steps = tuple(_step(tensors, f"{path}.{number}", channels) for number in reversed(range(blocks[index])))
        prior, size = _base(tensors, f"q0.{index}", channels if index == 0 else channels // 2)
        if size is not None:
            halvings = count - index
            sizes.add((size[0] << halvings, size[1] << halvings))
        levels.append(Level(steps=steps, split=prior if index > 0 else None))
        priors.append(prior)
        channels *= 2
    affine = levels[0].steps[0].net.affine
    image_size, n_bits, centred = _told(tensors, options, sizes, affine=affine)
    tensors.check_size(image_size, halvings=count)
    return ForeignGlow(
        image_size=image_size,
        n_bits=n_bits,
        centred=centred,
        levels=tuple(levels),
        prior=_of_all_classes(tensors, priors),
        notes=_notes(tensors),
    )


def _blocks(tensors: Tensors) -> list[int]:
    """How many GlowBlocks each level has, by the highest numbers in the names; a gap shows as a missing tensor."""
    numbers = {(int(found[1]), int(found[2])) for found in map(_BLOCK.match, tensors.names) if found}
    counts = level_counts(numbers)
    for level in range(len(counts)):
        if (level, 0) not in numbers:
            raise tensors.refuse(
                f"the flows of level {level} do not begin with a GlowBlock; read are levels of GlowBlocks and, last "
                "of the level, a Squeeze"
            )
    return counts


def _channels(tensors: Tensors, blocks: list[int]) -> int:
    """How many channels the finest level has."""
    path = f"flows.{len(blocks) - 1}.0.flows"
    # A GlowBlock of one channel has no 1x1 convolution between its coupling and its actnorm.
    channels = tensors.shape(f"{path}.1.s" if f"{path}.1.s" in tensors else f"{path}.2.s")[1:2]
    if not channels or channels[0] == 0 or channels[0] % 4:
        raise tensors.refuse(
            f"its finest level has {channels[0] if channels else 'no'} channels, where a squeezed image has a multiple "
            "of 4; a GlowBlock before the first Squeeze, or of an odd number of channels, cannot be expressed"
        )
    return channels[0]


def _step(tensors: Tensors, path: str, channels: int) -> Step:
    scale, shift = _actnorm(tensors, f"{path}.flows.2", channels)
    return Step(
        actnorm=Norm(bias=-shift, log_scale=-scale),  # encoding undoes exp(s) * x + t
        permutation=_permutation(tensors, f"{path}.flows.1", channels),
        net=_net(tensors, f"{path}.flows.0.flows.1.param_map.net", channels),
    )


def _actnorm(tensors: Tensors, path: str, channels: int) -> tuple[Tensor, Tensor]:
    """(s, t), both [C], of an actnorm that computes exp(s) * x + t."""
    if f"{path}.{_FLAG}" in tensors and not bool(tensors.take(f"{path}.{_FLAG}")):
        raise tensors.refuse(
            f"{path} is an actnorm that has never seen an image and would be set by the first one; give a trained "
            "checkpoint"
        )
    scale, shift = (tensors.take(f"{path}.{name}", 1, channels, 1, 1).flatten() for name in ("s", "t"))
    return scale, shift


def _permutation(tensors: Tensors, path: str, channels: int) -> LowerUpper | Matrix:
    if f"{path}.W" in tensors:
        return Matrix(weight=tensors.take(f"{path}.W", channels, channels))
    tensors.ignore(f"{path}.eye")
    return LowerUpper(
        permutation=tensors.take(f"{path}.P", channels, channels),
        lower=tensors.take(f"{path}.L", channels, channels),
        upper=tensors.take(f"{path}.U", channels, channels),
        sign=tensors.take(f"{path}.sign_S", channels),
        log_abs_s=tensors.take(f"{path}.log_S", channels),
    )


def _net(tensors: Tensors, path: str, channels: int) -> Net:
    actnorm = f"{path}.1.actNorm.s" in tensors
    second, third = (3, 6) if actnorm else (2, 4)
    inputs = tensors.shape(f"{path}.0.weight")[1:2]
    if inputs == (channels,):
        raise tensors.refuse(
            f"the network {path} sees all {channels} channels, as with a checkerboard split; only couplings that split "
            "by channel can be expressed"
        )
    conv1 = tensors.weights(f"{path}.0.weight", None, channels // 2, 3, 3)
    width = conv1.shape[0]
    weight = tensors.weights(f"{path}.{third}.weight", None, width, 3, 3)
    outputs = weight.shape[0]
    if outputs not in (channels, channels // 2):
        raise tensors.refuse(
            f"the network {path} has {outputs} outputs for {channels} channels; an affine coupling's has as many as "
            "channels and an additive one's half as many"
        )
    bias = tensors.take(f"{path}.{third}.bias", outputs)
    conv3 = ScaledConv(weight=weight, bias=bias, log_scale=torch.zeros_like(bias))
    signs = -torch.ones_like(bias)  # encoding subtracts the shift
    if outputs == channels:
        conv3 = conv3.deinterleaved()
        signs[channels // 2 :] = 1
    return Net(
        conv1=conv1,
        norm1=_hidden_norm(tensors, path, 0, width, actnorm=actnorm),
        conv2=tensors.weights(f"{path}.{second}.weight", width, width, 1, 1),
        norm2=_hidden_norm(tensors, path, second, width, actnorm=actnorm),
        conv3=conv3.with_signs(signs),
    )


def _hidden_norm(tensors: Tensors, path: str, conv: int, width: int, *, actnorm: bool) -> Norm:
    """What follows a hidden convolution: its own bias, or an actnorm, which here runs as written."""
    if not actnorm:
        return Norm.identity_but_bias(tensors.take(f"{path}.{conv}.bias", width))
    scale, shift = _actnorm(tensors, f"{path}.{conv + 1}.actNorm", width)
    return Norm(bias=shift * torch.exp(-scale), log_scale=scale)


def _base(tensors: Tensors, path: str, channels: int) -> tuple[IndependentPrior, tuple[int, int] | None]:
    """A level's base distribution, and the height and width of its latent where the file holds them."""
    if f"{path}.loc_logs" in tensors:  # GlowBase
        mean, log_scale = (_glow_base(tensors, path, name, channels) for name in ("loc", "log_scale"))
        return _prior(tensors, path, mean, log_scale), None
    names = f"{path}.loc", f"{path}.log_scale"
    if not all(name in tensors and len(tensors.shape(name)) == 4 for name in names):
        raise tensors.refuse(
            f"the base distribution {path} is none of GlowBase, DiagGaussian and ClassCondDiagGaussian, the ones read"
        )
    if tensors.shape(names[0])[0] == 1:  # DiagGaussian
        mean, log_scale = (tensors.take(name, 1, channels, None, None) for name in names)
    else:  # ClassCondDiagGaussian, with the classes last
        mean, log_scale = (tensors.take(name, channels, None, None, None).permute(3, 0, 1, 2) for name in names)
    return _prior(tensors, path, mean, log_scale), (mean.shape[2], mean.shape[3])


def _prior(tensors: Tensors, path: str, mean: Tensor, log_scale: Tensor) -> IndependentPrior:
    if mean.shape != log_scale.shape:
        raise tensors.refuse(f"the base distribution {path} has a loc of another shape than its log_scale")
    return IndependentPrior(mean=mean, log_scale=log_scale)


def _glow_base(tensors: Tensors, path: str, name: str, channels: int) -> Tensor:
    """One of GlowBase's parameters, [K or 1, C, 1, 1]."""
    shape = (1, channels, 1, 1)
    value = tensors.take(f"{path}.{name}", *shape) * torch.exp(3 * tensors.take(f"{path}.{name}_logs", *shape))
    if f"{path}.{name}_cc" in tensors:
        value = value + tensors.take(f"{path}.{name}_cc", None, channels)[:, :, None, None]
    return value


def _of_all_classes(tensors: Tensors, priors: list[IndependentPrior]) -> IndependentPrior:
    """The coarsest latent's prior, spread over the classes that any latent's prior has."""
    counts = {len(prior.mean) for prior in priors} - {1}
    if len(counts) > 1:
        raise tensors.refuse(f"its base distributions have different numbers of classes: {sorted(counts)}")
    top = priors[-1]
    classes = counts.pop() if counts else 1
    shape = (classes, *top.mean.shape[1:])
    return IndependentPrior(mean=top.mean.expand(shape), log_scale=top.log_scale.expand(shape))


def _told(
    tensors: Tensors, options: ImportOptions, sizes: set[tuple[int, int]], *, affine: bool
) -> tuple[tuple[int, int], int, bool]:
    """(image size, pixel depth, fed images minus 0.5): what the file does not hold is asked for, all at once."""
    if len(sizes) > 1:
        raise tensors.refuse(f"its base distributions are of images of different sizes: {sorted(sizes)}")
    size = sizes.pop() if sizes else options.image_size
    if size is not None and options.image_size is not None:
        given = "{}x{}".format(*options.image_size)
        tensors.settle("the image size", "{}x{}".format(*size), given, "--image-size")
    missing = {}
    if size is None:
        missing["--image-size HxW"] = "the size of its images"
    if options.n_bits is None:
        missing["--n-bits N"] = "the depth of its pixels"
    if options.input_range is None:
        missing["--input-range unit (images in [0,1), no transform) or centred (minus 0.5, transform Shift(-0.5))"] = (
            "what it was fed"
        )
    if affine and options.scale_map is None:
        missing["--scale-map sigmoid (GlowBlock's default) if its blocks have that one"] = (
            "what its couplings make of their scale"
        )
    if size is None or options.n_bits is None or missing:
        raise tensors.ask(", ".join(missing), ", ".join(missing.values()))
    return size, options.n_bits, options.input_range == "centred"


def _notes(tensors: Tensors) -> tuple[str, ...]:
    notes = [
        "Its blocks and merges are taken to have the defaults of what the file does not hold: split_mode 'channel', "
        "leaky 0.0.",
        "It is taken to have had no other transform of its images than --input-range says, such as a Logit.",
    ]
    if any(name.endswith(".loc_logs") for name in tensors.names):
        notes.append("Its GlowBases are taken to have the default logscale_factor of 3.")
    if not any(name.endswith(f".{_FLAG}") for name in tensors.names):
        notes.append("Its actnorms have no flag that they were set, and are taken to be.")
    return tuple(notes)


_LAYOUT = (
    "flows.#.#.flows.#.L",
    "flows.#.#.flows.#.P",
    "flows.#.#.flows.#.U",
    "flows.#.#.flows.#.W",
    "flows.#.#.flows.#.data_dep_init_done",
    "flows.#.#.flows.#.eye",
    "flows.#.#.flows.#.flows.#.param_map.net.#.bias",
    "flows.#.#.flows.#.flows.#.param_map.net.#.weight",
    "flows.#.#.flows.#.log_S",
    "flows.#.#.flows.#.s",
    "flows.#.#.flows.#.sign_S",
    "flows.#.#.flows.#.t",
    "q#.#.loc",
    "q#.#.loc_logs",
    "q#.#.log_scale",
    "q#.#.log_scale_logs",
)

READER = Reader(project="normflows", recognise=_recognise, read=_read, layout=_LAYOUT)
