"""A client and servers that are not what they should be."""

from __future__ import annotations

import http.server
import json
import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from glow_deploy.errors import EngineError
from glow_deploy.kserve import KServeClient, parse_remote
from glow_deploy.kserve.tensors import HEADER, pack, unpack

pytest.importorskip("urllib3", reason="the client needs the extra `serving`")


@contextmanager
def answering(answer, *, extensions=("binary_tensor_data",), timeout=5.0):
    """A client of a server that answers inferences with `answer(path, headers, body)`: status, headers, body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def send(self, status, headers, body):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.send(200, {}, json.dumps({"name": "fake", "extensions": list(extensions)}).encode())

        def do_POST(self):
            self.send(*answer(self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_):
            pass

        def handle(self):
            with suppress(OSError):  # a client that did not wait
                super().handle()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = parse_remote(f"kserve=127.0.0.1:{server.server_address[1]}")
    try:
        with KServeClient(address, timeout=timeout) as client:
            yield client
    finally:
        server.shutdown()
        server.server_close()


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def double(path, headers, body):
    length = headers.get(HEADER)
    asked = unpack(body, None if length is None else int(length), side="inputs")
    found, split = pack({"y": asked.tensors["x"] * 2}, side="outputs", binary=asked.as_bytes("y"))
    return 200, {} if split is None else {HEADER: str(split)}, found


@pytest.mark.parametrize("extensions", [["binary_tensor_data"], []], ids=["bytes", "json"])
def test_a_model_is_asked(extensions):
    seen = []

    def answer(path, headers, body):
        seen.append((path, HEADER in headers))
        return double(path, headers, body)

    with answering(answer, extensions=extensions) as client:
        np.testing.assert_array_equal(client.infer("a b/c", {"x": X})["y"], X * 2)
    assert seen == [("/v2/models/a%20b%2Fc/infer", bool(extensions))]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, {}, b'{"error": "out of\\nmemory"}'), r"out of memory \(HTTP 500\)"),
        ((400, {}, b"<html>"), "HTTP 400"),
        ((302, {"Location": "http://192.0.2.1/"}, b""), "HTTP 302"),
        ((200, {}, b"no json"), "JSON object"),
        ((200, {}, b'{"outputs": [{"name": "y", "shape": [9], "datatype": "FP32", "data": [1]}]}'), "9"),
        ((200, {HEADER: "99999"}, b"{}"), HEADER),
        ((200, {"Content-Length": "500"}, b"{}"), "broke off|within"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_answers_that_are_none_are_one_line(answer, said):
    with answering(lambda *_: answer, timeout=0.8) as client, pytest.raises(EngineError, match=said) as refusal:
        client.infer("m", {"x": X})
    assert "\n" not in str(refusal.value)


def test_a_server_that_takes_its_time_is_left():
    def slow(*_):
        time.sleep(1.5)
        return 200, {}, b"{}"

    with answering(slow, timeout=0.5) as client:
        begun = time.monotonic()
        with pytest.raises(EngineError, match=r"did not answer within 0\.5 seconds"):
            client.infer("m", {"x": X})
        assert time.monotonic() - begun < 1.4


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 500,
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{" + b" " * 498 + b"}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 90,
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 500,
    ],
    ids=["headers", "body", "chunks", "no length"],
)
def test_the_whole_answer_must_come_in_time(answer):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip():
            found = listening.accept()[0]
            found.recv(4096)
            begin = answer.find(b"\r\n\r\n") + 1
            found.sendall(answer[:begin])
            with found, suppress(OSError):
                for place in range(begin, len(answer)):
                    found.sendall(answer[place : place + 1])
                    time.sleep(0.02)

        threading.Thread(target=drip, daemon=True).start()
        client = KServeClient(parse_remote(f"kserve=127.0.0.1:{listening.getsockname()[1]}"), timeout=0.4)
        begun = time.monotonic()
        with client, pytest.raises(EngineError, match=r"did not answer within 0\.4 seconds"):
            client.server()
        assert time.monotonic() - begun < 2  # the whole would take 7 seconds and more


def test_more_than_was_asked_for_is_not_read():
    def much(*_):
        return 200, {}, b" " * (5 << 20)

    with answering(much) as client:
        with pytest.raises(EngineError, match="more than 4 MiB"):
            client.infer("m", {"x": X}, values=6)
        with pytest.raises(EngineError, match="JSON"):  # it is read, where nobody says how much there may be
            client.infer("m", {"x": X})


def test_a_server_that_is_gone_and_one_that_speaks_something_else():
    with answering(double) as client:
        pass
    with pytest.raises(EngineError, match="cannot be reached: Connection refused"):
        client.server()
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def speak():
            found = listening.accept()[0]
            found.recv(4096)
            found.sendall(b"\0\0\x18\4\n" * 9)

        threading.Thread(target=speak, daemon=True).start()
        port = listening.getsockname()[1]
        other = KServeClient(parse_remote(f"triton=127.0.0.1:{port}"), timeout=3)
        with other, pytest.raises(EngineError, match="does not speak HTTP"):
            other.server()
