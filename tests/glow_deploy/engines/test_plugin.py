"""Backends that other packages bring: the worked page, and what goes wrong with them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import glow_deploy
from glow_deploy.artifact import flavors
from glow_deploy.artifact.flavors import GROUP, as_flavor, engine_files, graph_backend, installed_backends
from glow_deploy.engines import EngineBase, EngineDetails, EnginePlugin
from glow_deploy.engines.open import open_engine, open_graph
from glow_deploy.engines.plugin import find_plugin
from glow_deploy.errors import EngineError, UsageError

PAGE = (Path(__file__).parents[3] / "docs" / "any-engine.md").read_text()


def block(after):
    """The first fenced block after some words of the page."""
    return re.search(r"```(?:python|sh|toml)\n(.*?)^```$", PAGE[PAGE.index(after) :], re.M | re.S)[1]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder in which the package of the page is installed, as pip would leave it."""
    folder = tmp_path / "site"
    (folder / "my_runtime").mkdir(parents=True)
    (folder / "my_runtime" / "__init__.py").write_text("")
    (folder / "my_runtime" / "backend.py").write_text(block("`my_runtime/backend.py`:"))
    info = folder / "my_runtime_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-runtime-package\nVersion: 1.0\n")
    toml = block("`pyproject.toml` of your package")
    name, value = re.search(r'^(onnx-reference) = "(.*)"$', toml, re.M).groups()
    assert f'[project.entry-points."{GROUP}"]' in toml
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(making, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugin")
    return making.export_model(folder, golden=4, steps=1, width=4).bundle


def test_the_backend_of_the_page_verifies_and_runs_like_ours(site, bundle):
    assert installed_backends() == ("onnx-reference",)
    report = glow_deploy.verify(
        bundle, backends=("onnxruntime-cpu", "onnx-reference"), random_draws=0, largest_batch=2, batch=4, steps=True
    )
    assert report.sound
    assert len(report.cells) == 4
    facts = {backend.name: backend for backend in report.backends}["onnx-reference"]
    assert facts.encoder["provider"] == "ReferenceEvaluator"
    assert facts.canary.detected == "fp32"
    assert "onnx-reference" in [part.backend for part in report.steps.backends if not part.reason]
    with glow_deploy.load(bundle, backend="onnx-reference") as ours, glow_deploy.load(bundle) as theirs:
        np.testing.assert_array_equal(ours.sample(2, seed=1).pixels, theirs.sample(2, seed=1).pixels)


def test_exact_graphs_are_not_given_to_it(site):
    graph = SimpleNamespace(facts=SimpleNamespace(precision="exact"))
    with pytest.raises(EngineError, match="of onnx-reference it is not known"):
        find_plugin("onnx-reference").open(b"", graph=graph, source="enc", threads=None)


@pytest.mark.slow
def test_the_commands_of_the_page_take_it(site, bundle, tmp_path):
    (tmp_path / "bundle").symlink_to(bundle)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{known}", "PATH": path}
    for line in block("the commands know the name:").splitlines():
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_that_nobody_vouches_for_is_tried_by_it_first(site, bundle, tmp_path, monkeypatch):
    lone = tmp_path / "lone.onnx"
    lone.write_bytes((bundle / "decoder.onnx").read_bytes())
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{known}")
    with open_engine(lone, backend="onnx-reference") as engine:
        assert engine.details.backend == "onnx-reference"
    before, after = "def _run(self, arrays, batch):", "def _run(self, arrays, batch):\n        __import__('os').abort()"
    (site / "my_runtime" / "backend.py").write_text(block("`my_runtime/backend.py`:").replace(before, after))
    with pytest.raises(EngineError, match=r"made onnx-reference crash in a test process .*or name one in a bundle"):
        open_engine(lone, backend="onnx-reference")


@pytest.fixture
def install(monkeypatch):
    """Make entry points look as if packages brought them."""
    found = flavors.metadata.entry_points

    def make(*points):
        made = [
            SimpleNamespace(name=name, value=f"{name}:B", dist=SimpleNamespace(name=f"{name}-package"), load=load)
            for name, load in points
        ]
        monkeypatch.setattr(
            flavors.metadata, "entry_points", lambda group: made if group == GROUP else found(group=group)
        )

    return make


class Runtime(EngineBase):
    """Gives what it is told to, or raises it."""

    def __init__(self, graph, gives):
        self._gives = gives
        super().__init__(
            role="decoder",
            n_bits=8,
            inputs=graph.inputs,
            outputs=graph.outputs,
            details=EngineDetails(
                backend="b", provider="two\nlines", device="cpu", precision="fp32", tf32=False, versions={"v": "1"}
            ),
        )

    def run(self, feeds):
        return self._gives(feeds)

    def _run(self, arrays, batch):
        raise AssertionError

    def _close(self):
        pass


def giving(gives):
    return lambda: EnginePlugin(open=lambda model, *, graph, source, threads: Runtime(graph, gives))


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def run(tiny):
    with open_graph(tiny.decoder().SerializeToString(), backend="theirs") as engine:
        assert engine.details.provider == "two lines"
        return engine.run({"z1": tiny.expected(tiny.images(2))[0].astype(np.float32)})


def tiny_shape(tiny):
    return tiny.images(1).shape[1:]


FAULTS = [SystemExit(0), KeyError("weights\nof two lines"), RuntimeError("long " * 1000)]


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["load", "open", "run"])
def test_a_backend_that_fails_is_blamed_by_name_in_one_line(install, tiny, where, error):
    load = {
        "load": failing(error),
        "open": lambda: EnginePlugin(open=failing(error)),
        "run": giving(failing(error)),
    }[where]
    install(("theirs", load))
    with pytest.raises(EngineError, match=rf"the backend theirs of theirs-package .*{type(error).__name__}") as told:
        run(tiny)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 450


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (lambda feeds: {}, "gave NoneType for x"),
        (lambda feeds: {"x": [1.0]}, "gave list for x"),
        (lambda feeds: {"x": np.zeros((2, 3, 2, 2))}, "gave float64 for x"),
        (lambda feeds: {"x": np.zeros((1, 3, 2, 2), np.float32)}, "returned the shape"),
        (lambda feeds: 3, "TypeError"),
    ],
)
def test_what_it_gives_is_looked_at(install, tiny, gives, said):
    install(("theirs", giving(gives)))
    with pytest.raises(EngineError, match=said):
        run(tiny)


def test_its_own_refusal_is_its_own_word_and_ctrl_c_passes(install, tiny):
    install(("theirs", lambda: EnginePlugin(open=failing(EngineError("no such chip")))))
    with pytest.raises(EngineError, match=r"^no such chip$"):
        run(tiny)
    install(("theirs", giving(failing(KeyboardInterrupt()))))
    with pytest.raises(KeyboardInterrupt):
        run(tiny)


def test_a_name_that_clashes_or_is_none_is_told_where_it_is_asked_for(install, tiny):
    sound = giving(dict)
    install(("theirs", lambda: 3))
    with pytest.raises(EngineError, match=r"theirs of theirs-package is a int, not a .*EnginePlugin"):
        run(tiny)
    points = [("theirs", sound), ("twice", sound), ("twice", sound), ("tensorrt", sound), ("No Name", sound)]
    points += [("openvino-cpu", sound), ("onnxruntime", sound), ("openvino", sound)]
    install(*points)
    find_plugin("theirs")  # the others keep neither it nor ours from work
    assert isinstance(find_plugin("openvino-cpu").open, partial)
    assert find_plugin("openvino-cpu").open.func.__name__ == "OpenVinoEngine"
    assert installed_backends() == ("theirs", "twice")
    assert graph_backend("openvino") == graph_backend("onnxruntime") == "auto"
    for name, said in (
        ("twice", "two backends are called twice: twice of twice-package and twice"),
        ("tensorrt", "two backends are called tensorrt: that of glow-deploy itself and"),
        ("onnxruntime", "two backends are called onnxruntime: that of glow-deploy itself and"),
        ("openvino", "two backends are called openvino: that of glow-deploy itself and"),
        ("No Name", "has no name of small letters"),
    ):
        with pytest.raises(EngineError, match=said):
            find_plugin(name)


def test_what_it_is_fed_and_what_it_gives_are_copies(install, tiny):
    kept = np.zeros((2, *tiny_shape(tiny)), np.float32)

    def spoil(feeds):
        (z,) = feeds.values()
        kept[...] = z.sum()
        z[...] = np.nan
        return {"x": kept, "more": kept}

    install(("theirs", giving(spoil)))
    with open_graph(tiny.decoder().SerializeToString(), backend="theirs") as engine:
        ones = np.ones((2, *engine.inputs[0].shape), np.float32)
        first = engine.run({"z1": ones})["x"]
        before = first.copy()
        engine.run({"z1": ones * 3})
        assert (ones == 1).all()
        np.testing.assert_array_equal(first, before)
        assert engine.run({"z1": ones}).keys() == {"x"}


def test_what_it_prints_is_kept_out_of_stdout(install, tiny, capfd):
    def loud(feeds):
        print("from Python")
        os.write(1, b"from native code\n")
        return {"x": np.zeros((2, *tiny_shape(tiny)), np.float32)}

    def load():
        print("at import")
        return giving(loud)()

    install(("theirs", load))
    with open_graph(tiny.decoder().SerializeToString(), backend="theirs") as engine:
        engine.run({"z1": np.zeros((2, *engine.inputs[0].shape), np.float32)})
    print("the answer")
    out, told = capfd.readouterr()
    assert out == "the answer\n"
    assert [line in told for line in ("at import", "from Python", "from native code")] == [True] * 3


@pytest.mark.parametrize("wrong", [{"versions": 3}, {"max_batch": 0}, {"max_batch": "4"}], ids=str)
def test_its_largest_batch_is_kept_and_details_that_fail_close_it(install, tiny, wrong):
    rows, closed = [], []

    def load(**changes):
        def run(feeds):
            rows.append(len(feeds["z1"]))
            return {"x": np.zeros((rows[-1], *shape), np.float32)}

        def open_one(model, *, graph, source, threads):
            made = Runtime(graph, run)
            made._details = replace(made._details, **changes)
            made._close = lambda: closed.append(1)
            return made

        return EnginePlugin(open=open_one)

    model = tiny.decoder().SerializeToString()
    install(("theirs", lambda: load(max_batch=2)))
    with open_graph(model, backend="theirs") as engine:
        shape = engine.outputs[0].shape
        assert engine.details.max_batch == 2
        assert len(engine.run({"z1": np.zeros((5, *engine.inputs[0].shape), np.float32)})["x"]) == 5
    assert (rows, closed) == ([2, 2, 1], [1])
    install(("theirs", lambda: load(**wrong)))
    with pytest.raises(EngineError, match=r"theirs of theirs-package failed to say what runs the graph"):
        open_graph(model, backend="theirs")
    assert closed == [1, 1]


def test_a_name_alone_imports_nothing_and_an_unknown_one_is_told_with_those_there_are(install, tiny, bundle):
    install(("theirs", failing(AssertionError("imported"))))
    assert graph_backend("theirs") == "theirs"
    assert as_flavor("flavor", "theirs") == "theirs"
    assert engine_files("theirs") == engine_files("onnx")
    for call in (
        lambda: glow_deploy.load(bundle, backend="thiers"),
        lambda: open_engine(bundle / "decoder.onnx", backend="thiers"),
        lambda: glow_deploy.verify(bundle, backends="thiers"),
        lambda: glow_deploy.bench(bundle, backends="thiers"),
        lambda: as_flavor("flavor", "thiers"),
        lambda: find_plugin("thiers"),
    ):
        with pytest.raises(UsageError, match=r"thiers.*theirs"):
            call()


def test_its_name_says_where_it_runs(install, bundle):
    install(("theirs", giving(dict)))
    with pytest.raises(UsageError, match="says itself where it runs"):
        open_engine(bundle / "decoder.onnx", backend="theirs", device="cuda")
