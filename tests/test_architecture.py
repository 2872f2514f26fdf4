"""The house rules that a reader relies on, checked on the source: who may import whom, and what is never done.

docs/architecture.toml lists the rooms and their floors.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).parents[1]
FOLDERS = {"glow_core": ROOT / "glow_core", "glow_deploy": ROOT / "glow_deploy", "glow_cli": ROOT / "cli"}
HEAVY = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "polygraphy", "matplotlib")
# Where glow_deploy may touch torch or glow_core: reading a trained model, and running it as the reference.
# What it may take from glow_core anywhere: rooms that know neither torch nor the model.
SHARED = ("glow_core.locks", "glow_core.presses", "glow_core.rounding", "glow_core.temporaries")
TORCH_ALLOWED = ("glow_deploy.folding.fold", "glow_deploy.engines.pytorch", "glow_deploy.export.")


@dataclass(frozen=True)
class Import:
    """One import statement."""

    target: str
    line: int
    at_top: bool
    for_types: bool


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((package, *parts))] = path
    return found


MODULES = modules()


def imports(name: str, source: str, *, is_package: bool) -> Iterator[Import]:
    """Every import of a module, relative ones made absolute."""

    def walk(node: ast.AST, at_top: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, at_top, for_types)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = name.split(".")
                    parts = parts[: len(parts) - child.level + is_package]
                    base = ".".join([*parts, *([child.module] if child.module else [])])
                yield Import(base, child.lineno, at_top, for_types)
                for alias in child.names:
                    if f"{base}.{alias.name}" in MODULES:
                        yield Import(f"{base}.{alias.name}", child.lineno, at_top, for_types)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                yield from walk(child, at_top, True)
            else:
                inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from walk(child, at_top and not inside, for_types)

    yield from walk(ast.parse(source), True, False)


@functools.cache
def all_imports(name: str) -> list[Import]:
    path = MODULES[name]
    return list(imports(name, path.read_text(), is_package=path.name == "__init__.py"))


def forbidden(name: str, source: str | None = None) -> list[str]:
    """Imports against the direction cli -> glow_deploy -> glow_core, or of what a package must not know."""
    never = {
        "glow_core": {"glow_deploy", "glow_cli", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "typer"},
        "glow_deploy": {"glow_cli", "typer", "click"},
        "glow_cli": set(),
    }[name.partition(".")[0]]
    if name.startswith("glow_deploy") and not name.startswith(TORCH_ALLOWED):
        never |= {"torch", "glow_core"}
    found = all_imports(name) if source is None else list(imports(name, source, is_package=False))
    return [
        f"{name}:{item.line} imports {item.target}"
        for item in found
        if item.target.partition(".")[0] in never and item.target not in SHARED and not item.for_types
    ]


def test_imports_run_one_way():
    assert [item for name in MODULES for item in forbidden(name)] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("glow_core.model", "from glow_deploy.errors import X"),
        ("glow_core.model", "def f():\n    import onnx"),
        ("glow_deploy.bench", "def f():\n    import torch"),
        ("glow_deploy.bench", "from glow_core.errors import X"),
        ("glow_deploy.bench", "from glow_core import temporaries, model"),
        ("glow_deploy.bench", "import typer"),
        ("glow_deploy.verify.x", "from glow_cli import main"),
    ],
)
def test_the_direction_check_can_fail(name, source):
    assert forbidden(name, source)


def test_names_used_only_by_type_checkers_are_allowed():
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"
    assert forbidden("glow_deploy.bench", source) == []


@pytest.mark.parametrize("name", ["glow_deploy", "glow_core", "glow_cli.main", "glow_core.training"])
def test_importing_a_package_loads_nothing_heavy(name):
    code = f"import sys, {name}; print(sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


HOUSES = {
    house["package"]: house for house in tomllib.loads((ROOT / "docs" / "architecture.toml").read_text())["house"]
}


def rooms(package: str, edges: Iterable[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Which room of a package imports which, with an example: a room is a folder or a file right below the package.

    Args:
        package: dotted name.
        edges: module that imports, module that is imported; late and type-only imports included.
    """
    found: dict[str, dict[str, str]] = {}
    for importer, imported in edges:
        if all(f"{name}.".startswith(f"{package}.") for name in (importer, imported)):
            a, b = (
                name.removeprefix(package).lstrip(".").partition(".")[0] or "__init__" for name in (importer, imported)
            )
            if a != b:
                found.setdefault(a, {}).setdefault(b, f"{importer} imports {imported}")
    return found


@functools.cache
def every_edge() -> list[tuple[str, str]]:
    return [(name, item.target) for name in MODULES for item in all_imports(name) if item.target in MODULES]


PACKAGES = sorted({name.rpartition(".")[0] for name in MODULES if "." in name})


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_each_other_in_no_circle(package):
    """At every level of the tree, whatever is imported late or for type checkers only."""
    found = rooms(package, every_edge())
    circle = cycle({room: set(found.get(room, {})) for room in {*found, *(b for a in found.values() for b in a)}})
    assert circle is None, [found[a][b] for a, b in pairwise(circle)]


def test_no_command_imports_another():
    """What two of them share lies in `glow_cli.common`."""
    commands = [name for name in MODULES if name.startswith("glow_cli.commands.")]
    assert len(commands) > 20
    assert [
        (name, item.target)
        for name in commands
        for item in all_imports(name)
        if item.target.startswith("glow_cli.commands.") and not item.target.startswith(name)
    ] == []


@pytest.mark.parametrize("package", HOUSES)
def test_every_import_goes_to_a_lower_floor(package):
    floors = HOUSES[package]["floors"]
    height = {room: -number for number, floor in enumerate(floors) for room in floor}
    there = {
        name.removeprefix(f"{package}.").partition(".")[0] for name in MODULES if name.startswith(f"{package}.")
    } | {"__init__"}
    assert there - {"__init__"} <= set(height), "a room stands on no floor of docs/architecture.toml"
    assert set(height) <= there, "docs/architecture.toml lists a room that is not there"
    upwards = [
        example
        for a, targets in rooms(package, every_edge()).items()
        for b, example in targets.items()
        if height.get(b, -99) >= height.get(a, 99)
    ]
    assert upwards == []


def test_the_floor_check_can_fail():
    edges = [("p.a.x", "p.b"), ("p.b.y", "p.a.z"), ("p.a.x", "p.a.z"), ("p.c", "p"), ("q.a", "q.b")]
    found = rooms("p", edges)
    assert found == {
        "a": {"b": "p.a.x imports p.b"},
        "b": {"a": "p.b.y imports p.a.z"},
        "c": {"__init__": "p.c imports p"},
    }
    assert cycle({room: set(targets) for room, targets in found.items()}) is not None


def test_the_picture_shows_the_list():
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "scripts" / "draw_architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawn = module.draw(list(HOUSES.values()))
    assert (ROOT / "docs" / "architecture.svg").read_text() == drawn, "run python scripts/draw_architecture.py"


def test_the_cycle_check_can_fail():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) is not None
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def cycle(edges: dict[str, set[str]]) -> list[str] | None:
    """A circle, the first name again at its end; or None."""
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        path.append(name)
        for target in sorted(edges.get(name, ())):
            found = visit(target)
            if found is not None:
                return found
        path.pop()
        done.add(name)
        return None

    return next((found for name in sorted(edges) if (found := visit(name)) is not None), None)


def undocumented(name: str, source: str) -> list[str]:
    """What is missing of a module's docstrings and its list of public names."""
    tree = ast.parse(source)
    defined = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    listed = public_names(tree)
    own = [node for known, node in defined.items() if not known.startswith("_")]
    missing = [f"{name}.{node.name} has no docstring" for node in own if not ast.get_docstring(node)]
    if not ast.get_docstring(tree):
        missing.append(f"{name} has no docstring")
    if own and not name.startswith("glow_cli"):
        if listed is None:
            missing.append(f"{name} has no __all__")
        elif not set(listed) <= names(tree):
            missing.append(f"{name}.__all__ lists names that do not exist")
    return missing


def test_public_names_exist_and_are_documented():
    shown = {name: path for name, path in MODULES.items() if not name.endswith(("__main__", "_version"))}
    assert [item for name, path in shown.items() for item in undocumented(name, path.read_text())] == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", ["m has no docstring"]),
        ('"""M."""\ndef f(): pass', ["m.f has no docstring", "m has no __all__"]),
        ('"""M."""\n__all__ = ["g"]\ndef f():\n    """F."""', ["m.__all__ lists names that do not exist"]),
    ],
)
def test_the_check_of_docstrings_can_fail(source, said):
    assert undocumented("m", source) == said


def names(tree: ast.Module) -> set[str]:
    """Names that exist at the top of a module, those that `__getattr__` gives included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def public_names(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    return None


UNSAFE_KEYWORDS = {"allow_pickle": True, "weights_only": False, "shell": True, "trust_remote_code": True}
UNSAFE_CALLS = ("eval", "exec", "pickle.load", "pickle.loads", "os.system", "yaml.load", "marshal.loads")


def unsafe(source: str) -> list[str]:
    """Calls that could run code from a file or a shell."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        if ast.unparse(node.func) in UNSAFE_CALLS:
            found.append(ast.unparse(node))
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if keyword.arg in UNSAFE_KEYWORDS and value is UNSAFE_KEYWORDS[keyword.arg]:
                found.append(ast.unparse(node))
        if ast.unparse(node.func) == "torch.load" and not any(k.arg == "weights_only" for k in node.keywords):
            found.append(ast.unparse(node))
    return found


def test_nothing_runs_code_from_files():
    assert [(name, call) for name, path in MODULES.items() for call in unsafe(path.read_text())] == []


@pytest.mark.parametrize(
    "source",
    [
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(x, shell=True)",
        "eval(text)",
        "pickle.loads(data)",
    ],
)
def test_the_safety_check_can_fail(source):
    assert unsafe(source)


def unready_digits(source: str) -> list[str]:
    """Tests of text for digits that `int` does not take: superscripts are some, and so are those of other scripts."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    asked = [(func.attr, ast.unparse(func.value)) for func in calls if isinstance(func, ast.Attribute)]
    return [
        f"{text}.{name}()"
        for name, text in asked
        if name in ("isdigit", "isnumeric") or (name == "isdecimal" and ("isascii", text) not in asked)
    ]


def test_a_number_is_one_before_it_is_read():
    assert [(name, call) for name, path in MODULES.items() for call in unready_digits(path.read_text())] == []


@pytest.mark.parametrize("source", ["x.isdigit()", "x.isnumeric()", "x.isdecimal()", "y.isascii() and x.isdecimal()"])
def test_the_check_of_numbers_can_fail(source):
    assert unready_digits(source)
    assert unready_digits("x[0].isascii() and x[0].isdecimal()") == []


def test_every_package_is_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {name.rpartition(".")[0] if path.name != "__init__.py" else name for name, path in MODULES.items()}
    assert folders == set(settings["packages"])


# Tests of several modules together, and what holds them together. Every other test file is a module's namesake.
SPANNING = {
    "bytes": "what the builders and the serialiser give together",
    "graphs": "encoder and decoder against the model",
    "sixteen_bit": "narrow graphs through several modules",
    "edges_and_priors": "one feature of the model through several modules",
    "signatures": "signed bundles, through everything that `verify` reads",
    "sound": "a sound model passes everywhere",
    "faults": "planted faults, found wherever they are",
    "tampering": "changed files, noticed wherever they are",
    "openvino": "one backend through every command and every section of verify",
    "trained": "a model that was trained, not drawn",
    "real": "a page of a real report",
    "browser": "pages in a real browser",
    "fuzz": "damaged files of every kind",
    "faces": "the embedded data",
    "torch": "against PyTorch",
    "api": "what importing the package gives",
    "outcomes": "the plugin's passes and failures",
    "ci_docs": "the examples of docs/ci",
    "bring_your_own": "the worked page of the docs",
    "normflows_package": "against the package itself",
    "crashes": "training that is killed",
    "initial": "training from given weights",
    "accumulate": "a step in parts",
    "resume": "training that goes on",
    "hostile": "files made to harm, in every command",
    "bad_inputs": "every command refuses what it cannot use",
    "class_conditional": "classes through every command",
    "classes_between_pictures": "classes in commands on several pictures",
    "examples": "the examples of every --help",
    "json": "the documents of every command",
    "remedies": "what errors say to do",
}  # fmt: skip


def test_the_tests_mirror_the_packages():
    strangers, unused = [], set(SPANNING)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        place = path.relative_to(ROOT / "tests")
        if len(place.parts) == 1 or place.parts[0] == "gpu":
            continue  # of the project as a whole, and of what a GPU does
        folder, name = ROOT.joinpath(*place.parts[:-1]), place.stem.removeprefix("test_")
        assert folder.is_dir(), f"tests/{place} lies in a folder that mirrors no package"
        if (folder / f"{name}.py").is_file() or (folder / name).is_dir():
            continue
        unused.discard(name)
        if name not in SPANNING:
            strangers.append(str(place))
    assert strangers == [], "name a test file after the module it tests, or say in SPANNING what it spans"
    assert unused == set(), "SPANNING lists what is not there"


def test_modules_of_the_own_folder_are_imported_relatively_and_all_others_by_their_full_name():
    wrong = []
    for package in ("glow_core", "glow_deploy"):
        for path in sorted((ROOT / package).rglob("*.py")):
            folder = ".".join(path.relative_to(ROOT).parts[:-1])
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.ImportFrom):
                    continue
                own = (node.module or "").rpartition(".")[0] == folder != package
                if node.level > 1 or (node.level == 0 and own and path.name != "__init__.py"):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []


# Modules whose tests lie in another file, as their work shows only together with its: module -> that file in tests/.
ELSEWHERE = {
    "glow_core/convert.py": "glow_core/test_checkpoint.py",
    "glow_core/readers/layers.py": "glow_core/readers/test_native.py",
    "glow_core/readers/numbering.py": "glow_core/readers/test_rosinality.py",
    "glow_core/readers/reader.py": "glow_core/readers/test_file.py",
    "glow_deploy/artifact/graph_sizes.py": "glow_deploy/artifact/test_lint.py",
    "glow_deploy/artifact/operator_rules.py": "glow_deploy/artifact/test_lint.py",
    "glow_deploy/artifact/tensor_sizes.py": "glow_deploy/artifact/test_lint.py",
    "glow_deploy/artifact/weights.py": "glow_deploy/export/test_run.py",
    "glow_deploy/artifact/wire.py": "glow_deploy/artifact/test_lint.py",
    "glow_deploy/bench/plan.py": "cli/commands/test_bench.py",
    "glow_deploy/budget/profile.py": "glow_deploy/budget/test_gains.py",
    "glow_deploy/bulk/actions.py": "glow_deploy/bulk/test_run.py",
    "glow_deploy/bulk/arrow.py": "glow_deploy/bulk/test_shards.py",
    "glow_deploy/bulk/folder_rows.py": "glow_deploy/bulk/test_sources.py",
    "glow_deploy/bulk/pictures.py": "glow_deploy/bulk/test_run.py",
    "glow_deploy/bulk/pools.py": "glow_deploy/bulk/test_ray_pool.py",
    "glow_deploy/bulk/work.py": "glow_deploy/bulk/test_run.py",
    "glow_deploy/canary/report.py": "glow_deploy/canary/test_detect.py",
    "glow_deploy/data/arrays.py": "glow_deploy/data/test_load.py",
    "glow_deploy/data/classes.py": "glow_deploy/data/test_load.py",
    "glow_deploy/data/folder.py": "glow_deploy/data/test_load.py",
    "glow_deploy/data/idx_folder.py": "glow_deploy/data/test_load.py",
    "glow_deploy/data/npz_file.py": "glow_deploy/data/test_load.py",
    "glow_deploy/directions/passes.py": "glow_deploy/directions/test_soundness.py",
    "glow_deploy/engines/base.py": "glow_deploy/engines/test_onnxruntime.py",
    "glow_deploy/engines/trial_child.py": "glow_deploy/engines/test_trial.py",
    "glow_deploy/exact/arrays.py": "glow_deploy/exact/test_interpret.py",
    "glow_deploy/exact/nodes.py": "glow_deploy/exact/test_encoder.py",
    "glow_deploy/export/build.py": "glow_deploy/export/test_sixteen_bit.py",
    "glow_deploy/export/coded.py": "glow_deploy/export/test_selfcheck.py",
    "glow_deploy/export/examine.py": "glow_deploy/export/test_sixteen_bit.py",
    "glow_deploy/export/plan.py": "glow_deploy/export/test_sixteen_bit.py",
    "glow_deploy/folding/arrays.py": "glow_deploy/folding/test_fold.py",
    "glow_deploy/graphs/blank.py": "glow_deploy/verify/weights/test_check.py",
    "glow_deploy/graphs/decoder.py": "glow_deploy/graphs/test_graphs.py",
    "glow_deploy/graphs/encoder.py": "glow_deploy/graphs/test_graphs.py",
    "glow_deploy/inverse/solving.py": "glow_deploy/inverse/test_projection.py",
    "glow_deploy/numerics/float64/ops.py": "glow_deploy/numerics/float64/test_evaluate.py",
    "glow_deploy/offline/files.py": "glow_deploy/offline/test_outputs.py",
    "glow_deploy/offline/tensors.py": "glow_deploy/offline/test_inputs.py",
    "glow_deploy/precision/auto.py": "glow_deploy/export/test_sixteen_bit.py",
    "glow_deploy/signing/pem.py": "glow_deploy/signing/test_signer.py",
    "glow_deploy/verify/backends/saved.py": "glow_deploy/verify/matrix/test_saved.py",
    "glow_deploy/verify/html/behaviour.py": "glow_deploy/verify/html/test_page.py",
    "glow_deploy/verify/html/sections.py": "glow_deploy/verify/html/test_page.py",
    "glow_deploy/verify/html/steps.py": "glow_deploy/verify/html/test_page.py",
    "glow_deploy/verify/html/weights.py": "glow_deploy/verify/html/test_page.py",
    "glow_deploy/verify/matrix/causes.py": "glow_deploy/verify/test_faults.py",
    "glow_deploy/verify/matrix/cells.py": "glow_deploy/verify/test_sound.py",
    "glow_deploy/verify/matrix/random_latents.py": "glow_deploy/verify/test_sound.py",
    "glow_deploy/verify/pytest_plugin/suite.py": "glow_deploy/verify/pytest_plugin/test_items.py",
    "glow_deploy/verify/report/exact.py": "glow_deploy/verify/matrix/test_integers.py",
    "glow_deploy/verify/regression/rows.py": "glow_deploy/verify/regression/test_baseline.py",
    "glow_deploy/verify/report/baseline.py": "glow_deploy/verify/regression/test_compare.py",
    "glow_deploy/verify/report/steps.py": "glow_deploy/verify/steps/test_table.py",
    "glow_deploy/verify/report/stress.py": "glow_deploy/verify/stress/test_run.py",
    "glow_deploy/verify/report/stress_rows.py": "glow_deploy/verify/stress/test_table.py",
    "glow_deploy/verify/report/weights.py": "glow_deploy/verify/weights/test_check.py",
    "glow_deploy/verify/measured.py": "glow_deploy/verify/test_sound.py",
    "glow_deploy/verify/run.py": "glow_deploy/verify/test_sound.py",
    "glow_deploy/verify/sources.py": "glow_deploy/verify/test_sound.py",
    "glow_deploy/verify/sections.py": "cli/commands/test_verify.py",
    "glow_deploy/verify/steps/compare.py": "glow_deploy/verify/steps/test_sound.py",
    "glow_deploy/verify/steps/counterpart.py": "glow_deploy/verify/steps/test_faults.py",
    "glow_deploy/verify/steps/evidence.py": "glow_deploy/verify/steps/test_causes.py",
    "glow_deploy/verify/steps/noise.py": "glow_deploy/verify/steps/test_sound.py",
    "glow_deploy/verify/steps/numbers.py": "glow_deploy/verify/steps/test_causes.py",
    "glow_deploy/verify/steps/taps.py": "glow_deploy/verify/steps/test_sound.py",
    "glow_deploy/verify/steps/weights.py": "glow_deploy/verify/steps/test_faults.py",
    "glow_deploy/verify/stress/child.py": "glow_deploy/verify/stress/test_determinism.py",
    "glow_deploy/verify/weights/agree.py": "glow_deploy/verify/weights/test_check.py",
    "glow_deploy/verify/weights/structure.py": "glow_deploy/verify/weights/test_check.py",
    "glow_deploy/verify/weights/trained.py": "glow_deploy/verify/weights/test_check.py",
    "cli/catalogue.py": "cli/test_main.py",
    "cli/common/inverse.py": "cli/commands/test_inpaint.py",
    "cli/common/options.py": "cli/commands/test_convert.py",
    "cli/common/score_maps.py": "cli/commands/test_score.py",
    "cli/common/score_words.py": "cli/commands/test_score.py",
    "cli/common/train_inputs.py": "cli/commands/test_train.py",
    "cli/common/train_options/deployable.py": "cli/common/test_train_options.py",
    "cli/common/train_options/files.py": "cli/common/test_train_options.py",
    "cli/common/train_options/model.py": "cli/common/test_train_options.py",
    "cli/common/train_options/optimization.py": "cli/common/test_train_options.py",
    "cli/entry.py": "cli/common/test_signals.py",
    "cli/overview.py": "cli/test_main.py",
}


def does_something(source: str) -> bool:
    """Whether a module has a function that is more than a name: with a body, and not only to say that it has none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = [part for part in node.body if not isinstance(part, ast.Expr) or isinstance(part.value, ast.Call)]
            if body and not all(isinstance(part, (ast.Pass, ast.Raise)) for part in body):
                return True
    return False


def test_every_module_that_does_something_has_a_test_file():
    paths = {path.relative_to(ROOT).as_posix(): path for path in MODULES.values() if not path.stem.startswith("__")}
    nameless = {
        place
        for place, path in paths.items()
        if does_something(path.read_text()) and not (ROOT / "tests" / place).with_name(f"test_{path.name}").is_file()
    }
    assert nameless - set(ELSEWHERE) == set(), "name a test file after the module, or say in ELSEWHERE what tests it"
    gone = [
        place for pair in ELSEWHERE.items() for place in (pair[0], f"tests/{pair[1]}") if not (ROOT / place).is_file()
    ]
    assert gone == [], "ELSEWHERE lists what is not there"


def test_the_check_for_modules_that_do_something_can_fail():
    assert does_something("def f(x):\n    return x")
    assert does_something("class A:\n    def f(self):\n        print()")
    declared = 'class A(Protocol):\n    def f(self) -> int:\n        """Say."""\n        ...\n\nX = 3'
    assert not does_something(declared)
    assert not does_something("class E(Exception):\n    code = 2")
