"""Readers that other packages bring: entry points of the group `glow_deploy.readers`.

    [project.entry-points."glow_deploy.readers"]
    mine = "my_package.my_reader:READER"

Only installed packages are asked, and only when a checkpoint has no layout that is known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata

from glow_core.errors import CheckpointError, GlowCoreError
from glow_core.import_options import ImportOptions

from .layers import ForeignGlow
from .reader import Reader, Tensors

__all__ = ["GROUP", "Installed", "installed_readers"]

GROUP = "glow_deploy.readers"

# Whatever a foreign package raises, sys.exit() included: a command that did nothing must not end as if it had.
_FAULTS = (Exception, SystemExit)


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What was found.

    Attributes:
        readers: in the order of their names.
        broken: a line for each entry point that gave no reader, which is passed over.
    """

    readers: tuple[Reader, ...] = ()
    broken: tuple[str, ...] = ()


def installed_readers(own: tuple[Reader, ...]) -> Installed:
    """Load the readers of installed packages.

    Args:
        own: the readers of this package.

    Raises:
        CheckpointError: two readers are for the same project, so that it is not clear which one counts.
    """
    places = {reader.project: "glow-deploy itself" for reader in own}
    readers, broken = [], []
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        place = f"{point.name} of {point.dist.name if point.dist is not None else 'an unknown package'}"
        try:
            reader = point.load()
        except _FAULTS as error:
            broken.append(f"the reader {place} cannot be loaded ({_reason(error)})")
            continue
        if not isinstance(reader, Reader):
            broken.append(f"the reader {place} is a {type(reader).__name__}, not a glow_core.readers.Reader")
            continue
        if reader.project in places:
            raise CheckpointError(
                f"two readers are for {reader.project}: {places[reader.project]} and {place}; uninstall one of them"
            )
        places[reader.project] = place
        readers.append(_blamed(reader, place))
    return Installed(readers=tuple(readers), broken=tuple(broken))


def _blamed(reader: Reader, place: str) -> Reader:
    """Return the reader with its own faults told as such: they are no bug of whoever calls it."""

    def recognise(names: Iterable[str]) -> bool:
        with _blame(place):
            return bool(reader.recognise(names))

    def read(tensors: Tensors, options: ImportOptions) -> ForeignGlow:
        with _blame(place):
            return reader.read(tensors, options)

    return replace(reader, recognise=recognise, read=read)


@contextmanager
def _blame(place: str) -> Iterator[None]:
    try:
        yield
    except GlowCoreError:
        raise  # the reader's own refusal of a file
    except _FAULTS as error:
        raise CheckpointError(
            f"the reader {place} failed on this file ({_reason(error)}); report it to its authors, or uninstall it"
        ) from error


def _reason(error: BaseException) -> str:
    """One line of an error; its own words may be of any length, or fail themselves."""
    try:
        words = str(error)
    except _FAULTS:
        words = ""
    return " ".join(f"{type(error).__name__}: {words}".split())[:200]
