"""Engines whose outputs are changed."""

from __future__ import annotations

import numpy as np

from glow_deploy.engines.example import example_pair
from glow_deploy.latents import encode_images

GREY = 128


class Spoiled:
    """An engine whose outputs are changed: `spoil` gets the inputs and copies of the outputs, and changes those."""

    def __init__(self, engine, spoil):
        self._engine, self._spoil = engine, spoil

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def run(self, feeds):
        out = {name: array.copy() for name, array in self._engine.run(feeds).items()}
        self._spoil(feeds, out)
        return out


def pair(*, decoded=None, encoded=None):
    encoder, decoder = example_pair(size=(2, 2))
    nothing = lambda feeds, out: None  # noqa: E731
    return Spoiled(encoder, encoded or nothing), Spoiled(decoder, decoded or nothing)


def grey(count: int):
    return encode_images(example_pair(size=(2, 2))[0], np.full((count, 1, 2, 2), GREY, np.uint8))
