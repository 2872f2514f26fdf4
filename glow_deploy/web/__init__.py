"""The page of `explore` as static files: encoder and decoder run in the visitor's browser, on no server of ours.

onnxruntime-web runs the graphs, in WebAssembly on one thread, for which a server needs no headers, or on WebGPU. The
scripts are our own, without a build step: they repeat what `latents`, `directions` and `explore` compute, and a test
holds them to it.
"""

from __future__ import annotations

from .settings import WebSettings
from .site import Site, build_site

__all__ = ["Site", "WebSettings", "build_site"]
