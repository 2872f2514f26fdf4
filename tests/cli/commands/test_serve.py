"""`glow-deploy serve` as a process: judged over the wire by `verify`, and ended with every answer given."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from glow_deploy.errors import EngineError
from glow_deploy.kserve import KServeClient, parse_remote

pytest.importorskip("prometheus_client", reason="serving needs the extra `serving`")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM for one process")


@pytest.fixture
def start(tmp_path):
    """Start the command; at the end it is gone."""
    running = []

    def run(*arguments):
        where = tmp_path / f"where-{len(running)}.json"
        words = ["glow-deploy", "serve", *map(str, arguments), "--port", "0", "--threads", "1", "--json", str(where)]
        code = f"import sys\nsys.argv = {words!r}\nfrom glow_cli.main import run\nrun()\n"
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        until = time.monotonic() + 60
        while not where.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert where.exists(), process.communicate(timeout=10)
        return process, json.loads(where.read_text())["url"].removeprefix("http://").rstrip("/")

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def test_verify_judges_it_and_sigterm_ends_it(start, model, invoke):
    process, host = start(model.bundle)
    words = ("verify", model.bundle, "--random-draws", 2, "--json", "-")
    result = invoke(*words, "--backend", "onnxruntime-cpu", "--backend", f"kserve={host}")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["sound"] is True
    assert len(found["cells"]) == 4
    server = next(backend for backend in found["backends"] if backend["name"] == f"kserve={host}")
    assert server["canary"]["detected"] == "fp32"
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out.splitlines()[-1], err) == (143, "ended", "")


def test_another_model_and_no_server_are_one_line_each(start, model, perturbed_glow, invoke, tmp_path):
    from glow_core import GlowConfig, save_checkpoint

    config = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5)
    save_checkpoint(perturbed_glow(config, seed=5), tmp_path / "other.pt")
    assert invoke("export", tmp_path / "other.pt", "--out", tmp_path / "other", "--golden", 4).exit_code == 0
    process, host = start(tmp_path / "other")
    for name, said in ((host, "another model"), (f"{host}/faces", "no model faces-encoder")):
        result = invoke("verify", model.bundle, "--backend", f"triton={name}")
        assert result.exit_code == 2
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
    process.kill()
    process.wait(timeout=20)
    result = invoke("verify", model.bundle, "--backend", f"triton={host}", "--timeout", 3)
    assert result.exit_code == 2
    assert "cannot be reached" in result.stderr


def test_requests_under_way_are_answered_before_it_ends(start, model):
    process, host = start(model.bundle)
    address = parse_remote(f"kserve={host}")
    found, asked = [], threading.Event()

    def ask():
        with KServeClient(address) as client:
            client.server()
            asked.set()
            count = {"count": np.array([1000]), "temperature": np.array([1.0], np.float32)}
            found.append(client.infer("glow-sample", count)["image"].shape)

    thread = threading.Thread(target=ask)
    thread.start()
    assert asked.wait(20)
    time.sleep(0.1)
    process.terminate()
    thread.join(timeout=30)
    assert found == [(1000, 3, 8, 8)]
    assert process.wait(timeout=30) == 143
    with pytest.raises(EngineError, match="cannot be reached"), KServeClient(address) as client:
        client.server()


def test_a_port_that_is_taken_and_a_package_that_is_missing_are_one_line(invoke, run_process, model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = invoke("serve", model.bundle, "--port", taken.getsockname()[1])
    assert result.exit_code == 2
    assert "is taken" in result.stderr
    done = run_process("serve", model.bundle, "--port", "0", without=["prometheus_client"])
    assert done.returncode == 2
    assert "glow-deploy[serving]" in done.stderr
    assert len(done.stderr.splitlines()) == 1
