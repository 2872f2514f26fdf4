"""Checkpoints of openai/glow: the variables of its TensorFlow graph by name, as the arrays of an .npz file.

TensorFlow, 1 or 2, makes one from a checkpoint, without the project's code:

    import numpy, tensorflow
    ckpt = tensorflow.train.load_checkpoint("logs/model_best_loss.ckpt")
    names = [name for name in ckpt.get_variable_to_shape_map() if name.startswith("model/")]
    numpy.savez("glow.npz", **{name: ckpt.get_tensor(name) for name in names})

Where that code differs from other Glows: arrays are laid out for images with their channels last; actnorms, too, store
a third of their log scale; 3x3 convolutions see one more channel, the last, that is 1 in the padding and 0 inside; the
top prior is such a convolution of zeros. Averages of the weights lie beside them; the project's own likelihoods
and samples come from the weights themselves, and so does what is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from glow_core.import_options import ImportOptions

from .layers import ForeignGlow, Level, LowerUpper, Matrix, Net, Norm, Order, ScaledConv, Step, TopPrior
from .numbering import level_counts
from .reader import Reader, Tensors

__all__ = ["READER"]

_AVERAGE = "/ExponentialMovingAverage"
_FIRST = re.compile(rf"(?P<scope>(?:.*/)?)0/0/actnorm_center/b(?P<average>{_AVERAGE})?(?P<port>:0)?")
# No more digits than a count can have: an absurd one is a tensor without a place.
_STEP = re.compile(r"([0-9]{1,4})/([0-9]{1,4})/actnorm_center/b")
# The project's optimizers give their state no names, so TensorFlow calls it Variable_17; other ones add to a weight's.
_OPTIMIZER = re.compile(
    "Variable(_[0-9]+)?|global_step|beta[12]_power|(Adam|Adamax|AdaMax|Momentum)(_[0-9]+)?"
    "|.*_adam(ax)?_(m|v|t|m1|m2|mg)"
)


class _Scope:
    """The variables of one model in a file, by their names within its scope.

    Attributes:
        averaged: the file holds the averages of the weights and not the weights.
    """

    def __init__(self, tensors: Tensors) -> None:
        found = [first for first in map(_FIRST.fullmatch, tensors.names) if first]
        first = next((first for first in found if not first["average"]), found[0])
        self.averaged = first["average"] is not None
        self._tensors = tensors
        self._before = first["scope"]
        self._after = (first["average"] or "") + (first["port"] or "")
        self._port = first["port"] or ""

    def __contains__(self, variable: str) -> bool:
        return self.name(variable) in self._tensors

    def variable(self, name: str) -> str | None:
        """The variable that a name in the file is of, None where it is not of this model."""
        if not (name.startswith(self._before) and name.endswith(self._after)):
            return None
        return name.removeprefix(self._before).removesuffix(self._after)

    def name(self, variable: str) -> str:
        """What a trained variable is called in the file."""
        return f"{self._before}{variable}{self._after}"

    def fixed(self, variable: str) -> str:
        """What a variable that is not trained, and so has no average, is called in the file."""
        return f"{self._before}{variable}{self._port}"

    def take(self, variable: str, *shape: int | None) -> Tensor:
        return self._tensors.take(self.name(variable), *shape)

    def weights(self, variable: str, *shape: int | None) -> Tensor:
        return self._tensors.weights(self.name(variable), *shape)


def _recognise(names: Iterable[str]) -> bool:
    return any(map(_FIRST.fullmatch, names))


def _read(tensors: Tensors, options: ImportOptions) -> ForeignGlow:
    scope = _Scope(tensors)
    steps = _steps(tensors, scope)
    channels = scope.take("0/0/actnorm_center/b", 1, 1, 1, None).numel()
    levels = []
    for index, count in enumerate(steps):
        flows = tuple(_step(tensors, scope, f"{index}/{number}", channels) for number in range(count))
        last = index == len(steps) - 1
        split = None if last else _zeros_conv(scope, f"pool{index}/conv", channels // 2, channels).deinterleaved()
        levels.append(Level(steps=flows, split=split))
        channels = channels if last else 2 * channels
    prior = _top_prior(scope, channels)
    notes = _notes(tensors, scope, options, first=levels[0].steps[0])
    image_size, n_bits = _told(tensors, options, halvings=len(steps))
    return ForeignGlow(
        image_size=image_size,
        n_bits=n_bits,
        centred=options.input_range != "unit",
        levels=tuple(levels),
        prior=prior,
        notes=notes,
    )


def _steps(tensors: Tensors, scope: _Scope) -> list[int]:
    """How many steps of flow each level has, by the highest numbers in the names; a gap shows as a missing tensor."""
    within = filter(None, map(scope.variable, tensors.names))
    numbers = [(int(found[1]), int(found[2])) for found in map(_STEP.fullmatch, within) if found]
    return [max(count, 1) for count in level_counts(numbers)]


def _step(tensors: Tensors, scope: _Scope, path: str, channels: int) -> Step:
    return Step(
        actnorm=_norm(scope, f"{path}/actnorm", channels),
        permutation=_permutation(tensors, scope, path, channels),
        net=_net(tensors, scope, f"{path}/f1", channels),
    )


def _norm(scope: _Scope, path: str, channels: int) -> Norm:
    bias = scope.take(f"{path}_center/b", 1, 1, 1, channels).flatten()
    return Norm(bias=bias, log_scale=3 * scope.take(f"{path}_scale/logs", 1, 1, 1, channels).flatten())


def _permutation(tensors: Tensors, scope: _Scope, path: str, channels: int) -> Matrix | Order:
    # The kernel of an NHWC convolution has its inputs first, and so is the transpose of W.
    if f"{path}/invconv/W" in scope:
        return Matrix(weight=scope.take(f"{path}/invconv/W", channels, channels).T)
    if f"{path}/invconv/L" in scope:
        # That branch of the code is never taken unless an `if True` is edited. P L U transposed is no P L U again.
        kernel = LowerUpper(
            permutation=tensors.take(scope.fixed(f"{path}/invconv/P"), channels, channels),
            lower=scope.take(f"{path}/invconv/L", channels, channels),
            upper=scope.take(f"{path}/invconv/U", channels, channels),
            sign=tensors.take(scope.fixed(f"{path}/invconv/sign_S"), channels),
            log_abs_s=scope.take(f"{path}/invconv/log_S", channels),
        )
        return Matrix(weight=kernel.matrix().T)
    indices = scope.fixed(f"{path}/shuffle/indices")
    if indices in tensors:
        tensors.ignore(scope.fixed(f"{path}/shuffle/indices_inverse"))
        return Order(order=tensors.take(indices, channels).long())
    return Order(order=torch.arange(channels - 1, -1, -1))  # reversing leaves no variable, and the others always do


def _net(tensors: Tensors, scope: _Scope, path: str, channels: int) -> Net:
    conv1, edge1 = _conv3x3(scope, f"{path}/l_1", channels // 2, None)
    width = conv1.shape[0]
    conv2 = scope.weights(f"{path}/l_2/W", 1, 1, width, width).permute(3, 2, 0, 1)
    conv3 = _zeros_conv(scope, f"{path}/l_last", width, None)
    outputs = len(conv3.bias)
    if outputs not in (channels, channels // 2):
        raise tensors.refuse(
            f"the network {path} has {outputs} outputs for {channels} channels; an affine coupling's has as many as "
            "channels and an additive one's half as many"
        )
    return Net(
        conv1=conv1,
        norm1=_norm(scope, f"{path}/l_1/actnorm", width),
        conv2=conv2,
        norm2=_norm(scope, f"{path}/l_2/actnorm", width),
        conv3=conv3.deinterleaved() if outputs == channels else conv3,
        edge1=edge1,
    )


def _conv3x3(scope: _Scope, path: str, inputs: int, outputs: int | None) -> tuple[Tensor, Tensor]:
    """Weights [out,in,3,3] for the image, and those for the border's channel [out,3,3]."""
    kernel = scope.weights(f"{path}/W", 3, 3, inputs + 1, outputs).permute(3, 2, 0, 1)
    return kernel[:, :-1], kernel[:, -1].double()


def _zeros_conv(scope: _Scope, path: str, inputs: int, outputs: int | None) -> ScaledConv:
    weight, edge = _conv3x3(scope, path, inputs, outputs)
    outputs = weight.shape[0]
    bias = scope.take(f"{path}/b", 1, 1, 1, outputs).flatten()
    return ScaledConv(weight=weight, bias=bias, log_scale=scope.take(f"{path}/logs", 1, outputs).flatten(), edge=edge)


def _top_prior(scope: _Scope, channels: int) -> TopPrior:
    """What a convolution makes of zeros, and what a class adds to it; a standard normal without both."""
    outputs = 2 * channels
    centre, edge, offset = torch.zeros(outputs, dtype=torch.float64), None, None
    if "prior/p/W" in scope:
        conv = _zeros_conv(scope, "prior/p", outputs, outputs)
        factor = torch.exp(3 * conv.log_scale)
        centre = conv.bias * factor
        edge = None if conv.edge is None else conv.edge * factor[:, None, None]
    if "prior/y_emb/W" in scope:
        factor = torch.exp(3 * scope.take("prior/y_emb/logs", 1, outputs))
        offset = (scope.take("prior/y_emb/W", None, outputs) + scope.take("prior/y_emb/b", 1, outputs)) * factor
    mean, log_scale = centre.chunk(2)
    return TopPrior(mean=mean, log_scale=log_scale, class_offset=offset, edge=edge)


def _told(tensors: Tensors, options: ImportOptions, *, halvings: int) -> tuple[tuple[int, int], int]:
    """The image size and pixel depth, neither of which is in the file."""
    size, n_bits = options.image_size, options.n_bits
    missing = {}
    if size is None:
        missing["--image-size HxW (what --image_size was)"] = "the size of its images"
    if n_bits is None:
        missing["--n-bits N (what --n_bits_x was)"] = "the depth of its pixels"
    if size is None or n_bits is None:
        raise tensors.ask(" and ".join(missing), " and ".join(missing.values()))
    tensors.check_size(size, halvings=halvings)
    return size, n_bits


def _is_optimizer(name: str) -> bool:
    return _OPTIMIZER.fullmatch(name.removesuffix(":0").removesuffix(_AVERAGE).rpartition("/")[2]) is not None


def _notes(tensors: Tensors, scope: _Scope, options: ImportOptions, *, first: Step) -> tuple[str, ...]:
    """What was taken for granted; passes over what is no part of the flow."""
    notes = []
    tensors.ignore(*filter(_is_optimizer, tensors.names))
    averages = [name for name in tensors.names if name.removesuffix(":0").endswith(_AVERAGE)]
    if scope.averaged:
        notes.append("It holds the averages of the weights alone, and these are taken.")
    elif averages:
        tensors.ignore(*averages)
        notes.append("The averages of its weights are left out: the project's own results come without them.")
    if "classifier/W" in scope:
        tensors.ignore(*(scope.name(f"classifier/{part}") for part in ("W", "b", "logs")))
        notes.append("Its classifier, which guesses the class from the coarsest latent, is left out.")
    if isinstance(first.permutation, Order) and scope.fixed("0/0/shuffle/indices") not in tensors:
        notes.append("Its steps hold neither a 1x1 convolution nor an order, and are taken to reverse the channels.")
    if options.input_range is None:
        notes.append("It is taken to be fed images minus 0.5, as the project's model.py does.")
    if options.scale_map is None and first.net.affine:
        notes.append("Its couplings are taken to multiply by sigmoid(h + 2), as the project's do.")
    return tuple(notes)


_LAYOUT = (
    "model/#/#/actnorm_center/b",
    "model/#/#/actnorm_scale/logs",
    "model/#/#/f#/l_#/W",
    "model/#/#/f#/l_#/actnorm_center/b",
    "model/#/#/f#/l_#/actnorm_scale/logs",
    "model/#/#/f#/l_last/W",
    "model/#/#/f#/l_last/b",
    "model/#/#/f#/l_last/logs",
    "model/#/#/invconv/W",
    "model/classifier/W",
    "model/classifier/b",
    "model/classifier/logs",
    "model/pool#/conv/W",
    "model/pool#/conv/b",
    "model/pool#/conv/logs",
    "model/prior/p/W",
    "model/prior/p/b",
    "model/prior/p/logs",
    "model/prior/y_emb/W",
    "model/prior/y_emb/b",
    "model/prior/y_emb/logs",
)

READER = Reader(project="openai/glow", recognise=_recognise, read=_read, layout=_LAYOUT)
