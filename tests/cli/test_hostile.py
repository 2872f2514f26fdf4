"""Files made to harm: exit code 2 and one plain line, at once; pipes and devices in the place of a file as well."""

from __future__ import annotations

import io
import os
import shutil
import signal
import struct
import zipfile
from contextlib import contextmanager

import numpy as np
import onnx
import pytest
from onnx import helper


def _refused(result, *words):
    lines = result.stderr.strip().splitlines()
    assert result.exit_code == 2, (result.exit_code, result.stderr, result.exception)
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert lines[0].isprintable()
    assert len(lines[0]) < 2200
    for word in words:
        assert word in lines[0], lines[0]


@contextmanager
def _at_once(seconds=30):
    """End with an error where something waits for a pipe, whatever the waiting code makes of it."""
    waited = False

    def stop(*_):
        nonlocal waited
        waited = True
        raise AssertionError("it waited")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert not waited, "it waited"


PLACES = {
    "sample": lambda bad, m, p: ("sample", "--engine", bad),
    "encode": lambda bad, m, p: ("encode", p[0], "--engine", bad),
    "encode a picture": lambda bad, m, p: ("encode", m.bundle, bad),
    "decode": lambda bad, m, p: ("decode", m.bundle, bad),
    "score": lambda bad, m, p: ("score", m.bundle, "--data", bad),
    "score a picture": lambda bad, m, p: ("score", m.bundle, bad),
    "verify data": lambda bad, m, p: ("verify", m.bundle, "--data", bad),
    "verify a checkpoint": lambda bad, m, p: ("verify", m.bundle, "--ckpt", bad),
    "inspect": lambda bad, m, p: ("inspect", bad),
    "export": lambda bad, m, p: ("export", bad, "--out", "bundle"),
    "convert": lambda bad, m, p: ("convert", bad, "--out", "ckpt.pt"),
    "bench": lambda bad, m, p: ("bench", bad),
    "compile": lambda bad, m, p: ("compile", bad),
    "edit": lambda bad, m, p: ("edit", m.bundle, p[0], "--directions", bad, "--attribute", "hat=1"),
    "inpaint a mask": lambda bad, m, p: ("inpaint", m.checkpoint, p[0], "--mask", bad),
    "directions": lambda bad, m, p: ("directions", m.bundle, "--data", p[0].parent, "--labels", bad),
    "train": lambda bad, m, p: ("train", "--data", bad, "--out", "run", "--max-steps", "1"),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("command", PLACES)
def test_pipes_are_refused_at_once(invoke, model, pictures, place, command):
    os.mkfifo(place / "pipe.onnx")
    with _at_once():
        result = invoke(*PLACES[command](place / "pipe.onnx", model, pictures))
    assert result.exit_code == 2, (result.stderr, result.exception)
    assert "a pipe" in result.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("name", ["manifest.json", "encoder.onnx", "decoder.onnx", "golden.npz", "decoder.trt"])
def test_pipes_in_a_bundle_are_refused_at_once(invoke, own_model, place, name):
    (own_model.bundle / name).unlink(missing_ok=True)
    os.mkfifo(own_model.bundle / name)
    commands = [("verify", own_model.bundle), ("inspect", own_model.bundle)]
    if "onnx" in name or "json" in name:
        commands.append(("sample", own_model.bundle) if name != "encoder.onnx" else ("score", own_model.bundle, place))
    with _at_once():
        results = [invoke(*command) for command in commands]
    if name == "decoder.trt":
        commands, results = commands[1:], results[1:]  # nothing of the verification needs it
    for command, result in zip(commands, results, strict=True):
        # A description may say of a file that it is missing; all else needs it.
        assert result.exit_code == 2 or command[0] == "inspect", (command, result.stderr, result.exception)


def _archive(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, array in members.items():
            if isinstance(array, bytes):
                archive.writestr(f"{name}.npy", array)
                continue
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array))
            archive.writestr(f"{name}.npy", buffer.getvalue())
    return path


def _letters(*codes):
    """Texts of one letter each, which may be none."""
    text = repr({"descr": "<U1", "fortran_order": False, "shape": (len(codes),)}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + struct.pack(f"<{len(codes)}I", *codes)


_rng = np.random.default_rng(0)
IMAGES = _rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
STRUCTURED = np.zeros(12, [("a", "<i4"), ("b\x1b[2J", "<f4")])
SETS = {
    "lzma": ({"images": IMAGES, "labels": np.arange(12)}, zipfile.ZIP_LZMA),
    "bzip2": ({"images": IMAGES}, zipfile.ZIP_BZIP2),
    "structured split": ({"images": IMAGES, "split": STRUCTURED, "split_names": ["test"]}, zipfile.ZIP_STORED),
    "structured labels": ({"images": IMAGES, "labels": STRUCTURED}, zipfile.ZIP_STORED),
    "structured attributes": (
        {"images": IMAGES, "attributes": STRUCTURED, "attribute_names": ["hat"]},
        zipfile.ZIP_STORED,
    ),
    "structured images": ({"images": STRUCTURED}, zipfile.ZIP_STORED),
    "no letters": ({"images": IMAGES, "labels": np.zeros(12, int), "label_names": _letters(0x7FFFFFFF)}, 0),
    "half letters": ({"images": IMAGES, "labels": np.zeros(12, int), "label_names": _letters(0xDC80)}, 0),
    "texts as a split": ({"images": IMAGES, "split": ["test"] * 12, "split_names": ["test"]}, 0),
    "a bomb": ({"images": np.zeros((4000, 256, 256, 1), np.uint8)}, zipfile.ZIP_DEFLATED),
}


@pytest.mark.parametrize("kind", SETS)
def test_hostile_sets_are_refused(invoke, model, place, kind):
    bad = _archive(place / "bad.npz", *SETS[kind])
    _refused(invoke("score", model.bundle, "--data", bad), "bad.npz")


def _latents(model, place, names):
    from glow_deploy.engines import open_engine

    with open_engine(model.decoder, device="cpu") as decoder:
        z = {spec.name: np.zeros((2, *spec.shape), np.float32) for spec in decoder.inputs}
    z["z1"][0] = 3e38  # does not decode to finite values, so its name is printed
    return _archive(place / "latents.npz", {**z, "names": names})


def test_names_in_latents_cannot_write_to_the_terminal(invoke, model, place):
    bad = _latents(model, place, ["a\x1b[2J\x1b]0;owned\x07\nwrote 5 pictures\u202e", "fine.png"])
    result = invoke("decode", model.bundle, bad, "--out", place / "out")
    assert result.exit_code == 0, result.stderr
    assert "not written: a" in result.stdout
    assert not set("\x1b\x07\u202e") & set(result.stdout)
    assert "wrote 5 pictures" not in result.stdout.splitlines()
    assert sorted(path.name for path in (place / "out").iterdir()) == ["fine.png"]


def test_names_that_are_no_text_are_refused(invoke, model, place):
    _refused(invoke("decode", model.bundle, _latents(model, place, _letters(65, 0x110000))), "`names`")


def test_names_of_files_that_are_not_utf_8(invoke, model, pictures, place, run_process):
    odd = os.fsencode(place) + b"/odd\xff\xfe.png"
    try:
        shutil.copy(pictures[0], odd)
    except OSError as error:
        pytest.skip(f"this file system takes UTF-8 names only: {error}")
    for command in (
        ("encode", model.bundle, place, "--out", place / "z.npz"),
        ("decode", model.bundle, place / "z.npz", "--out", place / "out"),
        ("score", model.bundle, place, "--out", place / "s.csv", "--reference", "none"),
    ):
        done = run_process(*command, environment={"PYTHONIOENCODING": "utf-8"})
        assert done.returncode == 0, done.stderr
    _refused(invoke("inspect", os.fsdecode(os.fsencode(place) + b"/none\xff.png")))


def test_graphs_that_crash_runtimes_are_refused_by_every_command(invoke, model, pictures, place):
    graph = onnx.load(model.decoder)
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.name == "blocksize":
                attribute.i = 2**62
    onnx.save(graph, place / "bad.onnx")
    for command in ("sample", "bench", "compile"):
        _refused(invoke(*PLACES[command](place / "bad.onnx", model, pictures)), "blocks of 4611686018427387904")
    result = invoke("inspect", place / "bad.onnx")
    assert result.exit_code == 0
    assert "blocks of" in result.stdout


def test_metadata_of_a_graph_cannot_write_to_the_terminal(invoke, model, place):
    graph = onnx.load(model.decoder)
    helper.set_model_props(graph, {"owner\x1b[2J": "me\x1b]0;owned\x07\n  ours  yes"})
    graph.producer_name = "p\x1b[31m\nforged"
    onnx.save(graph, place / "odd.onnx")
    result = invoke("inspect", place / "odd.onnx")
    assert result.exit_code == 0
    assert not set("\x1b\x07") & set(result.stdout)
    assert not any(line.startswith(("forged", "  ours  yes")) for line in result.stdout.splitlines())
