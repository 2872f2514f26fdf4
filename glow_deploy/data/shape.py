"""Which size and channels a set of pictures has, where they are not all alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from glow_deploy.errors import DataError
from glow_deploy.images import Header

from .fit import Fit

__all__ = ["choose_shape"]

_NAMED = 3


def choose_shape(
    headers: Sequence[Header], names: Sequence[str], *, fit: Fit, description: str
) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Choose what most pictures have, unless `fit` says it.

    Args:
        headers: of all pictures, at least one.
        names: of the same, for messages.
        fit: what the model takes.
        description: where they come from.

    Returns:
        (C, H, W), and what there is to say about the choice.

    Raises:
        DataError: some are of another size and may not be resized, or in colour beside a majority that is grey.
    """
    size, notes = _size(headers, names, fit, description)
    channels, more = _channels(headers, names, fit, description)
    return (channels, *size), (*notes, *more)


def _size(
    headers: Sequence[Header], names: Sequence[str], fit: Fit, description: str
) -> tuple[tuple[int, int], tuple[str, ...]]:
    counts = Counter(header.size for header in headers)
    size = fit.size or counts.most_common(1)[0][0]
    others = [row for row, header in enumerate(headers) if header.size != size]
    if not others:
        return size, ()
    shown = _listed([f"{names[row]} ({_words(headers[row].size)})" for row in others])
    total = len(headers)
    if not fit.resize:
        if fit.size is None:
            raise DataError(
                f"{description}: {counts[size]:,} of {total:,} pictures are {_words(size)} (width x height), "
                f"{len(others):,} are not: {shown}; pass resize=True to crop and resample them, or take them out"
            )
        if total == 1:
            raise DataError(
                f"{names[0]} is {_words(headers[0].size)} pixels, the model takes {_words(size)} (width x height); "
                "pass resize=True to crop and resample it"
            )
        raise DataError(
            f"{description}: {len(others):,} of {total:,} pictures are not {_words(size)} (width x height), which the "
            f"model takes: {shown}; pass resize=True to crop and resample them"
        )
    if fit.size is not None:
        return size, (f"{description}: {len(others):,} of {total:,} pictures are resized to {_words(size)}: {shown}",)
    return size, (
        f"{description}: {counts[size]:,} of {total:,} pictures are {_words(size)} (width x height), the commonest "
        f"size, so it is taken; {len(others):,} {_are(others)} resized: {shown}",
    )


def _channels(
    headers: Sequence[Header], names: Sequence[str], fit: Fit, description: str
) -> tuple[int, tuple[str, ...]]:
    grey = [row for row, header in enumerate(headers) if header.channels == 1]
    colour = [row for row, header in enumerate(headers) if header.channels == 3]
    if fit.channels is not None:
        return fit.channels, ()
    if not grey or not colour:
        return headers[0].channels, ()
    total = f"{len(headers):,} pictures"
    if len(colour) >= len(grey):
        return 3, (
            f"{description}: {len(colour):,} of {total} are in colour, so all are taken as such; {len(grey):,} "
            f"{_are(grey)} grey: {_listed([names[row] for row in grey])}",
        )
    shown = _listed([names[row] for row in colour])
    if not fit.resize:
        raise DataError(
            f"{description}: {len(grey):,} of {total} are grey, {len(colour):,} {_are(colour)} in colour: {shown}; "
            "pass resize=True to turn them grey, or channels=3 to take all as colour"
        )
    return 1, (
        f"{description}: {len(grey):,} of {total} are grey, so grey is taken; {len(colour):,} "
        f"{_are(colour)} turned grey: {shown}",
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED:,} more"


def _are(rows: Sequence[int]) -> str:
    return "is" if len(rows) == 1 else "are"


def _words(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
