"""A local page that shows what a bundle makes of a picture, and decodes live while its latents are changed.

Starlette serves it, on uvicorn: both are small, BSD-licensed and well kept, need nothing that has to be compiled, and
leave the page to us, so that it is three files of our own without a build step and works with no network. Gradio would
bring a hundred times as much, a page that loads fonts from elsewhere, and a look that is not the report's; FastAPI's
schemas are of no use to a page that is its own only client.
"""

from __future__ import annotations

from .app import create_app
from .settings import ExploreSettings

__all__ = ["ExploreSettings", "create_app"]
