"""Latents on any engine, without torch: sampling, coding, interpolation, files."""

from __future__ import annotations

from .classes import class_log_prob, class_posterior
from .coding import (
    Decoded,
    EncodeSettings,
    Latents,
    concatenate_latents,
    decode_latents,
    encode_images,
    encode_stream,
)
from .files import LATENT_KEYS, load_latents, save_latents
from .interpolation import Interpolation, InterpolationSettings, interpolate_images, way_between
from .noise import dequantisation, noise
from .sampling import SampleBatch, SampleSettings, concatenate_samples, sample
from .specs import check_labels, conditional, finite_rows, latent_specs, need_role
from .stream import PictureBatch
from .ways import InterpolationMode, blend, interpolate, interpolate_grid

__all__ = [
    "LATENT_KEYS",
    "Decoded",
    "EncodeSettings",
    "Interpolation",
    "InterpolationMode",
    "InterpolationSettings",
    "Latents",
    "PictureBatch",
    "SampleBatch",
    "SampleSettings",
    "blend",
    "check_labels",
    "class_log_prob",
    "class_posterior",
    "concatenate_latents",
    "concatenate_samples",
    "conditional",
    "decode_latents",
    "dequantisation",
    "encode_images",
    "encode_stream",
    "finite_rows",
    "interpolate",
    "interpolate_grid",
    "interpolate_images",
    "latent_specs",
    "load_latents",
    "need_role",
    "noise",
    "sample",
    "save_latents",
    "way_between",
]
