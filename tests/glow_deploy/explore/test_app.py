from __future__ import annotations

import sys

import pytest

from glow_deploy.errors import DataError, MissingDependencyError
from glow_deploy.explore.settings import ExploreSettings


def test_without_the_packages_the_extra_is_named(bundle, monkeypatch):
    from glow_deploy.explore import create_app
    from glow_deploy.explore.serve import need_uvicorn

    for name in ("uvicorn", "starlette", "starlette.applications"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: create_app(bundle), need_uvicorn):
        with pytest.raises(MissingDependencyError, match=r"glow-deploy\[explore\]"):
            call()


def test_directions_of_another_model_are_refused(grey_bundle, directions_file):
    from glow_deploy.explore import create_app

    with pytest.raises(DataError, match="was made for the model"):
        create_app(grey_bundle, settings=ExploreSettings(directions=directions_file))
