"""Editing images along attribute directions, never farther than the model can be inverted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_flag, as_instance, as_whole, settle
from glow_deploy.errors import DataError, UsageError
from glow_deploy.latents.coding import Latents
from glow_deploy.latents.specs import latent_specs, need_role
from glow_deploy.progress import CountProgress
from glow_deploy.protocol import Engine

from .directions import Attribute, Directions
from .soundness import Examined, Soundness, bisect, examine, round_trip_limits

__all__ = ["EditSettings", "Edited", "check_edits", "edit_latents"]

_FARTHEST = 1000.0  # an amount so large is a slip


@dataclass(frozen=True, kw_only=True)
class EditSettings:
    """How to edit.

    Attributes:
        beyond: amounts may go beyond the measured range of their attribute; otherwise they are cut to it.
        halvings: of the search for how much of an edit stays sound: 10 find it to a thousandth of the edit.
        soundness: what that means; None takes what the directions were measured with.
        batch: rows run at once.
    """

    beyond: bool = False
    halvings: int = 10
    soundness: Soundness | None = None
    batch: int = 64

    def __post_init__(self) -> None:
        settle(self, as_flag, "beyond")
        settle(self, as_whole, "halvings", least=1, most=30)
        settle(self, as_instance, "soundness", optional=True, kind=Soundness)
        settle(self, as_whole, "batch", least=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Edited:
    """n images, each edited in the same m ways. All of it is finite.

    Attributes:
        names: of the K attributes that are edited.
        asked: float64 [m, K], the amounts asked for.
        used: float64 [m, K], the same within the measured ranges, unless `beyond` was set.
        kept: float64 [n, m], how much of the edit is left: 1 all of it, 0 the image as it was. Less than 1 where the
            whole edit was not sound and was scaled back along its line.
        faults: n lists of m, what was wrong with the whole edit; empty where nothing was.
        x: [n, m, C, H, W] as decoded, not clamped.
        z: z1 ... zL, [n, m, C, H, W].
        round_trip: float64 [n, m], largest |encode(x) - z|.
        overshoot: float64 [n, m], how far x leaves [0, 1].
    """

    names: tuple[str, ...]
    asked: npt.NDArray[np.float64]
    used: npt.NDArray[np.float64]
    kept: npt.NDArray[np.float64]
    faults: tuple[tuple[str, ...], ...]
    x: npt.NDArray[np.floating]
    z: tuple[npt.NDArray[np.floating], ...]
    round_trip: npt.NDArray[np.float64]
    overshoot: npt.NDArray[np.float64]

    @property
    def applied(self) -> npt.NDArray[np.float64]:
        """The amounts that the images really show, float64 [n, m, K]."""
        return self.kept[:, :, None] * self.used[None]

    @property
    def damped(self) -> npt.NDArray[np.bool_]:
        """Which edits were scaled back, bool [n, m]."""
        return self.kept < 1


def edit_latents(
    encoder: Engine,
    decoder: Engine,
    latents: Latents,
    directions: Directions,
    *,
    edits: Sequence[Mapping[str, float]],
    settings: EditSettings | None = None,
    progress: CountProgress | None = None,
) -> Edited:
    """Add attribute directions to latents and decode: z + sum of amount * (z_pos - z_neg).

    An edit whose decode is not finite, leaves the range of pictures too far, or does not re-encode to itself, is scaled
    back along its line towards the image until it is sound. So nothing non-finite is ever returned. An edit of nothing,
    or of amounts of 0, gives the image's reconstruction.

    Args:
        encoder: of the same model as the decoder.
        decoder: open as well.
        latents: of n images, as `encode_images` gives them; with their labels if the model is class-conditional.
        directions: of this model.
        edits: m times amount by attribute: 1 is the distance between the means of images with and without it.
        settings: how to edit; None for the defaults.
        progress: called with (done, total) after each round of decoding.

    Raises:
        UsageError: engines of the wrong role, no edits, an amount that is no number, or an attribute without direction.
        DataError: latents or directions do not fit the model.
        UnsoundModelError: the model does not invert an image as it is.

    Examples:
        >>> from glow_deploy.engines.example import example_pair
        >>> from glow_deploy.latents import encode_images
        >>> from glow_deploy.directions.reach import Reach
        >>> encoder, decoder = example_pair(size=(2, 2))  # z = 4 (x - 0.5)
        >>> there = Reach(amount=2.0, median=3.0, images=20)
        >>> bright = Attribute(name="bright", vectors=(np.ones((2, 1, 1), np.float32),) * 2, counts=(30, 30),
        ...                    held_out=(20, 20), auc=1.0, auc_interval=(0.9, 1.0), auc_by_level=(1.0, 1.0),
        ...                    removing=there, adding=there)
        >>> directions = Directions(model_id="0" * 64, source="toys", attributes=(bright,), limit=3.0, survival=0.95,
        ...                         soundness=Soundness(margin=0))
        >>> grey = encode_images(encoder, np.full((1, 1, 2, 2), 128, np.uint8))
        >>> edited = edit_latents(encoder, decoder, grey, directions, edits=[{}, {"bright": 1}, {"bright": 9}])
        >>> [round(float(x[0, 0, 0]), 2) for x in edited.x[0]]  # the third is cut to 2, and what is left would be 1.016
        [0.52, 0.77, 1.0]
        >>> edited.used.ravel().tolist(), edited.kept.round(2).tolist()
        ([0.0, 1.0, 2.0], [[1.0, 1.0, 0.97]])
        >>> edited.faults[0][2]
        'decodes to values from 1.02 to 1.02, beyond [0, 1]'
    """
    settings = settings or EditSettings()
    need_role(encoder, "encoder", "editing")
    need_role(decoder, "decoder", "editing")
    soundness = settings.soundness or directions.soundness
    chosen, asked = _amounts(directions, edits)
    ranges = np.array([attribute.range for attribute in chosen]).reshape(len(chosen), 2)
    used = asked if settings.beyond else np.clip(asked, ranges[:, 0], ranges[:, 1])
    moves = _moves(decoder, chosen, used)
    unedited = examine(encoder, decoder, latents.z, labels=latents.labels, batch=settings.batch)
    limits = round_trip_limits(unedited, soundness, names=latents.names)
    rows = _Rows(latents, moves, unedited)
    rounds = settings.halvings + 1
    done = 0

    def holds(numbers: npt.NDArray[np.int64], kept: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Decode a part of some edits, and hold on to what is sound."""
        images = numbers // len(used)
        labels = None if latents.labels is None else latents.labels[images]
        seen = examine(encoder, decoder, rows.latents(numbers, kept), labels=labels, batch=settings.batch)
        good = seen.sound(soundness, limits[images])
        rows.take(numbers[good], seen, np.flatnonzero(good))
        for place in np.flatnonzero(~good & (kept == 1)):
            rows.faults[numbers[place]] = seen.fault(int(place), soundness, float(limits[images[place]]))
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, rounds)
        return good

    kept = np.ones(len(latents) * len(used))
    # An edit of nothing is the reconstruction that is there already.
    moving = [any(bool(move[edit].any()) for move in moves) for edit in range(len(used))]
    real = np.flatnonzero(np.tile(moving, len(latents)))
    if real.size:
        kept[real[~holds(real, np.ones(len(real)))]] = 0
    kept = bisect(kept, np.ones(len(kept)), holds, steps=settings.halvings)
    if progress is not None:
        progress(rounds, rounds)
    shape = (len(latents), len(used))
    return Edited(
        names=tuple(attribute.name for attribute in chosen),
        asked=asked,
        used=used,
        kept=kept.reshape(shape),
        faults=tuple(tuple(rows.faults[first : first + len(used)]) for first in range(0, len(kept), len(used))),
        x=rows.x.reshape(*shape, *rows.x.shape[1:]),
        z=tuple(z.reshape(*shape, *z.shape[1:]) for z in rows.latents(np.arange(len(kept)), kept)),
        round_trip=rows.round_trip.reshape(shape),
        overshoot=rows.overshoot.reshape(shape),
    )


class _Rows:
    """What has been found of each edit of each image so far, one row each; at first the unedited image."""

    def __init__(self, latents: Latents, moves: Sequence[npt.NDArray[np.float64]], unedited: Examined) -> None:
        self._z, self._moves = latents.z, moves
        self._count = len(moves[0])
        self.x = np.repeat(unedited.x, self._count, axis=0)
        self.round_trip = np.repeat(unedited.round_trip, self._count)
        self.overshoot = np.repeat(unedited.overshoot, self._count)
        self.faults = [""] * len(self.x)

    def latents(self, numbers: npt.NDArray[np.int64], kept: npt.NDArray[np.float64]) -> list[npt.NDArray[np.floating]]:
        """Edited latents of some rows, each with a part of its edit."""
        images, edits = np.divmod(numbers, self._count)
        scale = kept[:, None, None, None]
        return [
            (level[images] + scale * move[edits]).astype(level.dtype)
            for level, move in zip(self._z, self._moves, strict=True)
        ]

    def take(self, numbers: npt.NDArray[np.int64], seen: Examined, places: npt.NDArray[np.int64]) -> None:
        """Keep what was seen at these places as the best of these rows."""
        self.x[numbers] = seen.x[places]
        self.round_trip[numbers] = seen.round_trip[places]
        self.overshoot[numbers] = seen.overshoot[places]


def check_edits(directions: Directions, edits: Sequence[Mapping[str, float]]) -> None:
    """Refuse what `edit_latents` would, without a model.

    Raises:
        UsageError: no edits, an amount that is no number, or an attribute without direction.
    """
    _amounts(directions, edits)


def _amounts(
    directions: Directions, edits: Sequence[Mapping[str, float]]
) -> tuple[list[Attribute], npt.NDArray[np.float64]]:
    """The attributes that are edited, and the amount of each in each edit, [m, K]."""
    if not edits:
        raise UsageError("there is nothing to edit; name attributes and amounts")
    rows = [{directions[name].name: float(amount) for name, amount in edit.items()} for edit in edits]
    if any(len(row) != len(edit) for row, edit in zip(rows, edits, strict=True)):
        raise UsageError("an attribute is given twice; add the amounts up")
    names = list(dict.fromkeys(name for row in rows for name in row))
    asked = np.array([[row.get(name, 0.0) for name in names] for row in rows]).reshape(len(rows), len(names))
    for amount in asked.ravel():
        if not abs(amount) <= _FARTHEST:
            raise UsageError(f"an amount is {amount:g}; numbers from {-_FARTHEST:g} to {_FARTHEST:g} are taken")
    return [directions[name] for name in names], asked


def _moves(
    decoder: Engine, chosen: Sequence[Attribute], used: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.float64]]:
    """What each edit adds to each level, float64 [m, C, H, W]."""
    moves = []
    for level, spec in enumerate(latent_specs(decoder.inputs)):
        move = np.zeros((len(used), *spec.shape))
        for column, attribute in enumerate(chosen):
            if len(attribute.vectors) <= level or attribute.vectors[level].shape != spec.shape:
                raise DataError(f"the direction of {attribute.name} has another shape than {spec.name} of this model")
            move += used[:, column, None, None, None] * attribute.vectors[level].astype(np.float64)
        moves.append(move)
    return moves
