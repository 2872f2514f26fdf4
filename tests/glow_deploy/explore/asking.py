"""Requests as the page's script makes them."""

from __future__ import annotations


def golden(client, index=0, **more):
    answer = client.post("/api/golden", json={"index": index, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def decode(client, token, other=None, **change):
    answer = client.post("/api/decode", json={"token": token, "other": other, "change": change})
    assert answer.status_code == 200, answer.text
    return answer.json()


def upload(client, data, name="dropped.png", **query):
    return client.post("/api/image", params={"name": name, **query}, content=data)


def error(answer):
    """The one line that an error is."""
    told = answer.json()["error"]
    assert answer.status_code >= 400
    assert told
    assert "\n" not in told
    return told
