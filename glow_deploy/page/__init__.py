"""The page that shows what a bundle makes of a picture, for whoever answers its questions.

It asks for `api/...` through a `transport.js` that whoever uses it puts beside its files: `explore` answers on a
server, `web` in a worker of the visitor's browser. All its addresses are relative.
"""

from __future__ import annotations

from .files import INDEX, page_files

__all__ = ["INDEX", "page_files"]
