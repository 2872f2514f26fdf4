"""The graphs' weights against those of the checkpoint, folded once more and built once more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.weights import part_of_weight
from glow_deploy.verify.steps.weights import Weights

if TYPE_CHECKING:
    from glow_deploy.graphs.precision_plan import PrecisionPlan

__all__ = ["Against", "against_checkpoint"]

_DIGITS = {"float32": 23, "float16": 10, "bfloat16": 7}
_ROUNDED = 1e-3  # share of an array's entries that another machine's float64 may round the other way


@dataclass(frozen=True, kw_only=True)
class Against:
    """What one graph holds beside what it should.

    Attributes:
        compared: arrays.
        rounded: of which some entry differs in its last digit, as another machine's linear algebra may have it.
        wrong: part -> names of those that differ by more.
    """

    compared: int
    rounded: int
    wrong: dict[str, list[str]]


def against_checkpoint(
    bundle: Bundle, ckpt: Path, weights: tuple[Weights, Weights], *, plan: PrecisionPlan | None
) -> tuple[Against, Against]:
    """Compare every initializer of both graphs.

    Args:
        bundle: whose manifest says how the checkpoint is read.
        ckpt: the checkpoint.
        weights: initializers of encoder and decoder.
        plan: what runs in 16 bit; None for float32 throughout.

    Raises:
        UsageError: it holds another kind of model, or a weight is beyond the largest of its number.
        CheckpointError: it cannot be read or folded.
        MissingDependencyError: torch is not there.
    """
    from glow_deploy.engines.pytorch import folded_model
    from glow_deploy.engines.trained import Trained
    from glow_deploy.graphs.decoder import build_decoder
    from glow_deploy.graphs.describe import describe
    from glow_deploy.graphs.encoder import build_encoder

    folded = folded_model(Trained.of(bundle, ckpt))
    precision, model_id = bundle.manifest.precision, bundle.manifest.model_id
    facts = describe(folded, role="encoder", precision=precision, model_id=model_id)
    encoder = build_encoder(folded, metadata=facts, plan=plan).weights
    decoder = build_decoder(folded, metadata=replace(facts, role="decoder"), plan=plan).weights
    return _compare(weights[0], encoder), _compare(weights[1], decoder)


def _compare(held: Weights, due: Weights) -> Against:
    wrong: dict[str, list[str]] = {}
    rounded = 0
    for name in dict.fromkeys((*due, *held)):
        found, wanted = held.get(name), due.get(name)
        if found is None or wanted is None or (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            wrong.setdefault(part_of_weight(name), []).append(name)
        elif not _same_bits(found, wanted):
            if _rounded_alike(found, wanted):
                rounded += 1
            else:
                wrong.setdefault(part_of_weight(name), []).append(name)
    return Against(compared=len(due), rounded=rounded, wrong=wrong)


def _same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


def _rounded_alike(found: np.ndarray, wanted: np.ndarray) -> bool:
    """True where few entries differ, and by one unit in the last place."""
    if found.dtype.name not in _DIGITS:
        return False
    one, other = (np.asarray(array, dtype=np.float64) for array in (found, wanted))
    different = one != other
    if np.count_nonzero(different) > 1 + _ROUNDED * one.size:
        return False
    with np.errstate(all="ignore"):
        place = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(one), np.abs(other)))) - _DIGITS[found.dtype.name])
        return bool(np.all(np.abs(one - other)[different] <= place[different]))
