"""The protocol as clients meet it."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.canary import judge_integers
from glow_deploy.engines.pair import open_pair
from glow_deploy.errors import MissingDependencyError, UsageError
from glow_deploy.images import x_to_values
from glow_deploy.kserve import pack, unpack
from glow_deploy.kserve.tensors import HEADER
from glow_deploy.latents import concatenate_samples, sample
from glow_deploy.scoring import score_images
from glow_deploy.serving import ServeSettings
from glow_deploy.serving.app import create_app, longest_body
from glow_deploy.serving.batching import LateError


@pytest.fixture(scope="module")
def visit():
    """A client of the server of a bundle; keyword arguments are settings."""
    testclient = pytest.importorskip("starlette.testclient", reason="starlette and httpx2 are needed")
    pytest.importorskip("prometheus_client", reason="the server needs the extra `serving`")
    with ExitStack() as stack:

        def start(path, **settings):
            app = create_app(path, settings=ServeSettings(**{"threads": 1, **settings}))
            return stack.enter_context(testclient.TestClient(app, base_url="http://127.0.0.1:8000"))

        yield start


@pytest.fixture(scope="module")
def client(visit, bundle):
    return visit(bundle, max_batch=4, max_body=64 << 10)


def infer(client, name, tensors, *, binary=True, status=200, **others):
    """Ask as the protocol says; returns arrays, or the error."""
    others = {"parameters": {"binary_data_output": binary}, **others}
    body, length = pack(tensors, side="inputs", binary=binary, **others)
    headers = {} if length is None else {HEADER: str(length)}
    answer = client.post(f"/v2/models/{name}/infer", content=body, headers=headers)
    assert answer.status_code == status, answer.content[:200]
    if status != 200:
        return answer.json()["error"]
    split = answer.headers.get(HEADER)
    return unpack(answer.content, None if split is None else int(split), side="outputs").tensors


def test_it_tells_what_it_serves(client, bundle):
    told = client.get("/v2").json()
    assert told["name"] == "glow-deploy"
    assert "binary_tensor_data" in told["extensions"]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/glow-encoder/ready"):
        assert client.get(path).status_code == 200
    model = client.get("/v2/models/glow-encoder").json()
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3, 16, 8]}]
    assert model["outputs"][-1] == {"name": "log_prob", "datatype": "FP32", "shape": [-1, 1]}
    assert client.get("/v2/models/glow-encoder/versions/1").json() == model
    config = client.get("/v2/models/glow-encoder/config").json()
    assert config["max_batch_size"] == 4
    assert config["parameters"]["glow_deploy.model_id"]["string_value"] == Bundle.open(bundle).manifest.model_id
    for path in ("/v2/models/nothing", "/v2/models/glow-encoder/versions/2", "/nowhere", "/v2/models/nothing/ready"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "json"])
@pytest.mark.parametrize("kind", ["bundle", "class_bundle"])
def test_the_numbers_are_those_of_the_commands(kind, binary, request, visit):
    path = request.getfixturevalue(kind)
    client = visit(path, name="m")
    golden = Bundle.open(path).golden()
    y = {} if golden.y is None else {"y": golden.y}
    with open_pair(path, threads=1) as (encoder, decoder):
        wanted = encoder.run({"x": golden.x, **y})
        column = {name: labels[:, None] for name, labels in y.items()}
        found = infer(client, "m-encoder", {"x": golden.x, **column}, binary=binary)
        assert set(found) == set(wanted)
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name].reshape(array.shape), array)
        z = {name: array for name, array in found.items() if name[0] == "z"}
        back = infer(client, "m-decoder", {**z, **y}, binary=binary)["x"]  # y as [N] will do
        np.testing.assert_array_equal(back, decoder.run({**z, **y})["x"])
        values = x_to_values(golden.x, encoder.n_bits)
        scored = infer(client, "m-score", {"image": values, **y}, binary=binary)
        expected = score_images(encoder, values, labels=golden.y)
        np.testing.assert_array_equal(scored["bits_per_dim"], expected.bits_per_dim)
        np.testing.assert_array_equal(scored["level_squares"], expected.level_squares)
        asked = {
            "count": np.array([3]),
            "seed": np.array([2**64 - 1], np.uint64),
            **({"y": np.array([1])} if y else {}),
        }
        drawn = infer(client, "m-sample", asked, binary=binary)
        same = concatenate_samples(sample(decoder, count=3, seed=2**64 - 1, labels=(1,) if y else None))
        np.testing.assert_array_equal(drawn["image"], x_to_values(same.x, decoder.n_bits))


def test_an_exact_bundle_gives_and_takes_integers(visit, exact_bundle):
    client, golden = visit(exact_bundle, name="e"), Bundle.open(exact_bundle).golden()
    found = infer(client, "e-encoder", {"x": golden.x, "y": golden.y})
    for level, integers in enumerate(golden.integers, 1):
        np.testing.assert_array_equal(found[f"z{level}"], integers)
    assert (found["in_range"] == 1).all()
    assert judge_integers(lambda x: infer(client, "e-integers", {"z1": x})["x"]).arithmetic == "exact"
    z = {name: array for name, array in found.items() if name[0] == "z"}
    asked = {**z, "y": golden.y, "as_normal": np.zeros((len(golden), 1, 1, 1), np.float32)}
    back = infer(client, "e-decoder", asked)
    np.testing.assert_array_equal(back["x"], golden.x)
    with open_pair(exact_bundle, threads=1) as (encoder, decoder):
        values = x_to_values(golden.x, encoder.n_bits)
        scored = infer(client, "e-score", {"image": values, "y": golden.y})
        np.testing.assert_array_equal(
            scored["bits_per_dim"], score_images(encoder, values, labels=golden.y).bits_per_dim
        )
        drawn = infer(client, "e-sample", {"count": np.array([3]), "y": np.array([1])})
        same = concatenate_samples(sample(decoder, count=3, labels=(1,)))
        np.testing.assert_array_equal(drawn["image"], x_to_values(same.x, decoder.n_bits))


def test_outputs_are_chosen_and_the_id_comes_back(client):
    x = np.full((1, 3, 16, 8), 0.5, np.float32)
    outputs = [{"name": "log_prob", "parameters": {"binary_data": False}}]
    body, length = pack({"x": x}, side="inputs", id="mine", outputs=outputs)
    answer = client.post("/v2/models/glow-encoder/infer", content=body, headers={HEADER: str(length)}).json()
    assert (answer["id"], answer["model_name"]) == ("mine", "glow-encoder")
    assert [entry["name"] for entry in answer["outputs"]] == ["log_prob"]
    assert "gives" in infer(client, "glow-encoder", {"x": x}, status=400, outputs=[{"name": "w"}])


X = np.full((1, 3, 16, 8), 0.5, np.float32)


@pytest.mark.parametrize(
    ("model", "tensors", "status", "said"),
    [
        ("nothing", {"x": X}, 404, "no model nothing"),
        ("glow-encoder", {}, 400, "missing: x"),
        ("glow-encoder", {"x": X, "w": X}, 400, "unknown: w"),
        ("glow-encoder", {"x": X[:, :, :8]}, 400, "must be FP32 [-1, 3, 16, 8]"),
        ("glow-encoder", {"x": X.astype(np.float64)}, 400, "got FP64"),
        ("glow-encoder", {"x": X[:0]}, 400, "1 to 4 rows"),
        ("glow-encoder", {"x": np.repeat(X, 5, axis=0)}, 400, "1 to 4 rows"),
        ("glow-encoder", {"x": np.repeat(X, 99, axis=0)}, 413, "larger than 64 KiB"),
        ("glow-sample", {"count": np.array([0])}, 400, "count must be"),
        ("glow-sample", {"count": np.array(["1"]) == "2"}, 400, "got BOOL"),
        ("glow-score", {"image": np.zeros((1, 3, 8, 8), np.uint8)}, 400, "must be UINT8"),
    ],
)
def test_requests_that_are_none_are_one_line(client, model, tensors, status, said):
    line = infer(client, model, tensors, status=status)
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"", {}), (b"{", {}), (b"[]", {}), (b"{}", {HEADER: "x"}), (b"{}", {HEADER: "9" * 5000}), (b"{}", {HEADER: "1"})],
)
def test_bodies_that_are_none_are_one_line(client, body, headers):
    answer = client.post("/v2/models/glow-encoder/infer", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_request_with_too_little_time_is_told(client):
    x = np.full((1, 3, 16, 8), 0.5, np.float32)
    line = infer(client, "glow-encoder", {"x": x}, status=504, parameters={"timeout": 1})
    assert "not answered in time" in line


def test_non_finite_numbers_are_asked_for_as_bytes(client):
    x = np.full((1, 3, 16, 8), 3e38, np.float32)
    assert "binary" in infer(client, "glow-encoder", {"x": x}, binary=False, status=400, parameters={})
    found = infer(client, "glow-encoder", {"x": x})
    assert not np.isfinite(found["log_prob"]).all()


def test_other_names_and_other_pages_are_refused(client):
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
        assert client.get("/v2", headers=headers).status_code == 403
    assert "--allow-host" in client.get("/v2", headers={"host": "evil.example"}).json()["error"]


@pytest.mark.parametrize("label", [-1, 3, 2**62])
def test_labels_that_are_no_classes_are_the_askers_fault(visit, class_bundle, label):
    client, golden = visit(class_bundle), Bundle.open(class_bundle).golden()
    y = np.array([label])
    z = {f"z{level}": part[:1].astype(np.float32) for level, part in enumerate(golden.z, 1)}
    asked = {"encoder": {"x": golden.x[:1]}, "decoder": z, "score": {"image": np.zeros((1, 1, 8, 8), np.uint8)}}
    for role, tensors in {**asked, "sample": {"count": np.array([1])}}.items():
        assert "0..2" in infer(client, f"glow-{role}", {**tensors, "y": y}, status=400)


def test_a_request_may_not_ask_for_more_time_than_numbers_have(client):
    assert infer(client, "glow-encoder", {"x": X}, parameters={"timeout": 10**400, "binary_data_output": True})


def test_no_more_rows_are_announced_than_a_request_may_hold(visit, bundle):
    client = visit(bundle, max_batch=500, max_body=64 << 10, name="small")
    for role in ("encoder", "decoder"):
        told = client.get(f"/v2/models/small-{role}/config").json()
        most = told["max_batch_size"]
        assert 30 < most < 42  # of 1536 bytes
        shapes = {entry["name"]: entry["dims"] for entry in told["input"]}
        infer(client, f"small-{role}", {name: np.zeros((most, *dims), np.float32) for name, dims in shapes.items()})
    with pytest.raises(UsageError, match="too small for one"):
        create_app(bundle, settings=ServeSettings(max_body=1 << 10, threads=1))


def test_a_server_whose_engine_ended_is_not_ready(visit, bundle):
    client = visit(bundle, name="ended")
    service = client.app.state.service
    assert client.get("/v2/health/ready").status_code == 200
    client.portal.call(service._models["ended-decoder"].batcher.stop)
    for path in ("/v2/health/ready", "/v2/models/ended-encoder/ready"):
        assert client.get(path).status_code == 503
    assert client.get("/v2/health/live").status_code == 200


def test_scoring_and_sampling_end_in_time_and_are_bounded(visit, bundle, monkeypatch):
    from glow_deploy.serving import service

    go = threading.Event()

    def stuck(engine, feeds):
        assert go.wait(20)
        return {"image": feeds["count"], "redraws": feeds["count"]}

    monkeypatch.setattr(service, "sample_call", stuck)
    client = visit(bundle, name="slow", queue=1, deadline=20)
    asked = {"count": np.array([1])}
    quick = {"parameters": {"timeout": 50_000, "binary_data_output": True}}
    for _ in range(service._CALLS + 1):  # the last of them never gets its turn
        assert "in time" in infer(client, "slow-sample", asked, status=504, **quick)
    waiting = threading.Thread(target=infer, args=(client, "slow-sample", asked))
    waiting.start()
    while client.app.state.service.waiting()["slow-sample"] < 1:
        time.sleep(0.005)
    assert "wait already" in infer(client, "slow-sample", asked, status=503)
    go.set()
    waiting.join(20)
    infer(client, "slow-score", {"image": np.zeros((1, 3, 16, 8), np.uint8)})


def test_work_whose_client_has_gone_is_given_up(visit, bundle, monkeypatch):
    from glow_deploy.serving import service

    go, engines = threading.Event(), []

    def stuck(engine, feeds):
        engines.append(engine)
        assert go.wait(20)
        return engine.run({"z1": np.zeros((1, 6, 8, 4), np.float32), "z2": np.zeros((1, 24, 4, 2), np.float32)})

    monkeypatch.setattr(service, "sample_call", stuck)
    client = visit(bundle, name="left")
    body, length = pack({"count": np.array([1])}, side="inputs")
    headers = {"host": "127.0.0.1", HEADER.lower(): str(length)}
    scope = {
        "type": "http", "method": "POST", "path": "/v2/models/left-sample/infer", "query_string": b"", "state": {},
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    given = iter([{"type": "http.request", "body": body}])
    sent = []

    async def receive():
        found = next(given, None)
        while found is None and not engines:
            await asyncio.sleep(0.001)
        return found or {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    client.portal.call(client.app, scope, receive, send)
    assert sent[0]["status"] == 499
    go.set()
    with pytest.raises(LateError):  # as its thread finds at its next batch
        engines[0].run({"z1": np.zeros((1, 6, 8, 4), np.float32), "z2": np.zeros((1, 24, 4, 2), np.float32)})


def test_json_may_be_less_than_bytes(visit, bundle):
    client = visit(bundle, name="large")
    path, most = "/v2/models/large-encoder/infer", 4 << 20
    answer = client.post(path, content=b" " * (most + 1))
    assert answer.status_code == 413
    assert "4096 KiB of JSON; send its tensors as binary" in answer.json()["error"]
    assert client.post(path, content=b" " * most).status_code == 400  # read, and no JSON
    head = {HEADER: str(most + 1)}
    assert client.post(path, content=b" " * (most + 1), headers=head).status_code == 413
    rows = np.repeat(X, 900, axis=0)
    assert "1 to 64 rows" in infer(client, "large-encoder", {"x": np.repeat(rows, 4, axis=0)}, status=400)


def test_the_longest_body_has_its_time():
    settings = ServeSettings(max_body=40 << 20)
    assert longest_body(settings) > (40 << 20) / (64 << 10) + 10


def test_another_method_is_not_allowed(client):
    assert client.get("/v2/models/glow-encoder/infer").status_code == 405
    assert client.post("/v2").status_code == 405


def test_what_happened_is_counted(visit, bundle):
    client = visit(bundle)
    infer(client, "glow-encoder", {"x": X})
    infer(client, "glow-encoder", {}, status=400)
    text = client.get("/metrics").text
    assert 'glow_requests_total{model="glow-encoder",status="200"} 1.0' in text
    assert 'glow_requests_total{model="glow-encoder",status="400"} 1.0' in text
    assert 'glow_batch_rows_count{model="glow-encoder"} 1.0' in text


def test_a_bug_is_told_as_one(client, monkeypatch):
    from glow_deploy.serving import service

    monkeypatch.setattr(service, "_checked", lambda *_: 1 / 0)
    line = infer(client, "glow-encoder", {"x": X}, status=500)
    assert line == "a bug in glow-deploy, please report it: ZeroDivisionError: division by zero"


def test_without_the_packages_the_extra_is_named(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    with pytest.raises(MissingDependencyError, match=r"glow-deploy\[serving\]"):
        create_app(bundle)


def test_the_answer_is_strict_json(client):
    body = json.dumps({"inputs": [{"name": "count", "shape": [1], "datatype": "INT64", "data": [1]}]})
    answer = client.post("/v2/models/glow-sample/infer", content=body)
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.json()["outputs"][0]["data"]) == 3 * 16 * 8
