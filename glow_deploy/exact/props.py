"""What an exact graph says about its grids, in its metadata."""

from __future__ import annotations

import hashlib

import numpy as np

from glow_deploy.artifact.metadata import PREFIX

from .arrays import ExactGlow, ExactPrior, ExactSplit

__all__ = ["exact_id", "exact_props"]


def exact_props(model: ExactGlow, *, native: bool = False) -> dict[str, str]:
    """Return metadata_props: the grid of x, the range, and the spacing of each latent's integers.

    z of level i, as an integer, stands for h = z * spacing_i around its mean. `native` graphs have the hidden
    convolutions of the conditioners in bfloat16 or float16; `-carried` says that theirs are cast there and back.
    """
    narrow = model.narrow
    values = {
        "exact.id": exact_id(model),
        "exact.grid_bits": str(model.grid_bits),
        "exact.fraction_bits": str(model.fraction_bits),
        "exact.limit": str(model.limit),
        "exact.native": (narrow if native else f"{narrow}-carried") if narrow else "",
        "exact.spacings": " ".join(f"{spacing:.17g}" for spacing in model.spacings),
    }
    return {PREFIX + key: value for key, value in values.items()}


def exact_id(model: ExactGlow) -> str:
    """Return a sha256 over all integers, priors and spacings: those of an encoder and a decoder must agree."""
    digest = hashlib.sha256()
    facts = (model.image_shape, model.n_bits, model.fraction_bits, model.limb_bits, model.limit, model.num_classes)
    digest.update(repr(facts).encode())
    for path, conv, largest in model.convolutions():
        digest.update(f"{path} {largest} {conv.parts}".encode())
        for array in (conv.weight, conv.bias, conv.shift, conv.edge):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
    priors = [level.split for level in model.levels if isinstance(level.split, ExactPrior)]
    for prior in (*priors, model.prior):
        for array in (prior.mean, prior.log_scale):
            digest.update(np.ascontiguousarray(array).data)
    digest.update(" ".join(f"{spacing:.17g}" for spacing in model.spacings).encode())
    for level in model.levels:
        digest.update(np.ascontiguousarray(level.sign).data)
        if isinstance(level.split, ExactSplit):
            digest.update(repr(level.split.input).encode())
        for step in level.steps:
            net = step.conditioner
            digest.update(repr((net.input, net.largest, net.narrow)).encode())
    return digest.hexdigest()
