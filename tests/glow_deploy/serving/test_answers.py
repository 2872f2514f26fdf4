from __future__ import annotations

import asyncio

import pytest

from glow_deploy.serving.answers import Answers
from glow_deploy.serving.batching import BusyError

pytest.importorskip("starlette", reason="the server needs the extra `serving`")


def sent(response, *, most=None):
    """What a server is given of an answer, of which no more than `most` pieces are ever taken."""
    found = []

    async def send(message):
        if most is not None and len(found) > most:
            await asyncio.Event().wait()
        found.append(message)

    asyncio.run(response({"type": "http"}, None, send))
    return found


@pytest.mark.parametrize("size", [0, 1, 256 << 10, (256 << 10) + 1, 1 << 20])
def test_an_answer_is_sent_whole_and_counted_until_then(size):
    answers = Answers(space=1 << 30, patience=20, least_rate=1)
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    response = answers.response(data, {"content-type": "a/b"})
    assert answers.held == size
    head, *pieces = sent(response)
    assert answers.held == 0
    assert dict(head["headers"]) == {b"content-type": b"a/b", b"content-length": str(size).encode()}
    assert b"".join(piece["body"] for piece in pieces) == data
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert max(len(piece["body"]) for piece in pieces) <= 256 << 10


def test_one_that_is_not_taken_is_given_up():
    data, answers = bytes(1 << 20), Answers(space=1 << 30, patience=0.05, least_rate=1 << 30)
    _, *pieces = sent(answers.response(data, {}), most=2)
    assert len(pieces) <= 2
    assert all(piece["more_body"] for piece in pieces)
    assert answers.held == 0


def test_more_than_there_is_room_for_is_refused():
    answers = Answers(space=100, patience=1, least_rate=1)
    answers.room(500)  # one alone is always made
    response = answers.response(b"x" * 60, {})
    answers.room(40)
    with pytest.raises(BusyError, match="large answers"):
        answers.room(41)
    sent(response)
    answers.room(41)
