"""Small bundles, and pytest runs of their own that verify them."""

from __future__ import annotations

import importlib.util
import shutil
from importlib import metadata

import pytest

# The outer run may have imported the plugin already.
_QUIET = ("-p", "no:hypothesispytest", "-W", "ignore::pytest.PytestAssertRewriteWarning")
PLUGIN = "glow_deploy.verify.pytest_plugin.plugin"


@pytest.fixture(scope="session")
def model(making, tmp_path_factory):
    """A model with its checkpoint and bundle."""
    return making.export_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def stored(model, tmp_path_factory):
    """A report of the bundle's verification in ONNX Runtime on the CPU, to be used as a baseline."""
    from glow_deploy.verify import VerifySettings, verify

    path = tmp_path_factory.mktemp("baseline") / "baseline.json"
    settings = VerifySettings(backends=("onnxruntime-cpu",), random_draws=0)
    path.write_text(verify(model.bundle, settings=settings).to_json())
    return path


@pytest.fixture(scope="session")
def load_plugin():
    """Options that load the plugin where its entry point is not installed, and leave a slow one out."""
    installed = any(entry.value == PLUGIN for entry in metadata.entry_points(group="pytest11"))
    return [*([] if installed else ["-p", PLUGIN]), *_QUIET]


def joined(*options):
    """Write `--glow-x value` as `--glow-x=value`: pytest looks for its root from a path that stands by itself."""
    words = [str(option) for option in options]
    for index in range(len(words) - 1, 0, -1):
        if words[index - 1].startswith("--glow-") and not words[index].startswith("-"):
            words[index - 1 : index + 1] = ["=".join(words[index - 1 : index + 1])]
    return words


@pytest.fixture
def bundle(model, pytester):
    """A copy of the bundle in the folder of the inner run; its tests are called `bundle::...`."""
    return shutil.copytree(model.bundle, pytester.path / "bundle")


@pytest.fixture
def run(pytester, load_plugin):
    """Run pytest on `bundle` within this process."""

    # An inner run forgets what it imported itself, and the next one would import it again.
    for name in ("verify.pytest_plugin.suite", "verify.run", "engines.open", "engines.onnxruntime"):
        importlib.import_module(f"glow_deploy.{name}")
    importlib.import_module("onnxruntime")

    def start(*options, bundle="bundle"):
        return pytester.runpytest_inprocess(*load_plugin, *joined("--glow-bundle", bundle, *options))

    return start


@pytest.fixture
def run_apart(pytester, load_plugin):
    """Run pytest in a process of its own, with exactly these options."""

    def start(*options):
        return pytester.runpytest_subprocess(*load_plugin, *joined(*options), timeout=300)

    return start


@pytest.fixture
def ids(run):
    """The ids that a run collects."""

    def collect(*options, **more):
        result = run("--collect-only", "-q", *options, **more)
        assert result.ret == 0, result.stdout.str()
        return [line for line in result.outlines if "::" in line]

    return collect
