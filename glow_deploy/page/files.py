"""The files themselves."""

from __future__ import annotations

from importlib import resources

__all__ = ["INDEX", "page_files"]

INDEX = "index.html"
_FILES = (INDEX, "page.css", "page.js", "icon.svg")


def page_files() -> dict[str, bytes]:
    """The files by name, as bytes."""
    folder = resources.files(__package__)
    return {name: folder.joinpath(name).read_bytes() for name in _FILES}
