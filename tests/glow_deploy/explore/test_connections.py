"""Connections that take their time, over real sockets."""

import contextlib
import http.client
import socket
import sys
import threading
import time

import pytest

from glow_deploy.explore import ExploreSettings, create_app
from glow_deploy.explore.connections import Limits, client_of
from glow_deploy.explore.serve import bind, need_uvicorn

pytest.importorskip("uvicorn", reason="serving needs uvicorn")
QUICK = Limits(head=1.0, body=2.0, answer=1.0, each=8)


@pytest.fixture(scope="module")
def address(bundle):
    """Where a page with short limits is served."""
    from glow_deploy.explore.connections import limited_protocol

    uvicorn = need_uvicorn()
    listening = bind("127.0.0.1", 0)
    app = create_app(bundle, settings=ExploreSettings(threads=1))
    config = uvicorn.Config(app, log_config=None, http=limited_protocol(QUICK), ws="none", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield listening.getsockname()
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture
def connect(address):
    with contextlib.ExitStack() as stack:

        def one(data: bytes = b"") -> socket.socket:
            found = stack.enter_context(socket.create_connection(address, timeout=20))
            found.sendall(data)
            return found

        yield one


def ask(address) -> int:
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.request("GET", "/api/model")
    status = connection.getresponse().status
    connection.close()
    return status


def seconds_until_closed(found: socket.socket, *, drip: bytes = b"") -> float:
    """How long the server lets a connection be; one byte of `drip` goes out every fifth of a second."""
    begun = time.monotonic()
    found.settimeout(0.2)
    while time.monotonic() - begun < 15:
        try:
            if drip:
                found.sendall(drip)
            if not found.recv(4096):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - begun


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "])
@pytest.mark.parametrize("drip", [b"", b"a"])
def test_headers_that_never_end(connect, begin, drip):
    assert 0.5 < seconds_until_closed(connect(begin), drip=drip) < 5


def test_a_body_that_never_ends(connect, address):
    head = f"POST /api/decode HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\nContent-Length: 60000\r\n\r\n"
    assert 0.5 < seconds_until_closed(connect(head.encode()), drip=b" ") < 6


def test_an_answer_that_is_never_taken(connect, address):
    words = f"GET /page.js HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\n\r\n".encode()
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    found.settimeout(20)
    found.connect(address)
    with found, contextlib.suppress(OSError):
        for _ in range(400):
            found.sendall(words)
        time.sleep(3)
    assert ask(address) == 200


def test_one_client_has_a_share_and_the_server_goes_on(connect, address):
    held = [connect() for _ in range(30)]
    time.sleep(0.3)
    closed = 0
    for found in held:
        found.settimeout(0.05)
        try:
            closed += found.recv(1) == b""
        except TimeoutError:
            pass
        except OSError:
            closed += 1
    assert closed == 30 - QUICK.each
    until = time.monotonic() + 10
    while time.monotonic() < until:  # until the others have had their time
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ask(address) == 200:
                return
        time.sleep(0.2)
    pytest.fail("nobody gets in any more")


def test_slow_uploads_of_one_client_keep_no_other_waiting(connect, address):
    head = f"POST /api/image?name=x HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\nContent-Length: 900\r\n\r\nabc"
    for _ in range(QUICK.each - 1):
        connect(head.encode())
    time.sleep(0.3)
    begun = time.monotonic()
    try:
        other = http.client.HTTPConnection(*address, timeout=20, source_address=("127.0.0.2", 0))
        other.request("POST", "/api/image?name=y", b"no picture")
    except OSError as error:
        pytest.skip(f"this system has one loopback address alone: {error}")
    assert other.getresponse().status == 400
    assert time.monotonic() - begun < 1.5  # less than the body of a slow one may take
    other.close()


def test_a_body_that_drips_is_refused_before_its_time_is_up(connect, address, monkeypatch):
    from glow_deploy.explore import endpoints

    monkeypatch.setattr(endpoints, "_PATIENCE", 0.5)
    head = f"POST /api/image?name=x HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\nContent-Length: 900\r\n\r\nabc"
    found = connect(head.encode())
    found.settimeout(5)
    begun = time.monotonic()
    assert b" 408 " in found.recv(4096)
    assert time.monotonic() - begun < 1.5


def test_a_connection_that_is_used_stays(address):
    connection = http.client.HTTPConnection(*address, timeout=20)
    for _ in range(6):
        connection.request("GET", "/api/model")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        time.sleep(0.5)
    connection.close()


LONG = 32 << 20  # bytes: more than the system keeps for a connection


async def refuse(scope, receive, send):
    """An application that reads nothing."""
    if scope["type"] == "lifespan":
        return
    body = b" " * LONG if scope["path"] == "/long" else b"{}"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def serving(limits):
    from glow_deploy.explore.connections import limited_protocol

    uvicorn = need_uvicorn()
    listening = bind("127.0.0.1", 0)
    config = uvicorn.Config(refuse, log_config=None, http=limited_protocol(limits), ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        server.force_exit = server.should_exit = True
        thread.join(timeout=20)


def status(address, path, *, source="127.0.0.1"):
    """Of one request, or None where the connection is closed at once."""
    connection = http.client.HTTPConnection(*address, timeout=20, source_address=(source, 0))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert b"}" in answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
@pytest.mark.parametrize("clients", [1, 2])
def test_those_that_are_too_many_may_still_ask_whether_all_is_well(clients):
    limits = Limits(head=60, each=6 // clients, total=6 if clients == 2 else 60, spare=2, kept=("/health",))
    with serving(limits) as address, contextlib.ExitStack() as stack:
        for place in range(6):
            source = (f"127.0.0.{1 + place % clients}", 0)
            stack.enter_context(socket.create_connection(address, timeout=20, source_address=source))
        time.sleep(0.2)
        assert status(address, "/other") == 503
        assert status(address, "/health") == 200
        assert status(address, "/other", source="127.0.0.9") == (200 if clients == 1 else 503)
        for _ in range(2):
            stack.enter_context(socket.create_connection(address, timeout=20))
        time.sleep(0.2)
        assert status(address, "/health") is None


def test_the_last_answer_of_a_connection_is_not_taken_for_ever():
    ask = b"GET /long HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with serving(Limits(answer=60.0, body=0.5)) as address, socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        found.settimeout(20)
        found.connect(address)
        found.sendall(ask)
        time.sleep(2.5)
        got = 0
        with contextlib.suppress(OSError):
            while piece := found.recv(1 << 20):
                got += len(piece)
    assert got < LONG


def test_what_is_left_of_a_refused_body_has_the_time_of_answers():
    with serving(Limits(answer=1.0, body=60.0)) as address, socket.create_connection(address, timeout=20) as found:
        found.sendall(f"POST / HTTP/1.1\r\nHost: {address[0]}\r\nContent-Length: 60000\r\n\r\n".encode())
        assert b" 200 " in found.recv(4096)
        assert seconds_until_closed(found, drip=b" ") < 5


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1", True),
    ],
)
def test_who_is_one_client(one, other, same):
    assert (client_of(one) == client_of(other)) is same
