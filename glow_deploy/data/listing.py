"""Which pictures a training run was given, kept beside it: so that it goes on with the same ones."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from glow_deploy.artifact.files import atomic_write
from glow_deploy.errors import DataError
from glow_deploy.progress import CountProgress

from .image_set import ImageSet, LeftOut
from .opened import OpenedImages, Part

__all__ = ["ListedPart", "Listing", "list_pictures", "read_listing", "restore_pictures"]

_VERSION = 1
_LONGEST = 1 << 30  # bytes


@dataclass(frozen=True, kw_only=True)
class ListedPart:
    """The pictures of one part of a set.

    Attributes:
        names: of every picture, in order.
        labels: of every picture; None without classes.
        lost: names that others have stood in for.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...] | None = None
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The pictures of every part that a run reads."""

    parts: dict[Part, ListedPart]

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        document = {"version": _VERSION, "parts": {name: asdict(part) for name, part in self.parts.items()}}
        atomic_write(path, json.dumps(document, ensure_ascii=True).encode())


def list_pictures(opened: OpenedImages) -> Listing | None:
    """Return what the opened parts hold; None for images without names, such as those of an .npz file."""
    parts: dict[Part, ListedPart] = {}
    for part, images in opened.opened.items():
        if images.names is None:
            return None
        parts[part] = ListedPart(
            names=tuple(images.names),
            labels=None if images.labels is None else tuple(images.labels.tolist()),
            lost=tuple(images.names[row] for row in images.stand_ins),
        )
    return Listing(parts=parts)


def read_listing(path: Path) -> Listing | None:
    """Read what `Listing.write` wrote; None where there is no such file.

    Raises:
        DataError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError("it is too long")
        document = json.loads(path.read_bytes())
        if document["version"] != _VERSION:
            raise ValueError(f"version {document['version']!r} is not known")
        return Listing(parts={_part_name(name): _listed(part) for name, part in document["parts"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{path} is damaged ({reason}); without it the run goes on with all pictures that are there, if they are "
            "still the same: remove it"
        ) from error


def restore_pictures(
    opened: OpenedImages, listing: Listing, *, skip_unreadable: bool, progress: CountProgress | None = None
) -> None:
    """Bring the parts of a set to what is listed, in its order.

    Pictures that are not listed are left out, and that is noted.

    Args:
        opened: the set, its headers read and damaged ones left out.
        listing: of the run.
        skip_unreadable: let others stand in for pictures that are gone or damaged, which all are decoded to know.
        progress: told how many have been decoded.

    Raises:
        DataError: pictures are gone or damaged and may not be left out, or the set has other parts.
    """
    for part, listed in listing.parts.items():
        if part not in opened.parts:
            raise DataError(
                f"the images are laid out in another way than when the run began: there is no part named {part} now"
            )
        opened.arrange(part, _restored(opened.part(part), listed, skip_unreadable=skip_unreadable, progress=progress))


def _restored(
    images: ImageSet, listed: ListedPart, *, skip_unreadable: bool, progress: CountProgress | None
) -> ImageSet:
    if images.names is None:
        raise DataError(f"{images.description}: the run was trained on picture files, and these are none")
    # File systems spell accents in two ways, and a set may have moved from one to the other.
    composed, listed = [_composed(name) for name in images.names], _composed_part(listed)
    if len(set(composed)) == len(images.names) and len(set(listed.names)) == len(listed.names):
        images = replace(images, names=composed)
    assert images.names is not None
    wanted = set(listed.names) - set(listed.lost)
    kept = [row for row, name in enumerate(images.names) if name in wanted]
    added = len(images.names) - sum(name in wanted or name in listed.lost for name in images.names)
    if not kept:
        raise DataError(f"{images.description}: none of the {len(listed.names):,} pictures of the run is there")
    found = images if len(kept) == len(images.names) else images.select(kept)
    if skip_unreadable:
        found = found.readable(progress)
    there = set(found.names or ())
    reasons = {left.name: left.reason for left in found.left_out}
    gone = [images.root + name for name in listed.names if name in wanted and name not in there]
    lost = tuple(LeftOut(name=name, reason=reasons.get(name, f"{name} is gone")) for name in gone)
    if lost and not skip_unreadable:
        what = "1 picture" if len(lost) == 1 else f"{len(lost):,} pictures"
        raise DataError(
            f"{images.description}: {what} of {len(listed.names):,} that the run was trained on cannot be read: "
            f"{lost[0].reason}{'' if len(lost) == 1 else ', for one'}; put them back, or pass skip_unreadable=True to "
            "let others of their class stand in"
        )
    labels = None if listed.labels is None else np.array(listed.labels, np.int64)
    arranged = found.arranged(listed.names, labels)
    notes = list(images.notes)
    if added:
        notes.append(
            f"{images.description}: {added:,} {'picture is' if added == 1 else 'pictures are'} left out that the run "
            "did not begin with"
        )
    if len(arranged.stand_ins):
        notes.append(
            f"{images.description}: others stand in for {len(arranged.stand_ins):,} of the {len(listed.names):,} "
            "pictures that the run began with"
        )
    return replace(arranged, notes=tuple(notes), left_out=lost)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _composed_part(listed: ListedPart) -> ListedPart:
    names = tuple(map(_composed, listed.names))
    if len(set(names)) < len(names):
        return listed
    return replace(listed, names=names, lost=tuple(map(_composed, listed.lost)))


def _part_name(name: str) -> Part:
    if name not in get_args(Part):
        raise ValueError(f"part {name[:40]!r} is not known")
    return name  # type: ignore[return-value]


def _listed(part: Any) -> ListedPart:
    names, labels, lost = part["names"], part["labels"], part["lost"]
    if not names or not all(isinstance(name, str) for name in (*names, *lost)) or len(set(names)) != len(names):
        raise ValueError("names must be different texts")
    if labels is not None and (len(labels) != len(names) or not all(type(label) is int for label in labels)):
        raise ValueError("labels must be one whole number a name")
    return ListedPart(names=tuple(names), labels=None if labels is None else tuple(labels), lost=tuple(lost))
