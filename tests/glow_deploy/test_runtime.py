"""ONNX Runtime reports to its vendor unless a variable is set before it is imported. Here it is, everywhere."""

import ast
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from glow_deploy.runtime import TELEMETRY_VARIABLE

ROOT = Path(__file__).parents[2]
ALLOWED = {"glow_deploy/runtime.py"}
IN_A_CHILD = {"benchmarks/startup.py"}  # which measures the bare import, with the variable set
FOLDERS = ("glow_core", "glow_deploy", "cli", "scripts", "benchmarks")
NAME = "onnxruntime"

# A session as the package opens one, and long enough afterwards for what runs beside it.
SESSION = """
import sys, time
from onnx import TensorProto, helper
def product():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "product", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
if sys.argv[1] == "ours":
    from glow_deploy.doctor.providers import examine_providers
    assert any(provider.usable for provider in examine_providers())
else:
    import onnxruntime
    session = onnxruntime.InferenceSession(product(), providers=["CPUExecutionProvider"])
time.sleep(2)
"""


def imports_it(source: str) -> bool:
    """Tell whether a module imports ONNX Runtime in any of the ways there are."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == NAME for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == NAME:
            return True
        called = ast.unparse(node.func).split(".")[-1] if isinstance(node, ast.Call) else ""
        if called in ("import_module", "__import__") and NAME in [getattr(item, "value", None) for item in node.args]:
            return True
    return False


def child_imports_it(source: str) -> bool:
    """Tell whether a module holds a text that is a program which imports ONNX Runtime, such as for `python -c`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME in node.value:
            try:
                if imports_it(node.value):
                    return True
            except (SyntaxError, ValueError):
                continue
    return False


def sets_the_variable(source: str) -> bool:
    """Tell whether a module sets it for its children, and lets what the user chose stand."""
    calls = (ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return "os.environ.setdefault(TELEMETRY_VARIABLE, '1')" in calls


def _modules() -> dict[str, str]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def test_one_module_imports_it_for_everyone():
    modules = _modules()
    assert {name.partition("/")[0] for name in modules} == {*FOLDERS}
    assert {name for name, source in modules.items() if imports_it(source)} == ALLOWED


def test_a_child_that_imports_it_is_told_first():
    found = {name: source for name, source in _modules().items() if child_imports_it(source)}
    assert set(found) == IN_A_CHILD
    assert [name for name, source in found.items() if not sets_the_variable(source)] == []


def test_programs_in_texts_are_seen():
    assert child_imports_it("run([python, '-c', 'import onnxruntime'])")
    assert not child_imports_it("title = \"python -c 'import onnxruntime'\"")
    assert not sets_the_variable("os.environ.get(TELEMETRY_VARIABLE, '1')")


@pytest.mark.parametrize(
    "source",
    [
        "import onnxruntime",
        "import onnxruntime.capi as c",
        "def f():\n    from onnxruntime import SessionOptions",
        "importlib.import_module('onnxruntime')",
        "__import__('onnxruntime')",
    ],
)
def test_every_way_to_import_it_is_seen(source):
    assert imports_it(source)


@pytest.mark.parametrize("source", ["from .onnxruntime import open_onnx", "x = 'onnxruntime'", "import onnx"])
def test_other_imports_are_not_taken_for_it(source):
    assert not imports_it(source)


def _after_import(value: str | None) -> str:
    environment = {name: text for name, text in os.environ.items() if name != TELEMETRY_VARIABLE}
    if value is not None:
        environment[TELEMETRY_VARIABLE] = value
    code = (
        "import os, sys, glow_deploy.runtime as r; module = r.import_onnxruntime(); "
        "assert module is sys.modules['onnxruntime']; "
        f"print(os.environ['{TELEMETRY_VARIABLE}'])"
    )
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_it_is_off_and_a_child_process_inherits_that():
    assert _after_import(None) == "1"


@pytest.mark.parametrize("value", ["1", "yes"])
def test_what_the_user_chose_stands(value):
    assert _after_import(value) == value


def test_a_user_who_wants_it_is_not_overruled(monkeypatch):
    from glow_deploy.runtime import import_onnxruntime

    class Stub:
        def disable_telemetry_events(self) -> None:
            raise AssertionError("the user wants them")

    monkeypatch.setenv(TELEMETRY_VARIABLE, "0")
    monkeypatch.setitem(sys.modules, NAME, Stub())
    import_onnxruntime()
    assert os.environ[TELEMETRY_VARIABLE] == "0"


class Imported:
    """ONNX Runtime, imported by another library before."""

    def __init__(self) -> None:
        self.told = 0

    def disable_telemetry_events(self) -> None:
        self.told += 1


@pytest.mark.parametrize(("chosen", "told"), [(None, 1), ("0", 0), ("1", 0)])
def test_it_is_told_although_another_library_imported_it_first(monkeypatch, chosen, told):
    from glow_deploy.runtime import import_onnxruntime

    module = Imported()
    monkeypatch.setitem(sys.modules, NAME, module)
    monkeypatch.setenv(TELEMETRY_VARIABLE, chosen or "")  # so that its value is put back afterwards
    if chosen is None:
        monkeypatch.delenv(TELEMETRY_VARIABLE)
    assert import_onnxruntime() is module
    assert module.told == told


@cache
def _alone() -> tuple[str, ...] | None:
    """What runs a command with a network of its own that is connected to nothing; None where nothing does."""
    for words in (("unshare", "-n"), ("unshare", "-r", "-n")):
        if shutil.which("unshare") and subprocess.run([*words, "true"], capture_output=True).returncode == 0:
            return words
    return None


def _leaves(tmp_path: Path, who: str) -> tuple[list[str], list[str]]:
    """Run a session with a home of its own; returns the files it left and the places it tried to reach."""
    home, here, trace = tmp_path / "home", tmp_path / "here", tmp_path / "trace"
    home.mkdir()
    here.mkdir()
    words = [*(_alone() or ())]
    if shutil.which("strace"):
        words += ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmmsg,openat", "-o", str(trace)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*words, sys.executable, "-c", SESSION, who], cwd=here, env=environment, capture_output=True, text=True
    )
    if words and done.returncode and "ptrace" in done.stderr:
        pytest.skip(f"strace may not look at processes here: {done.stderr.strip()[:100]}")
    assert done.returncode == 0, done.stderr
    files = [str(path) for folder in (home, here) for path in folder.rglob("*")]
    lines = trace.read_text().splitlines() if trace.exists() else []
    reached = [line for line in lines if "AF_INET" in line or "/etc/resolv.conf" in line or "nscd" in line]
    return files, reached


def test_a_session_writes_nothing_and_asks_for_no_address(tmp_path):
    files, reached = _leaves(tmp_path, "ours")
    assert files == []
    assert reached == []
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: the files are looked at, what is resolved is not")


def test_without_the_switch_something_is_written(tmp_path):
    """The control: the same things that must not be there are found where nothing is switched off."""
    if _alone() is None:
        pytest.skip("no network can be cut off here, and nothing is to be sent")
    files, reached = _leaves(tmp_path, "theirs")
    if not files and not reached:
        import onnxruntime

        pytest.skip(f"this build of ONNX Runtime {onnxruntime.__version__} reports nothing")
    assert any("deviceid" in name for name in files)
