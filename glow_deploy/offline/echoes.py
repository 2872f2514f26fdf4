"""Telling what a program computed from what it was fed, from our own reference, and from what was stored in 16 bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from glow_deploy.artifact.golden import Golden
from glow_deploy.errors import DataError

__all__ = ["PICTURES", "refuse_echoes"]

PICTURES = ("decoder.x", "round_trip.x")

_SHARE = 0.99
"""Of values that are the same, bit for bit. Float32 arithmetic gave up to 0.40 on models of 192 values and more, and up
to 0.92 on a decoder of one step of flow for grey images of 64."""

_CHANCE = 1e-9  # that a whole image is the same where single values are so with the share of the other images
_FEWEST = 8  # values from which anything can be told


def refuse_echoes(
    tensors: Mapping[str, np.ndarray], *, fed: Mapping[str, np.ndarray], golden: Golden, places: Mapping[str, Path]
) -> None:
    """Refuse outputs that no program computed.

    Args:
        tensors: what was saved, [N, ...] each, by our names.
        fed: the inputs, of N images or more.
        golden: with the float64 reference of these images.
        places: the file of each tensor.

    Raises:
        DataError: values are bit for bit what was fed or the reference, or pictures hold float16 or bfloat16 alone.
    """
    for name, found in tensors.items():
        for target, words in _known(name, fed, golden):
            if name.endswith("log_prob") and len(found) < _FEWEST:
                continue
            if _same(found, target[: len(found)]):
                raise DataError(
                    f"{places[name]}: {name} is bit for bit {words}, in part or in whole: save what the program "
                    "computed (of float64 arithmetic save float64)"
                )
        if name in PICTURES:
            # In this order: the bits of bfloat16 fit into float16.
            for kind, rounded in (("bfloat16", _bfloat16(found)), ("float16", _float16(found))):
                if _same(found, rounded):
                    raise DataError(
                        f"{places[name]}: {name} holds {kind} values, which may hold the centres of pixels exactly and "
                        "hide every error smaller than that: save float32 before anything rounds it"
                    )


def _known(name: str, fed: Mapping[str, np.ndarray], golden: Golden) -> Iterator[tuple[np.ndarray, str]]:
    place, _, tensor = name.partition(".")
    if name in PICTURES:
        yield fed["encoder.x"], "what was fed to the encoder"
        yield from _rounded(golden.x_hat)
    elif place in ("encoder", "round_trip") and tensor.startswith("z"):
        yield fed[f"decoder.{tensor}"], "what was fed to the decoder"
        yield from _rounded(golden.z[int(tensor[1:]) - 1])
    elif tensor == "log_prob":
        yield from _rounded(golden.log_prob)


def _rounded(reference: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    words = "the bundle's own float64 reference"
    yield reference, words
    with np.errstate(over="ignore"):
        yield reference.astype(np.float32), words


def _same(found: np.ndarray, target: np.ndarray) -> bool:
    """Tell whether so many values are the same that nobody computed them."""
    if found.size < _FEWEST:
        return False
    # Float types widen without loss, so that the comparison is of bits.
    equal = (found == target).reshape(len(found), -1)
    if float(equal.mean()) > _SHARE:
        return True
    whole = equal.all(axis=1)
    if not whole.any() or equal.shape[1] < _FEWEST:
        return False
    chance = float(equal[~whole].mean()) ** equal.shape[1]
    return bool(len(found) * chance < _CHANCE)


def _float16(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def _bfloat16(values: np.ndarray) -> np.ndarray:
    """What is left with the 8 leading bits alone; of what has no more, everything."""
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)
