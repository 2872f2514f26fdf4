"""`glow-deploy explore` as a process: it serves, says where, and ends on Ctrl-C."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest


@pytest.fixture
def start(tmp_path):
    """Start the command; at the end it is gone."""
    running = []

    def run(*arguments, wait=True):
        where = tmp_path / f"where-{len(running)}.json"
        code = (
            "import sys\n"
            f"sys.argv = {['glow-deploy', 'explore', *map(str, arguments), '--port', '0', '--json', str(where)]!r}\n"
            "from glow_cli.main import run\n"
            "run()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        running.append(process)
        until = time.monotonic() + 60
        while not where.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert where.exists(), process.communicate(timeout=10)
        return process, json.loads(where.read_text())

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def get(url, path="/", **headers):
    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_it_serves_until_ctrl_c(start, model):
    process, told = start(model.bundle)
    assert told["url"].startswith("http://127.0.0.1:")
    assert told["open_to_others"] is False
    status, body = get(told["url"])
    assert (status, b"glow-deploy explore" in body) == (200, True)
    assert json.loads(get(told["url"], "/api/model")[1])["golden"] == 8
    assert get(told["url"], Host="evil.example")[0] == 403
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out.splitlines() == [f"{model.bundle} is at {told['url']} (Ctrl-C ends it)", "ended"]
    assert err == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_an_open_connection_does_not_hold_it_back(start, model):
    process, told = start(model.bundle, "--quiet")
    port = int(told["url"].rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /api/image?name=x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nabc")
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")


def test_open_to_others_is_warned_of(start, model):
    process, told = start(model.bundle, "--host", "0.0.0.0")
    assert told["open_to_others"] is True
    assert get(told["url"], Host="192.0.2.7")[0] == 200
    assert get(told["url"], Host="evil.example")[0] == 403
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert err.startswith("warning: anyone who can reach this machine")
    assert len(err.splitlines()) == 1


def test_torch_is_never_loaded(model, tmp_path):
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from starlette.testclient import TestClient\n"
        "from glow_deploy.explore import create_app\n"
        f"with TestClient(create_app({str(model.bundle)!r}), base_url='http://localhost') as client:\n"
        "    token = client.post('/api/golden', json={'index': 0}).json()['token']\n"
        "    print(client.post('/api/decode', json={'token': token}).json()['changed_values'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("package", ["uvicorn", "starlette"])
def test_without_the_extra_it_says_what_to_install(run_process, model, package):
    done = run_process("explore", model.bundle, "--port", "0", without=[package])
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "pip install 'glow-deploy[explore]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_told(invoke, model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = invoke("explore", model.bundle, "--port", taken.getsockname()[1])
    assert result.exit_code == 2
    assert "is taken" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no such bundle folder"),
        (["BUNDLE", "--directions", "nowhere.npz"], "no such file"),
        (["BUNDLE", "--flavor", "rtx"], "compile"),
        (["BUNDLE", "--host", "no.such.name.invalid"], "--host"),
        (["BUNDLE", "--draws", "0"], "--draws"),
        (["BUNDLE", "--port", "70000"], "--port"),
    ],
)
def test_what_cannot_be_served_is_told_before_it_is_tried(invoke, model, place, arguments, words):
    given = [model.bundle if argument == "BUNDLE" else argument for argument in arguments]
    result = invoke("explore", *given, *([] if "--port" in given else ["--port", 0]))
    assert result.exit_code == 2
    assert words in result.stderr
    assert list(place.iterdir()) == []


def test_a_browser_is_opened_on_demand(invoke, model, monkeypatch):
    import webbrowser

    from glow_deploy.explore import serve

    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)

    def pretend(app, listening, *, started):
        if started is not None:
            started()
        raise KeyboardInterrupt

    monkeypatch.setattr(serve, "serve", pretend)
    assert invoke("explore", model.bundle, "--port", 0).exit_code == 130
    assert opened == []
    result = invoke("explore", model.bundle, "--port", 0, "--open")
    assert (result.exit_code, len(opened)) == (130, 1)
    assert opened[0] in result.stdout
