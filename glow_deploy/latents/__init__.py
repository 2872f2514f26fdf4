"""Latents on any engine, without torch: sampling, coding, interpolation, directions and edits, scores."""

from __future__ import annotations

from .classes import class_log_prob, class_posterior
from .coding import (
    Decoded,
    EncodeSettings,
    Latents,
    PictureBatch,
    concatenate_latents,
    decode_latents,
    encode_images,
    encode_stream,
)
from .direction_files import load_directions, save_directions
from .directions import Attribute, Directions, DirectionSettings, measure_directions
from .editing import Edited, EditSettings, edit_latents
from .files import load_latents, save_latents
from .interpolation import (
    Interpolation,
    InterpolationSettings,
    blend,
    interpolate,
    interpolate_grid,
    interpolate_images,
)
from .labelled import LabelledImages, load_labelled
from .noise import dequantisation, noise
from .sampling import SampleBatch, SampleSettings, concatenate_samples, sample
from .scoring import Reference, Scores, ScoreSettings, score_images, score_stream
from .specs import Progress, check_labels, conditional, finite_rows, latent_specs, need_role

__all__ = [
    "Attribute",
    "Decoded",
    "DirectionSettings",
    "Directions",
    "EditSettings",
    "Edited",
    "EncodeSettings",
    "Interpolation",
    "InterpolationSettings",
    "LabelledImages",
    "Latents",
    "PictureBatch",
    "Progress",
    "Reference",
    "SampleBatch",
    "SampleSettings",
    "ScoreSettings",
    "Scores",
    "blend",
    "check_labels",
    "class_log_prob",
    "class_posterior",
    "concatenate_latents",
    "concatenate_samples",
    "conditional",
    "decode_latents",
    "dequantisation",
    "edit_latents",
    "encode_images",
    "encode_stream",
    "finite_rows",
    "interpolate",
    "interpolate_grid",
    "interpolate_images",
    "latent_specs",
    "load_directions",
    "load_labelled",
    "load_latents",
    "measure_directions",
    "need_role",
    "noise",
    "sample",
    "save_directions",
    "save_latents",
    "score_images",
    "score_stream",
]
