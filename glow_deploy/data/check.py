"""Decoding all pictures of a set in the background, while they are put to use already."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from glow_deploy.errors import DataError

from .image_set import ImageSet, LeftOut

__all__ = ["PictureCheck"]


class PictureCheck:
    """Decodes every picture once, in a thread of its own. A context manager; leaving it ends the thread.

    Args:
        sets: what to look at. Images in memory cannot be damaged and are passed over.
    """

    def __init__(self, sets: Sequence[ImageSet]) -> None:
        self._sets = [images for images in sets if images.names is not None]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="picture check", daemon=True)
        self.total = sum(map(len, self._sets))
        self.done = 0
        self.faults: list[LeftOut] = []

    @property
    def finished(self) -> bool:
        """Whether every picture has been decoded."""
        return self.done == self.total

    def __enter__(self) -> PictureCheck:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        for images in self._sets:
            for row in range(len(images)):
                if self._end.is_set():
                    return
                try:
                    images.read(np.array([row]))
                except DataError as error:
                    self.faults.append(LeftOut(name=images.name(row), reason=str(error)))
                self.done += 1
