"""Files that are not what they should be: exit code 2, one line, nothing left behind, no code run."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest


def refused(done, *words: str) -> None:
    """Exit code 2 and one line on stderr that holds all words."""
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], lines[0]


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _random(model, path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(4096))


def _empty(model, path: Path) -> None:
    path.write_bytes(b"")


def _half_graph(model, path: Path) -> None:
    path.write_bytes(model.decoder.read_bytes()[:30_000])


def _half_checkpoint(model, path: Path) -> None:
    path.write_bytes(model.checkpoint.read_bytes()[:30_000])


class _Opens:
    """A pickle of this makes the folder PWNED when it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("PWNED",)


def _pickle(model, path: Path) -> None:
    path.write_bytes(pickle.dumps(_Opens()))


def _torch_pickle(model, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Opens(), protocol=2))
        archive.writestr("archive/version", "3\n")


def _npz_pickle(model, path: Path) -> None:
    with path.open("wb") as handle:
        np.savez(handle, z1=np.array([_Opens()], dtype=object))


def _plan_without_sidecar(model, path: Path) -> None:
    path.write_bytes(b"vtrt" + bytes(12) + (128).to_bytes(8, "little") + bytes([1, 7, 1, 116]) + bytes(100))


def _header_bomb(model, path: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b'{"a":1}')


BAD = {
    "random bytes": _random,
    "empty": _empty,
    "half a graph": _half_graph,
    "half a checkpoint": _half_checkpoint,
    "pickle": _pickle,
    "pickle in a zip": _torch_pickle,
    "pickle in an npz": _npz_pickle,
    "plan without sidecar": _plan_without_sidecar,
    "safetensors header of 4 EiB": _header_bomb,
    "missing": lambda model, path: None,
    "folder": lambda model, path: path.mkdir(),
}
COMMANDS = {
    "sample": lambda bad, model, pictures: ("sample", "--engine", bad),
    "encode": lambda bad, model, pictures: ("encode", pictures[0], "--engine", bad),
    "decode": lambda bad, model, pictures: ("decode", bad, "--engine", model.decoder),
    "bench": lambda bad, model, pictures: ("bench", bad, "--iterations", "1"),
    "inspect": lambda bad, model, pictures: ("inspect", bad),
    "export": lambda bad, model, pictures: ("export", bad),
    "compile": lambda bad, model, pictures: ("compile", bad),
    "verify": lambda bad, model, pictures: ("verify", bad),
    "picture": lambda bad, model, pictures: ("encode", bad, "--engine", model.encoder),
}
# What a command accepts although the name here says bad.
FINE = {("inspect", "plan without sidecar")}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("command", COMMANDS)
def test_bad_files_are_refused(invoke, model, pictures, place, command, kind):
    if (command, kind) in FINE:
        assert invoke(*COMMANDS[command](_made(kind, model, place), model, pictures)).exit_code == 0
        return
    bad = _made(kind, model, place)
    before = contents(place)
    result = invoke(*COMMANDS[command](bad, model, pictures))
    lines = result.stderr.strip().splitlines()
    assert result.exit_code == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert contents(place) == before, "something was left behind, or the pickle ran"


def test_the_pickles_would_run_code(model, place):
    """Negative control of the test above: loading one in the careless way makes the folder."""
    bad = _made("pickle", model, place)
    pickle.loads(bad.read_bytes())
    assert "PWNED" in contents(place)


def _made(kind: str, model, place: Path) -> Path:
    path = place / "bad"
    BAD[kind](model, path)
    return path


def test_the_wrong_half_is_refused(run_process, model, pictures, place):
    refused(run_process("sample", "--engine", model.encoder), "encoder")
    refused(run_process("encode", pictures[0], "--engine", model.decoder), "decoder")
    assert contents(place) == []


def test_a_checkpoint_is_no_engine_and_says_what_to_do(run_process, model, place):
    refused(run_process("sample", "--engine", model.checkpoint), "glow-deploy export")


def test_a_changed_graph_is_refused(run_process, own_model, place):
    data = bytearray(own_model.decoder.read_bytes())
    data[len(data) // 2] ^= 1
    own_model.decoder.write_bytes(data)
    refused(run_process("sample", "--engine", own_model.decoder), "sha256")
    refused(run_process("verify", own_model.bundle), "sha256")
    assert contents(place) == []


def test_missing_hardware_is_named(run_process, model, place):
    for arguments in (
        ("sample", "--engine", model.decoder, "--device", "cuda:7"),
        ("bench", model.bundle, "--backend", "onnxruntime-cuda", "--device", "cuda:7"),
        ("verify", model.bundle, "--backend", "onnxruntime-cuda", "--device", "cuda:7"),
    ):
        refused(run_process(*arguments), "GPU")
    for more in (("--dry-run", "--image-size", "8x8"), ("--data", "faces", "--out", "run", "--max-steps", "1")):
        refused(run_process("train", *more, "--width", "4", "--device", "cuda:7"), "cuda:7 is not there")
    assert contents(place) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "--engine", "{decoder}", "--device", "tpu"),
        ("sample", "--engine", "{decoder}", "--out", "samples.jpg"),
        ("sample", "--engine", "{decoder}", "-n", "5000"),
        ("sample", "--engine", "{decoder}", "--class", "1"),
        ("sample", "--engine", "{decoder}", "--class", "x"),
        ("sample", "--engine", "{decoder}", "--class", "9" * 5000),
        ("sample", "--engine", "{decoder}", "--out", "missing/samples.png"),
        ("encode", "{picture}", "--engine", "{encoder}", "--out", "missing/latents.npz"),
        ("verify", "{bundle}", "--backend", "pytorch-fp64"),
        ("verify", "{bundle}", "--backend", "abacus"),
        ("bench", "{bundle}", "--backend", "abacus"),
        ("bench", "{bundle}", "--batch", "0"),
        ("bench", "{bundle}", "--batch", "9" * 5000),
        ("bench", "{decoder}", "--backend", "onnxruntime-cpu"),
        ("export", "{checkpoint}", "--golden", "many"),
        ("export", "{checkpoint}", "--golden", "0"),
        ("export", "{checkpoint}", "--golden", "9" * 5000),
        ("train", "--data", "faces", "--out", "run", "--image-size", f"{'9' * 5000}x8"),
        ("export", "{checkpoint}", "--out", "missing/bundle"),
        ("export", "{checkpoint}", "--out", "{bundle}"),
        ("compile", "{bundle}", "--gpu", "sm90"),
        ("compile", "{bundle}", "--gpu", "banana"),
        ("compile", "{bundle}", "--opt-level", "5"),
        ("compile", "{bundle}", "--min-batch", "8", "--opt-batch", "4"),
        ("inspect", "{folder}"),
    ],
    ids=lambda arguments: " ".join(arguments)[:80],
)
def test_bad_options_are_refused(invoke, model, pictures, place, arguments):
    names = {
        "decoder": model.decoder,
        "encoder": model.encoder,
        "bundle": model.bundle,
        "checkpoint": model.checkpoint,
        "folder": model.folder,
        "picture": pictures[0],
    }
    result = invoke(*(argument.format(**names) for argument in arguments))
    lines = result.stderr.strip().splitlines()
    assert result.exit_code == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert contents(place) == []
