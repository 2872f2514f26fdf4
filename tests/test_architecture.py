"""The house rules that a reader relies on, checked on the source: who may import whom.

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

import pytest
import tomllib
from house import MODULES, ROOT

HEAVY = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "polygraphy", "matplotlib")
# Where glow_deploy may touch torch or glow_core: reading a trained model, and running it as the reference.
# What it may take from glow_core anywhere: rooms that know neither torch nor the model.
SHARED = ("glow_core.locks", "glow_core.own_files", "glow_core.presses", "glow_core.rounding", "glow_core.temporaries")
TORCH_ALLOWED = ("glow_deploy.folding.fold", "glow_deploy.engines.pytorch", "glow_deploy.export.")


@dataclass(frozen=True)
class Import:
    """One import statement."""

    target: str
    line: int
    at_top: bool
    for_types: bool


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


def test_every_package_is_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {name.rpartition(".")[0] if path.name != "__init__.py" else name for name, path in MODULES.items()}
    assert folders == set(settings["packages"])


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
