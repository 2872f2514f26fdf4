"""What rounding the conditioners' weights to float16 does to a model, measured on its golden images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.golden import Golden
from glow_deploy.artifact.manifest import DECODER, ENCODER
from glow_deploy.engines.onnxruntime import open_onnx
from glow_deploy.images import bits_per_dim, x_to_pixels
from glow_deploy.latents.specs import latent_specs

from .graphs import rounded_pair

__all__ = ["WeightCost", "measure_weights"]


@dataclass(frozen=True, kw_only=True)
class WeightCost:
    """Rounded against the bundle's own graphs, on n golden images, in ONNX Runtime on the CPU.

    Attributes:
        n: images.
        bits_change: mean change of bits/dim, rounded minus own.
        bits_largest: largest change of bits/dim of an image, either way.
        exact_images: of n, images that the rounded pair brings back to the very pixel.
        exact_images_before: likewise, of the bundle's own pair.
        max_steps: largest error of a value that the rounded pair brings back, in pixel steps.
    """

    n: int
    bits_change: float
    bits_largest: float
    exact_images: int
    exact_images_before: int
    max_steps: float


def measure_weights(bundle: Bundle, golden: Golden, *, most: int = 64) -> WeightCost:
    """Encode and decode golden images with both pairs.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        BundleError: a weight is too large for float16.
    """
    rows = slice(0, min(most, len(golden)))
    n_bits = bundle.manifest.n_bits
    feeds: dict[str, np.ndarray] = {"x": golden.x[rows]}
    labels = {} if golden.y is None else {"y": golden.y[rows]}
    found = []
    for rounded in (False, True):
        graphs = bundle.read(ENCODER), bundle.read(DECODER)
        if rounded:
            graphs = rounded_pair(*graphs)
        with open_onnx(graphs[0], device="cpu") as encoder, open_onnx(graphs[1], device="cpu") as decoder:
            out = encoder.run({**feeds, **labels})
            z = {spec.name: out[spec.name] for spec in latent_specs(encoder.outputs)}
            found.append((out["log_prob"].astype(np.float64), decoder.run({**z, **labels})["x"].astype(np.float64)))
    (own, own_x), (log_prob, x) = found
    dims = int(np.prod(golden.x.shape[1:]))
    change = bits_per_dim(log_prob, dims=dims, n_bits=n_bits) - bits_per_dim(own, dims=dims, n_bits=n_bits)
    with np.errstate(invalid="ignore"):
        error = np.abs(x - feeds["x"]) * 2**n_bits
    return WeightCost(
        n=len(change),
        bits_change=float(change.mean()),
        bits_largest=float(np.abs(change).max()),
        exact_images=_exact(x, feeds["x"], n_bits),
        exact_images_before=_exact(own_x, feeds["x"], n_bits),
        max_steps=float(error.max()),
    )


def _exact(x: np.ndarray, wanted: np.ndarray, n_bits: int) -> int:
    finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
    pixels = x_to_pixels(np.where(np.isfinite(x), x, 0), n_bits)
    return int((finite & (pixels == x_to_pixels(wanted, n_bits)).reshape(len(x), -1).all(axis=1)).sum())
