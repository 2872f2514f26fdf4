"""onnxruntime-web, as a browser or Node runs it: WebAssembly on one thread. Never imports torch.

A browser and Node are run as programs of their own. They fetch the graph and the work from a server of ours on this
machine's loopback, under an address that nobody can guess, and reach nothing else.
"""

from __future__ import annotations

import http.server
import json
import os
import queue
import re
import secrets
import shutil
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from glow_deploy.artifact.flavors import WebName
from glow_deploy.artifact.graph_file import GraphFile
from glow_deploy.errors import EngineError, MissingDependencyError
from glow_deploy.printable import one_line
from glow_deploy.protocol import EngineDetails

from .base import EngineBase
from .web_runtime import WASM, web_runtime

__all__ = ["BROWSER_VARIABLE", "WebRuntimeEngine", "browser_program", "node_program", "web_problem"]

BROWSER_VARIABLE = "GLOW_DEPLOY_BROWSER"
"""Names a Chromium that is not on the search path under one of its usual names."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_PAGE = b'<!doctype html><meta charset="utf-8"><script type="module" src="runner.mjs"></script>'
_KINDS = {"": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm", ".onnx": "application/octet-stream"}
_TURN = 10.0  # seconds that a request for work is held open
_START = 120.0  # seconds for the program and the graph to be ready
_RUN = 120.0
_MULTIPLICATIONS_PER_SECOND = 1e8  # far below what WebAssembly does on one slow core
_MOST_ANSWER = 1 << 31  # bytes
_DIGITS = 12  # of a length in bytes


class WebRuntimeEngine(EngineBase):
    """A graph in onnxruntime-web.

    Args:
        model: the bytes of the ONNX file.
        graph: what the file says about itself.
        backend: `onnxruntime-web` runs it in headless Chromium, `onnxruntime-web-node` in Node.
        source: the file's name, for messages.
        threads: not used: it runs on one thread, as on servers without special headers.

    Raises:
        MissingDependencyError: Chromium, Node or the package's files are not there.
        EngineError: onnxruntime-web refuses the graph, or the program does not start.
    """

    def __init__(
        self, model: bytes, *, graph: GraphFile, backend: WebName, source: str, threads: int | None = None
    ) -> None:
        program = _program(backend)
        files = {
            **web_runtime(files=WASM, fetch=False),
            "runner.mjs": resources.files(__package__).joinpath("web_page", "runner.mjs").read_bytes(),
            "model.onnx": model,
            "": _PAGE,
        }
        self._lock = threading.Lock()  # one batch at a time
        self._work = graph.work
        self._host = _Host(files)
        try:
            self._run_by = _Program(program, backend=backend, host=self._host)
        except BaseException:
            self._host.close()
            raise
        try:
            ready = self._ask(None, seconds=_START, source=source)
            details = _details(ready, backend=backend, graph=graph)
        except BaseException:
            self._close()
            raise
        super().__init__(
            role=graph.facts.role,
            n_bits=graph.facts.n_bits,
            inputs=graph.inputs,
            outputs=graph.outputs,
            details=details,
            num_classes=graph.facts.num_classes,
            most_rows=graph.most_rows,
        )

    def _run(self, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        with self._lock:
            answer = self._ask(
                _pack(arrays), seconds=_RUN + batch * self._work / _MULTIPLICATIONS_PER_SECOND, source="a batch"
            )
        return _unpack(answer)

    def _ask(self, message: bytes | None, *, seconds: float, source: str) -> bytes:
        """Hand out a message, or wait for the first word; returns the answer."""
        if message is not None:
            self._host.jobs.put(message)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                answer = self._host.answers.get(timeout=0.2)
            except queue.Empty:
                if self._run_by.ended:
                    raise EngineError(
                        f"{self._run_by.name} ended while it had {source}: {self._run_by.last_words}"
                    ) from None
                continue
            head = _head(answer)
            if isinstance(head, dict) and "error" in head:
                reason = one_line(str(head["error"]), longest=300)
                raise EngineError(f"onnxruntime-web cannot run {source} in {self._run_by.name}: {reason}")
            return answer
        raise EngineError(f"{self._run_by.name} did not answer within {seconds:.0f} seconds; it was given {source}")

    def _close(self) -> None:
        self._run_by.close()
        self._host.close()


class _Host:
    """A server on the loopback that hands out files and work, under an address of its own.

    Args:
        files: by name; the empty name is the page.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.jobs: queue.Queue[bytes] = queue.Queue()
        self.answers: queue.Queue[bytes] = queue.Queue()
        self._closing = threading.Event()
        path = f"/{secrets.token_urlsafe(24)}/"
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *words: Any) -> None:
                pass

            def answer(self, status: int, body: bytes = b"", kind: str = "application/octet-stream") -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.send_header("cache-control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                if not self.path.startswith(path):
                    self.answer(404)
                elif (name := self.path.removeprefix(path)) == "work":
                    job = host.next_job()
                    self.answer(204 if job is None else 200, job or b"")
                elif name in host.files:
                    self.answer(200, host.files[name], _KINDS[Path(name).suffix])
                else:
                    self.answer(404)

            def do_POST(self) -> None:
                size = self.headers.get("content-length", "")
                known = self.path in (f"{path}ready", f"{path}done")
                whole = size.isascii() and size.isdecimal() and len(size) <= _DIGITS
                if not known or not whole or int(size) > _MOST_ANSWER:
                    self.close_connection = True
                    self.answer(404)
                    return
                host.answers.put(self.rfile.read(int(size)))
                self.answer(204)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}{path}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def next_job(self) -> bytes | None:
        """Wait a while for work."""
        until = time.monotonic() + _TURN
        while not self._closing.is_set() and time.monotonic() < until:
            with suppress(queue.Empty):
                return self.jobs.get(timeout=0.1)
        return None

    def close(self) -> None:
        """Serve no more."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a program that is ended breaks its connections."""


class _Program:
    """A browser or Node that works for a host; it ends with us, however we end."""

    def __init__(self, program: str, *, backend: WebName, host: _Host) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="glow-deploy-web-", ignore_cleanup_errors=True)
        place = Path(self._folder.name)
        self._errors = place / "errors.txt"
        self.name = "Chromium" if backend == "onnxruntime-web" else "Node"
        if backend == "onnxruntime-web":
            words = [program, *_FLAGS, f"--user-data-dir={place / 'profile'}", host.address]
            if os.name == "posix":
                if os.geteuid() == 0:
                    words.insert(1, "--no-sandbox")  # Chromium's own does not start as root
                # It ends when its end of this pipe is closed, and so when this process is gone.
                words.insert(1, "--remote-debugging-pipe")
                words = ["/bin/sh", "-c", 'exec "$0" "$@" 3<&0 4>/dev/null', *words]
        else:
            for name in ("runner.mjs", WASM[0].name):  # Node imports files alone
                (place / name).write_bytes(host.files[name])
            words = [program, str(place / "runner.mjs"), host.address]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=place,
                start_new_session=os.name == "posix",
            )

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    @property
    def last_words(self) -> str:
        """What it wrote to standard error last, in one line."""
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return one_line(lines[-1] if lines else f"exit code {self._process.returncode}", longest=200)

    def close(self) -> None:
        """End it, and what it started."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        with suppress(OSError):
            if os.name == "posix":
                os.killpg(self._process.pid, 9)
            else:
                self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._folder.cleanup()


def browser_program() -> str | None:
    """The Chromium that would be started, or None."""
    named = os.environ.get(BROWSER_VARIABLE)
    return shutil.which(named) if named else next(filter(None, map(shutil.which, _BROWSERS)), None)


def node_program() -> str | None:
    """The Node that would be started, or None."""
    return shutil.which("node")


def web_problem(backend: WebName) -> str | None:
    """Why a backend cannot run here, as far as can be told without starting anything; None where nothing is known."""
    try:
        _program(backend)
        web_runtime(files=WASM, fetch=False)
    except MissingDependencyError as error:
        return str(error)
    return None


def _program(backend: WebName) -> str:
    in_browser = backend == "onnxruntime-web"
    found = browser_program() if in_browser else node_program()
    if found is None and in_browser:
        named = os.environ.get(BROWSER_VARIABLE)
        raise MissingDependencyError(
            f"{backend} runs in Chromium, and there is {'no ' + named if named else 'none'}: install one, or name it "
            f"in {BROWSER_VARIABLE}"
        )
    if found is None:
        raise MissingDependencyError(f"{backend} runs in Node, which is not installed: install Node 18 or later")
    return found


def _details(ready: bytes, *, backend: WebName, graph: GraphFile) -> EngineDetails:
    told = _head(ready)
    agent = str(told.get("agent", ""))
    found = re.search(r"(?:Headless)?Chrome/([\d.]+)", agent) or re.search(r"Node ([\d.]+)", agent)
    name = "chromium" if backend == "onnxruntime-web" else "node"
    return EngineDetails(
        backend=backend,
        provider=f"WebAssembly, 1 thread, in {name.capitalize()}",
        device="cpu",
        precision=graph.facts.precision,
        tf32=False,
        versions={
            "onnxruntime-web": one_line(str(told.get("version", "unknown")), longest=40),
            name: found[1] if found else "unknown",
        },
    )


def _pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A message of arrays: see runner.mjs."""
    head = [
        {"name": name, "type": array.dtype.name, "shape": list(array.shape), "bytes": array.nbytes}
        for name, array in arrays.items()
    ]
    text = json.dumps(head).encode()
    text += b" " * (-(8 + len(text)) % 8)
    return b"".join([struct.pack("<II", len(text), 0), text, *(array.tobytes() for array in arrays.values())])


def _head(message: bytes) -> Any:
    """The head of a message, whatever came.

    Raises:
        EngineError: it is none of the runner's.
    """
    try:
        (length,) = struct.unpack_from("<I", message)
        return json.loads(message[8 : 8 + length])
    except (struct.error, ValueError, RecursionError):
        raise EngineError("onnxruntime-web gave an answer that cannot be read: report it") from None


def _unpack(message: bytes) -> dict[str, np.ndarray]:
    """The arrays of an answer.

    Raises:
        EngineError: they are not what the head says.
    """
    (length,) = struct.unpack_from("<I", message)
    head, place, found = _head(message), 8 + length, {}
    try:
        entries: Sequence[Mapping[str, Any]] = head["outputs"]
        for entry in entries:
            dtype = np.dtype(str(entry["type"]))
            count = int(entry["bytes"]) // dtype.itemsize
            array = np.frombuffer(message, dtype, count, place).reshape([int(side) for side in entry["shape"]])
            found[str(entry["name"])] = array.copy()
            place += int(entry["bytes"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise EngineError("onnxruntime-web gave an answer that cannot be read: report it") from None
    return found
