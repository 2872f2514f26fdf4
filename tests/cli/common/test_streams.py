"""A full disk, closed or poor streams, folders that are gone: one clear line, and never a bug of ours."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

RUN = [sys.executable, "-m", "glow_cli"]


def run(*words, **options):
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 120, "check": False}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("environment", {})}
    return subprocess.run([*RUN, *map(str, words)], env=environment, **{**settings, **options})


def told(done, *words):
    """One line that says so, and the exit code of what is no fault of ours."""
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    for word in words:
        assert word in done.stderr


def small_files(limit: int):
    """Let no file grow beyond `limit` bytes, which the system reports as it reports a full disk."""
    resource = pytest.importorskip("resource", reason="this system has no limits for processes")
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.parametrize("name", ["sample", "folder", "export", "encode", "convert", "weights", "train"])
def test_a_file_that_cannot_grow(model, pictures, place, invoke, name):
    words = {
        "sample": ["sample", "--engine", model.decoder, "-n", "64", "--out", "s.npz"],
        "folder": ["sample", "--engine", model.decoder, "-n", "4", "--out", "many"],
        "export": ["export", model.checkpoint, "--out", "b"],
        "encode": ["encode", "--engine", model.encoder, *pictures, "--out", "z.npz"],
        "convert": ["convert", model.checkpoint, "--out", "c.pt"],
        "weights": ["convert", model.checkpoint, "--out", "c.safetensors"],
        "train": ["train", "--data", "faces", "--out", "run", "--max-steps", "2", "--levels", "1", "--steps", "1",
                  "--width", "8", "--quiet"],
    }[name]  # fmt: skip
    done = run(*words, preexec_fn=small_files(100), cwd=place, environment={"PYTHONDONTWRITEBYTECODE": "1"})
    told(done, "File too large")
    left = [path.name for path in place.rglob("*") if path.is_file()]
    assert left == []
    assert invoke(*words).exit_code == 0


@contextmanager
def small_disk(folder: Path, size: str):
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()[:80]}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_training_on_a_disk_that_fills_says_what_is_saved_and_how_to_go_on(tmp_path):
    if sys.platform != "linux" or os.geteuid():
        pytest.skip("only root can mount a small disk, on Linux")
    words = ["--levels", "1", "--steps", "1", "--width", "8", "--validate-every", "1000", "--quiet"]
    with small_disk(tmp_path / "disk", "8m"):
        out = tmp_path / "disk" / "run"
        first = run("train", "--data", "faces", "--out", out, "--max-steps", "2", *words)
        assert first.returncode == 0, first
        free = os.statvfs(out)
        filler = out.parent / "filler"
        filler.write_bytes(bytes(free.f_bavail * free.f_frsize - 16384))
        told(run("train", "--resume", out, "--max-steps", "4"), "No space left", "still holds step 2", "resume")
        assert not list(out.rglob(".*"))
        filler.unlink()
        assert run("train", "--resume", out, "--max-steps", "4").returncode == 0


@pytest.mark.parametrize(
    "words", [["inspect", "{bundle}"], ["inspect", "{bundle}", "--json", "-"], ["--help"], ["--version"]], ids=str
)
def test_a_full_standard_output(model, words):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        told(run(*(word.format(bundle=model.bundle) for word in words), stdout=full), "No space left")


def test_a_closed_standard_output(model):
    closed = {"preexec_fn": lambda: os.close(1), "stdout": None}
    assert run("inspect", model.bundle, **closed).returncode == 0
    told(run("inspect", model.bundle, "--json", "-", **closed), "standard output is closed")


def test_a_standard_error_that_takes_nothing(tmp_path):
    for options in ({"preexec_fn": lambda: os.close(2), "stderr": None}, {"stderr": Path("/dev/full")}):
        if options["stderr"] is not None:
            if not options["stderr"].exists():
                pytest.skip("there is no /dev/full here")
            with options["stderr"].open("w") as full:
                assert run("inspect", tmp_path / "nothing", stderr=full).returncode == 2
        else:
            assert run("inspect", tmp_path / "nothing", **options).returncode == 2


def test_a_file_does_not_take_the_place_of_a_closed_stream(model):
    """What native code prints would go into the file."""
    code = (
        "import os; from glow_cli.common.streams import prepare_streams; prepare_streams()\n"
        f"assert os.open({str(model.decoder)!r}, os.O_RDONLY) > 2\n"
    )
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=lambda: (os.close(0), os.close(1)), check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_names_that_the_terminal_cannot_show(own_model, environment):
    place = own_model.folder / "größe ✓"
    place.mkdir()
    bundle = own_model.bundle.rename(place / "bundle")
    for more in ([], ["--json", "-"]):
        done = run("inspect", bundle, *more, environment=environment)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["inspect", "export", "train"])
def test_a_working_folder_that_is_gone(model, tmp_path, command):
    words = {
        "inspect": ["inspect", model.bundle],
        "export": ["export", model.checkpoint],
        "train": ["train", "--data", "faces", "--out", "run", "--max-steps", "1"],
    }[command]
    gone = tmp_path / "gone"
    gone.mkdir()
    told(run(*words, cwd=gone, preexec_fn=gone.rmdir, environment={"PYTHONPATH": _root()}), "was removed")


def _root() -> str:
    """Where the packages are, for a process that does not start in a folder."""
    return os.pathsep.join(path for path in sys.path if path)


@pytest.mark.parametrize("environment", [{"HOME": "/proc/nothing"}, {"HOME": ""}, {"TMPDIR": "/proc/nothing"}])
def test_no_home_and_no_place_for_temporary_files(model, place, environment):
    done = run("sample", "--engine", model.decoder, "-n", "2", "--out", "s.png", cwd=place, environment=environment)
    assert done.returncode == 0, done.stderr
