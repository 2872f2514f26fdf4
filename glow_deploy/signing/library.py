"""The package model-signing, loaded when it is first needed, and kept from talking."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

from glow_deploy.artifact.signed import SIGNATURE
from glow_deploy.errors import MissingDependencyError

__all__ = ["load", "quiet", "whole_folder"]


def load(name: str) -> ModuleType:
    """Import a module of the extra `sign`.

    Raises:
        MissingDependencyError: the extra is not installed, or something in it cannot be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"signatures need the package model-signing, which cannot be imported ({error}); install it: "
            "pip install 'glow-deploy[sign]'"
        ) from None


def whole_folder(model_signing: ModuleType) -> object:
    """How model-signing looks at a bundle: file by file, all of them but the signature, Git's own included."""
    config = model_signing.hashing.Config()
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False).set_allow_symlinks(True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what model-signing prints and logs off the output: what matters becomes an error of ours."""
    logger = logging.getLogger("model_signing")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
