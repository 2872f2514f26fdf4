"""A bundle as a service: a model repository for Triton, and a small server of the same protocol.

Both serve the same five models under the same names with the same tensors, so that one client, and one verification,
fits both: NAME-encoder, NAME-decoder, NAME-score, NAME-sample and NAME-canary,
and for an exact bundle NAME-integers.
"""

from __future__ import annotations

from .repository import write_repository
from .settings import ServeSettings, TritonSettings

__all__ = ["ServeSettings", "TritonSettings", "write_repository"]
