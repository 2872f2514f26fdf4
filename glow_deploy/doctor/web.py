"""Whether onnxruntime-web can run here."""

from __future__ import annotations

from glow_deploy.artifact.flavors import WEB
from glow_deploy.engines.web import web_problem

__all__ = ["examine_web"]


def examine_web() -> dict[str, str]:
    """Why each of its backends cannot run, by name; empty where nothing speaks against it. Starts nothing."""
    return {name: web_problem(name) or "" for name in WEB}
