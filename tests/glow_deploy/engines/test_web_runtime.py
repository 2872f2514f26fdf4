"""onnxruntime-web is taken only as it is known, from wherever it comes."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from glow_deploy.engines import web_runtime as module
from glow_deploy.engines.web_runtime import RuntimeFile, web_runtime
from glow_deploy.errors import MissingDependencyError, UsageError

DATA = {"a.mjs": b"script", "b.wasm": b"\0asm" * 20}
FILES = tuple(RuntimeFile(name=n, size=len(d), sha256=hashlib.sha256(d).hexdigest()) for n, d in DATA.items())


def packed(data):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in data.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture(autouse=True)
def small_package(monkeypatch, tmp_path):
    """A package of two small files in place of the real one, and a cache of the test's own."""
    import base64

    data = packed(DATA)
    monkeypatch.setattr(module, "_SHA512", base64.b64encode(hashlib.sha512(data).digest()).decode())
    monkeypatch.setattr(module, "WASM", FILES)
    monkeypatch.setattr(module, "WEBGPU", ())
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    return data


def test_a_package_and_a_folder_are_taken(small_package, tmp_path):
    archive = tmp_path / "package.tgz"
    archive.write_bytes(small_package)
    assert web_runtime(archive, files=FILES) == DATA
    for place in (tmp_path / "flat", tmp_path / "node_modules" / "dist"):
        place.mkdir(parents=True)
        for name, content in DATA.items():
            (place / name).write_bytes(content)
    assert web_runtime(tmp_path / "flat", files=FILES) == DATA
    assert web_runtime(tmp_path / "node_modules", files=FILES) == DATA


def test_what_is_not_known_is_refused(small_package, tmp_path):
    archive = tmp_path / "package.tgz"
    archive.write_bytes(small_package[:-1] + b"x")
    with pytest.raises(UsageError, match="sha512 differs"):
        web_runtime(archive, files=FILES)
    (tmp_path / "a.mjs").write_bytes(b"scripx")
    with pytest.raises(UsageError, match="damaged, or of another release"):
        web_runtime(tmp_path, files=FILES)
    (tmp_path / "a.mjs").write_bytes(b"script and more")
    with pytest.raises(UsageError, match="bytes"):
        web_runtime(tmp_path, files=FILES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no a\.mjs"):
        web_runtime(tmp_path / "empty", files=FILES)
    with pytest.raises(UsageError, match="no such file"):
        web_runtime(tmp_path / "nowhere.tgz", files=FILES)


def npm(tmp_path, monkeypatch, script):
    """An npm of the test's own, alone on the search path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_npm_fetches_once(small_package, tmp_path, monkeypatch):
    (tmp_path / "package.tgz").write_bytes(small_package)
    npm(tmp_path, monkeypatch, f'echo "$@" >> {tmp_path}/calls; cp {tmp_path}/package.tgz fetched.tgz')
    assert web_runtime(files=FILES) == DATA
    assert web_runtime(files=FILES[:1]) == {"a.mjs": DATA["a.mjs"]}
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1
    assert calls[0].startswith("pack onnxruntime-web@1.30.0 --ignore-scripts")
    next((tmp_path / "cache").rglob("b.wasm")).write_bytes(b"damaged")
    assert web_runtime(files=FILES) == DATA
    assert len((tmp_path / "calls").read_text().splitlines()) == 2


@pytest.mark.parametrize("kind", ["a file in the way", "a folder in the way", "no home"])
def test_without_a_cache_it_is_fetched_every_time(kind, small_package, tmp_path, monkeypatch):
    (tmp_path / "package.tgz").write_bytes(small_package)
    npm(tmp_path, monkeypatch, f"echo fetched >> {tmp_path}/calls; cp {tmp_path}/package.tgz fetched.tgz")
    if kind == "a file in the way":
        (tmp_path / "cache").write_text("mine")
    elif kind == "a folder in the way":
        next_to = tmp_path / "cache" / "onnxruntime-web@1.30.0"
        (next_to / "a.mjs" / "mine").mkdir(parents=True)
    else:

        def homeless():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(module, "cache_folder", homeless)
    assert web_runtime(files=FILES) == web_runtime(files=FILES) == DATA
    assert len((tmp_path / "calls").read_text().splitlines()) == 2
    assert kind != "a file in the way" or (tmp_path / "cache").read_text() == "mine"


def test_without_npm_or_network_one_line_says_what_to_do(small_package, tmp_path, monkeypatch):
    with pytest.raises(MissingDependencyError, match="is not in the cache"):
        web_runtime(files=FILES, fetch=False)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"npm, which is not installed: run `npm pack .*runtime="):
        web_runtime(files=FILES)
    monkeypatch.undo()
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    npm(tmp_path, monkeypatch, "echo 'npm error network no route to host' >&2; exit 1")
    with pytest.raises(MissingDependencyError, match=r"cannot fetch .*no route to host") as told:
        web_runtime(files=FILES)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "cache").exists()


def test_something_else_that_npm_brings_is_refused(tmp_path, monkeypatch):
    (tmp_path / "other.tgz").write_bytes(packed({"a.mjs": b"other!", "b.wasm": b""}))
    npm(tmp_path, monkeypatch, f"cp {tmp_path}/other.tgz fetched.tgz")
    with pytest.raises(UsageError, match="sha512 differs"):
        web_runtime(files=FILES)
