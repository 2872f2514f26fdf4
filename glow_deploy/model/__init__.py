"""One object for one deployed model: pictures in, latents, pictures and likelihoods out."""

from __future__ import annotations

from .deployed import DeployedGlow
from .load import load
from .pictures import Pictures

__all__ = ["DeployedGlow", "Pictures", "load"]
