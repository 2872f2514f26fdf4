"""The pictures of a folder and all below it, in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from glow_deploy.artifact.files import read_regular
from glow_deploy.errors import DataError
from glow_deploy.images import find_in_folder

from .rows import LARGEST_PICTURE, SourceRow

__all__ = ["FolderRows"]


class FolderRows:
    """The pictures of a folder. Only their names are in memory.

    Args:
        path: the folder.
        name: what rows are called after.

    Raises:
        DataError: it cannot be listed.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        self._folder, self._name = path, name
        self.paths = find_in_folder(path).paths

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return len(self.paths)

    def read(self, first: int, last: int) -> Iterator[SourceRow]:
        """Read pictures first .. last-1; one that cannot be opened is a row with a fault."""
        for path in self.paths[first:last]:
            name = f"{self._name}/{path.relative_to(self._folder).as_posix()}"
            try:
                yield SourceRow(name=name, data=read_regular(path, most=LARGEST_PICTURE, error=DataError))
            except DataError as error:
                yield SourceRow(name=name, data=None, fault=str(error))
