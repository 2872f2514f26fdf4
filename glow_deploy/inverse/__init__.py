"""Inverse problems with a trained flow as the prior: filling in missing pixels, and finding the nearest likely image.

Everything here is NumPy; gradients come from `glow_deploy.engines.pytorch_gradient`, which needs torch.
"""

from __future__ import annotations

from .gradient_model import GradientModel
from .inpainting import Filling, InpaintSettings, inpaint
from .likelihood import image_bits_per_dim, psnr
from .masks import box_mask, read_mask
from .projection import Projection, ProjectSettings, project

__all__ = [
    "Filling",
    "GradientModel",
    "InpaintSettings",
    "ProjectSettings",
    "Projection",
    "box_mask",
    "image_bits_per_dim",
    "inpaint",
    "project",
    "psnr",
    "read_mask",
]
