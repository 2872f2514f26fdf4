"""What every module has, and what none does: docstrings, names that exist, no code from files, no guess at numbers."""

from __future__ import annotations

import ast

import pytest
from house import MODULES


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
