from __future__ import annotations

import json
import os
import platform
from importlib import metadata

from glow_deploy import __version__
from glow_deploy.verify.environment import environment


def test_it_is_this_machine_in_plain_values():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert (found["python"], found["cpus"]) == (platform.python_version(), os.cpu_count())
    assert found["versions"]["glow-deploy"] == __version__
    assert found["versions"]["numpy"] == metadata.version("numpy")


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    def none(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", none)
    assert environment()["versions"] == {"glow-deploy": __version__}
