"""The pictures that a page checks its browser with: samples of the model, and what ONNX Runtime makes of them here.

Samples, because every visitor can load them: golden images may be somebody's own pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.manifest import DECODER, ENCODER, Manifest
from glow_deploy.engines.onnxruntime import open_onnx
from glow_deploy.errors import UnsoundModelError
from glow_deploy.images import bits_per_dim, values_to_x, x_to_pixels, x_to_values
from glow_deploy.latents.sampling import SampleSettings, concatenate_samples, sample
from glow_deploy.latents.specs import latent_specs
from glow_deploy.numerics.gates import Factors, factors_for

from .graphs import rounded_pair

__all__ = ["Checks", "check_images"]

_IMAGES = 2
_ULP = 2.0**-23  # spacing of float32 at 1
_LOST = 0.02  # share of values, where a model is not exact by a wide margin


@dataclass(frozen=True, kw_only=True, eq=False)
class Checks:
    """Pictures with what the graphs of a site make of them, and how far off a browser may be.

    Attributes:
        values: [N,C,H,W] uint8, 8-bit values.
        labels: [N] classes, or None.
        bits: [N] float64, bits/dim at bin centres.
        bits_limit: how far from `bits` a browser's may be.
        lost_limit: of all values, those that need not come back as the pixels that they were.
    """

    values: np.ndarray
    labels: np.ndarray | None
    bits: np.ndarray
    bits_limit: float
    lost_limit: int

    def __len__(self) -> int:
        return len(self.values)


def check_images(bundle: Bundle, *, rounded: bool) -> Checks:
    """Draw samples, encode them at bin centres and decode them again, in ONNX Runtime on the CPU.

    Args:
        bundle: opened.
        rounded: with the conditioners' weights rounded to float16, as the site has them.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        UnsoundModelError: a sample, its likelihood or its reconstruction is not finite.
        BundleError: a weight is too large for float16.
    """
    manifest = bundle.manifest
    n_bits, classes = manifest.n_bits, manifest.num_classes
    graphs = bundle.read(ENCODER), bundle.read(DECODER)
    if rounded:
        graphs = rounded_pair(*graphs)
    settings = SampleSettings(labels=None if classes is None else tuple(range(min(classes, _IMAGES))))
    with open_onnx(graphs[0], device="cpu") as encoder, open_onnx(graphs[1], device="cpu") as decoder:
        drawn = concatenate_samples(sample(decoder, count=_IMAGES, settings=settings))
        values = np.stack([x_to_values(x, n_bits) for x in drawn.x])
        x = np.stack([values_to_x(one, n_bits) for one in values])
        labels = {} if drawn.labels is None else {"y": drawn.labels}
        out = encoder.run({"x": x, **labels})
        z = {spec.name: out[spec.name] for spec in latent_specs(encoder.outputs)}
        log_prob = out["log_prob"].astype(np.float64)
        x_hat = decoder.run({**z, **labels})["x"].astype(np.float64)
    if not (np.isfinite(log_prob).all() and np.isfinite(x_hat).all()):
        raise UnsoundModelError(
            f"{bundle.path}: samples of this model have no finite likelihood or reconstruction, so no browser can be "
            "checked with them; see `glow-deploy verify`"
        )
    bits = bits_per_dim(log_prob, dims=x[0].size, n_bits=n_bits)
    factors = factors_for(manifest.precision)
    error = float(np.abs(x_hat - x).max()) * 2**n_bits
    lost = int((x_to_pixels(x_hat, n_bits) != x_to_pixels(x, n_bits)).sum())
    return Checks(
        values=values,
        labels=drawn.labels,
        bits=bits,
        bits_limit=_bits_limit(manifest, factors, largest=float(np.abs(bits).max())),
        lost_limit=0 if error * factors.exact_margin < 0.5 else max(2 * lost, int(_LOST * x.size)),
    )


def _bits_limit(manifest: Manifest, factors: Factors, *, largest: float) -> float:
    """The limit that `verify` has for images that the yardstick was not measured on, and no more than its ceiling."""
    figures = manifest.numerics
    measured = figures.yardstick if figures.precision is None else figures.precision.figures
    if measured is None or not measured.bits_per_dim.finite:
        return factors.ceiling_bits_per_dim
    factor = factors.unpaired * (1 + factors.unpaired_few / measured.n**0.5)
    floor = factors.floor_ulps_log_prob * _ULP * max(largest, 1.0)
    return float(min(max(factor * measured.bits_per_dim.max, floor), factors.ceiling_bits_per_dim))
