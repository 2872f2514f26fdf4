"""Directions of attributes in a model's latents: measuring them, keeping them, editing along them."""

from __future__ import annotations

from .directions import Attribute, Directions, DirectionSettings, measure_directions
from .editing import Edited, EditSettings, edit_latents
from .files import load_directions, save_directions
from .labelled import LabelledImages, load_labelled

__all__ = [
    "Attribute",
    "DirectionSettings",
    "Directions",
    "EditSettings",
    "Edited",
    "LabelledImages",
    "edit_latents",
    "load_directions",
    "load_labelled",
    "measure_directions",
    "save_directions",
]
