from __future__ import annotations

import threading

import pytest
from asking import decode, error, golden


def test_tabs_have_their_own_images(client):
    first, second = golden(client, 0), golden(client, 1)
    assert first["token"] != second["token"]
    assert decode(client, first["token"], temperature=0.5)["picture"] != decode(client, second["token"])["picture"]
    assert decode(client, first["token"])["changed_values"] == decode(client, second["token"])["changed_values"] == 0


def test_what_was_unused_for_longest_is_forgotten_and_that_is_said(visit, bundle):
    client = visit(bundle, kept_images=2)
    tokens = [golden(client, index)["token"] for index in range(2)]
    decode(client, tokens[0])
    golden(client, 2)
    answer = client.post("/api/decode", json={"token": tokens[1]})
    assert (answer.status_code, answer.json()["kind"]) == (410, "forgotten")
    assert "open it again" in error(answer)
    decode(client, tokens[0])  # was used since


def test_one_request_at_a_time_runs_on_the_engines(client, monkeypatch):
    from glow_deploy.explore.workbench import Workbench

    token = golden(client)["token"]
    whole, busy, most = Workbench.change, [], []

    def watched(self, *arguments, **options):
        busy.append(1)
        most.append(len(busy))
        try:
            return whole(self, *arguments, **options)
        finally:
            busy.pop()

    monkeypatch.setattr(Workbench, "change", watched)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(decode(client, token))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert (len(answers), max(most)) == (8, 1)


def test_the_engines_are_closed_when_the_server_ends(visit, bundle, monkeypatch):
    from starlette.testclient import TestClient

    from glow_deploy.errors import EngineError
    from glow_deploy.explore import app

    made = []
    whole = app.Workbench
    monkeypatch.setattr(app, "Workbench", lambda *given, **options: made.append(whole(*given, **options)) or made[0])
    with TestClient(app.create_app(bundle), base_url="http://localhost") as client:
        assert client.post("/api/sample", json={"seed": 0}).status_code == 200
    with pytest.raises(EngineError, match="closed"):
        made[0].sample_values(seed=0, temperature=0.5, label=None)
