import ast
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import glow_deploy

ROOT = Path(__file__).parents[2]


def test_public_functions_stay_functions_whatever_is_imported_first():
    """Five packages, such as verify, bear the names of functions; neither may displace the other."""
    code = (
        "import glow_deploy.verify, glow_deploy.export, glow_deploy.compile, glow_deploy.bench, glow_deploy.inspect\n"
        "from glow_deploy.verify import VerifySettings\n"
        "from glow_deploy.compile import CompileSettings\n"
        "from glow_deploy.export import ExportSettings\n"
        "import glow_deploy\n"
        "for _ in range(2):\n"
        "    for name in set(dir(glow_deploy)) - {'__doc__'}:\n"
        "        value = getattr(glow_deploy, name)\n"
        "        assert isinstance(value, str) or callable(value), name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert glow_deploy.__version__ == version("glow-deploy")


def test_help_is_short_and_names_what_there_is():
    text = pydoc.render_doc(glow_deploy, renderer=pydoc.plaintext)
    assert len(text) < 4000
    for name in ("load", "export", "verify", "compile", "bench", "inspect", "open_engine", "GlowDeployError"):
        assert name in text
        assert name in dir(glow_deploy)


def test_dir_lists_what_can_be_had_and_nothing_else():
    assert "TYPE_CHECKING" not in dir(glow_deploy)
    for name in dir(glow_deploy):
        assert getattr(glow_deploy, name) is not None
    for name in ("bench", "compile", "inspect", "verify"):
        package = sys.modules[f"glow_deploy.{name}"]
        assert dir(package) == sorted([*package.__all__, "__doc__"])
        for inner in dir(package):
            assert hasattr(package, inner)
    with pytest.raises(AttributeError, match="no_such"):
        _ = glow_deploy.no_such


def test_importing_stays_light():
    heavy = "{'numpy', 'PIL', 'torch', 'onnx', 'rich'}"
    code = f"import sys, glow_deploy; dir(glow_deploy); print(sorted(set(sys.modules) & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_file_is_told_and_a_bundle_timed(perturbed_glow, tmp_path):
    from glow_core import GlowConfig, save_checkpoint

    model = perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5))
    save_checkpoint(model, tmp_path / "c.pt")
    bundle = glow_deploy.export(tmp_path / "c.pt", out=tmp_path / "b", golden=3)
    timed = glow_deploy.bench(bundle, backends=("onnxruntime-cpu",), batches=(2,), iterations=2, threads=1)
    assert [(timing.role, timing.batch, timing.runs) for timing in timed.timings] == [
        ("encoder", 2, 2),
        ("decoder", 2, 2),
    ]
    found = glow_deploy.inspect(str(bundle.path))
    assert found.kind == "bundle"
    for value in (bundle, bundle.manifest, bundle.golden(), timed, found):
        assert len(repr(value)) < 400
        assert repr(value).startswith(type(value).__name__ + "(")


ARRAYS = re.compile(r"NDArray|ndarray|Array\b|\bMask\b|\bValues\b|\bLevels\b")


def dataclasses_of_arrays(source: str) -> dict[str, bool]:
    """Each dataclass with an array in a field, and whether it is compared by identity."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        makers = [item for item in node.decorator_list if "dataclass" in ast.unparse(item)]
        fields = " ".join(ast.unparse(item.annotation) for item in node.body if isinstance(item, ast.AnnAssign))
        if makers and ARRAYS.search(fields):
            found[node.name] = "eq=False" in ast.unparse(makers[0])
    return found


def test_what_holds_arrays_is_compared_by_identity():
    """The comparison that `dataclass` makes raises on arrays: which of their values are to be equal?"""
    found = {}
    for path in (ROOT / "glow_deploy").rglob("*.py"):
        found |= dataclasses_of_arrays(path.read_text())
    assert {"Pictures", "Latents", "Scores", "SampleBatch", "Edited", "Filling", "Interpolation"} <= set(found)
    assert [name for name, by_identity in found.items() if not by_identity] == []


def test_the_check_of_comparisons_can_fail():
    source = "@dataclass(frozen=True)\nclass A:\n    x: tuple[npt.NDArray[np.uint8], ...]\n    n: int"
    assert dataclasses_of_arrays(source) == {"A": False}
    assert dataclasses_of_arrays(source.replace("npt.NDArray[np.uint8]", "int")) == {}
