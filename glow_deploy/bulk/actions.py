"""What each action makes of a few rows: columns of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from glow_deploy.directions import Directions, EditSettings, edit_latents
from glow_deploy.images import x_to_values
from glow_deploy.latents import EncodeSettings, PictureBatch, SampleSettings, encode_stream, sample
from glow_deploy.latents.coding import Latents
from glow_deploy.protocol import Engine
from glow_deploy.scoring.score import ScoreSettings, score_stream

from .pictures import Pictures
from .shards import IMAGE, Column

__all__ = ["Columns", "Pictures", "edit_columns", "encode_columns", "sample_columns", "score_columns"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """A few rows of a table, and how many of them took more than one try."""

    columns: Mapping[str, Column]
    redrawn: int = 0


def encode_columns(encoder: Engine, options: Mapping[str, Any], pictures: Pictures) -> Columns:
    """Latents and likelihoods, under the names that a latent file has."""
    latents = _latents(encoder, options, pictures, draws=options["draws"])
    found: dict[str, Column] = {"names": latents.names, "number": _numbers(pictures)}
    found |= {f"z{level}": z for level, z in enumerate(latents.z, start=1)}
    for name in ("log_prob", "bits_per_dim", "bits_per_dim_centre", "class_log_prob"):
        values = getattr(latents, name)
        if values is not None:
            found[name] = values
    return Columns(columns=found | ({} if latents.labels is None else {"y": latents.labels}))


def score_columns(encoder: Engine, options: Mapping[str, Any], pictures: Pictures) -> Columns:
    """Likelihoods and the mean square of every level."""
    settings = ScoreSettings(draws=options["draws"], seed=options["seed"], best_class=options["best_class"])
    (scores,) = score_stream(encoder, [_batch(options, pictures)], settings=settings, start=pictures.number)
    found: dict[str, Column] = {
        "names": scores.names,
        "number": _numbers(pictures),
        "log_prob": scores.log_prob,
        "bits_per_dim": scores.bits_per_dim,
        "bits_per_dim_centre": scores.bits_per_dim_centre,
    }
    squares = scores.level_squares.T
    found |= {f"z{level}_square": np.ascontiguousarray(values) for level, values in enumerate(squares, start=1)}
    return Columns(columns=found | ({} if scores.labels is None else {"y": scores.labels}))


def sample_columns(decoder: Engine, options: Mapping[str, Any], *, first: int, last: int) -> Iterator[Columns]:
    """Samples first .. last-1 as pictures."""
    temperature, labels = options["temperature"], options["labels"]
    settings = SampleSettings(
        temperature=tuple(temperature) if isinstance(temperature, list) else temperature,
        seed=options["seed"],
        batch=options["batch"],
        labels=None if labels is None else tuple(labels),
    )
    for batch in sample(decoder, count=last - first, settings=settings, start=first):
        found: dict[str, Column] = {"number": batch.indices, IMAGE: x_to_values(batch.x, decoder.n_bits)}
        found |= {} if batch.labels is None else {"labels": batch.labels}
        yield Columns(columns=found, redrawn=batch.redrawn)


def edit_columns(
    encoder: Engine, decoder: Engine, directions: Directions, options: Mapping[str, Any], pictures: Pictures
) -> Columns:
    """Edited pictures, how much of the edit each shows, and what was wrong with the whole one."""
    latents = _latents(encoder, options, pictures, draws=0)
    settings = EditSettings(beyond=options["beyond"], batch=options["batch"])
    edited = edit_latents(encoder, decoder, latents, directions, edits=[options["attributes"]], settings=settings)
    found: dict[str, Column] = {
        "names": latents.names,
        "number": _numbers(pictures),
        IMAGE: x_to_values(edited.x[:, 0], decoder.n_bits),
        "kept": edited.kept[:, 0],
        "fault": [faults[0] for faults in edited.faults],
        "round_trip": edited.round_trip[:, 0],
        "overshoot": edited.overshoot[:, 0],
    }
    found |= {} if latents.labels is None else {"y": latents.labels}
    return Columns(columns=found, redrawn=int(edited.damped.sum()))


def _latents(encoder: Engine, options: Mapping[str, Any], pictures: Pictures, *, draws: int) -> Latents:
    settings = EncodeSettings(draws=draws, seed=options.get("seed", 0), best_class=options["best_class"])
    (latents,) = encode_stream(encoder, [_batch(options, pictures)], settings=settings, start=pictures.number)
    return latents


def _batch(options: Mapping[str, Any], pictures: Pictures) -> PictureBatch:
    labels = options["labels"]
    every = None if labels is None else [labels[0]] * len(pictures)
    return PictureBatch(values=pictures.values, names=pictures.names, labels=every)


def _numbers(pictures: Pictures) -> npt.NDArray[np.int64]:
    return np.arange(pictures.number, pictures.number + len(pictures), dtype=np.int64)
