"""Bundles on the Hugging Face Hub, with a model card; what comes from there is checked like any file of a stranger."""

from __future__ import annotations

from .pull import Pulled, pull
from .push import HubSettings, Pushed, push

__all__ = ["HubSettings", "Pulled", "Pushed", "pull", "push"]
