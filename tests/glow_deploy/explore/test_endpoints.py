from __future__ import annotations

import threading

import pytest
from asking import decode, error, golden, upload


@pytest.mark.parametrize("token", [None, 3, "", "x" * 1000, ["a"], {"a": 1}])
def test_a_token_that_is_none_is_refused(client, token):
    assert "open it again" in error(client.post("/api/decode", json={"token": token}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ([], "object"),
        ("x", "object"),
        ({"unknown": 1}, "object of"),
        ({"temperature": "hot"}, "must be a number"),
        ({"temperature": True}, "must be a number"),
        ({"temperature": -0.1}, "from 0 to"),
        ({"temperature": 1e300}, "must be a number"),
        ({"temperature": 10**400}, "must be a number"),
        ({"temperatures": 1}, "must be a list"),
        ({"temperatures": [1]}, "the model has 2 levels"),
        ({"temperatures": [1, None]}, "must be a number"),
        ({"share": 1.5}, "from 0 to 1"),
        ({"mode": "round"}, "linear or spherical"),
        ({"mode": []}, "linear or spherical"),
        ({"attributes": []}, "an object"),
        ({"attributes": {"smiling": None}}, "must be a number"),
        ({"attributes": {"smiling": 1e6}}, "from -100 to 100"),
        ({"attributes": {"nobody": 1}}, "no direction"),
        ({"label": 1}, "not class-conditional"),
        ({"label": 1.5}, "whole number"),
    ],
)
def test_a_change_that_cannot_be_is_refused_in_one_line(client, change, words):
    answer = client.post("/api/decode", json={"token": golden(client)["token"], "change": change})
    assert words in error(answer)
    assert answer.status_code == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe", b'{"token": ' + b"[" * 3000, b"1" * 100_000])
def test_a_request_that_is_no_object_is_refused(client, body):
    for path in ("/api/decode", "/api/latents", "/api/golden", "/api/sample"):
        assert "object" in error(client.post(path, content=body)) or len(body) > 65536


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/golden", {}),
        ("/api/golden", {"index": -1}),
        ("/api/golden", {"index": 6}),
        ("/api/golden", {"index": 0.5}),
        ("/api/golden", {"index": 10**30}),
        ("/api/golden", {"index": 0, "class": 0}),
        ("/api/sample", {"seed": "many"}),
        ("/api/sample", {"seed": 1, "temperature": 1e9}),
        ("/api/sample", {"seed": 1, "temperature": 10**400}),
        ("/api/sample", {"seed": 1, "temperature": None}),
    ],
)
def test_an_image_that_is_not_there_is_refused(client, path, asked):
    answer = client.post(path, json=asked)
    error(answer)
    assert answer.status_code == 400


def test_golden_pictures(client):
    answer = client.get("/golden/5.png")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content[:4] == b"\x89PNG"
    assert "has 6" in error(client.get("/golden/6.png"))
    assert client.get("/golden/x.png").status_code == 400


def test_a_bug_is_one_line_and_the_server_goes_on(client, monkeypatch):
    from glow_deploy.explore.workbench import Workbench

    token = golden(client)["token"]
    with monkeypatch.context() as patch:
        patch.setattr(Workbench, "change", lambda *_, **__: 1 / 0)
        answer = client.post("/api/decode", json={"token": token})
    assert answer.status_code == 500
    assert "please report" in error(answer)
    assert "Traceback" not in answer.text
    decode(client, token)


def test_halves_of_characters_are_refused_in_one_line(client):
    token = golden(client)["token"]
    asked = f'{{"token": "{token}", "change": {{"attributes": {{"\\ud800": "x"}}}}}}'
    answer = client.post("/api/decode", content=asked)
    assert answer.status_code == 400
    assert error(answer) == "? must be a number"


def test_what_does_not_arrive_gives_its_place_up(bundle, monkeypatch):
    """Five pictures that never come, where four have a place; then one that does."""
    import http.client
    import socket
    import time

    import uvicorn

    from glow_deploy.explore import ExploreSettings, create_app, endpoints
    from glow_deploy.explore.serve import bind

    monkeypatch.setattr(endpoints, "_SLOWEST", 0.5)
    listening = bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    app = create_app(bundle, settings=ExploreSettings(draws=1))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        stuck = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        for connection in stuck:
            connection.sendall(b"POST /api/image?name=x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nabc")
        time.sleep(0.2)
        asking = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        asking.request("POST", "/api/image?name=y", b"no picture")
        assert asking.getresponse().status == 400
        stuck[0].settimeout(5)
        assert b" 408 " in stuck[0].recv(4096)
        for connection in (*stuck, asking):
            connection.close()
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def test_a_large_picture_keeps_no_slider_waiting(client, picture, monkeypatch):
    from glow_deploy.explore import endpoints

    token = golden(client)["token"]
    reading, go_on = threading.Event(), threading.Event()
    whole = endpoints.read_upload

    def slow(*given, **options):
        reading.set()
        assert go_on.wait(20)
        return whole(*given, **options)

    monkeypatch.setattr(endpoints, "read_upload", slow)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(upload(client, picture()).status_code))
    thread.start()
    assert reading.wait(20)
    decode(client, token)
    assert answers == []
    go_on.set()
    thread.join(timeout=20)
    assert answers == [200]
