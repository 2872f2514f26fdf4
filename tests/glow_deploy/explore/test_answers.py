"""What the server answers to the page's script."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest

from glow_deploy.directions.editing import edit_latents
from glow_deploy.directions.files import load_directions
from glow_deploy.engines.pair import open_pair
from glow_deploy.images import values_to_pixels, values_to_x, x_to_values
from glow_deploy.latents import EncodeSettings, SampleSettings, decode_latents, encode_images, load_latents, sample


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


@pytest.fixture
def engines(bundle):
    with open_pair(bundle) as pair:
        yield pair


def test_the_model_is_described(client):
    found = client.get("/api/model").json()
    assert found["image"] == {"channels": 3, "height": 8, "width": 8, "n_bits": 5}
    assert found["levels"] == [[6, 4, 4], [24, 2, 2]]
    assert (found["classes"], found["golden"], found["name"]) == (None, 6, "rgb")
    assert found["engine"]["backend"] == "onnxruntime-cpu"
    smiling, far_out = found["directions"]["attributes"]
    assert (smiling["name"], smiling["low"], smiling["high"], smiling["auc"]) == ("smiling", -2.07, 1.5, 0.9)
    assert far_out["name"] == "far_out"


def test_an_image_is_measured_as_encode_measures_it(client, engines, picture, values_of):
    found = upload(client, picture(seed=3)).json()
    values = values_of(f"data:image/png;base64,{_base64(picture(seed=3))}")
    wanted = encode_images(engines[0], values[None], settings=EncodeSettings(draws=2))
    assert found["bits_per_dim"] == wanted.bits_per_dim[0]
    assert found["bits_per_dim_centre"] == wanted.bits_per_dim_centre[0]
    x_hat = decode_latents(engines[1], wanted.z).x[0]
    steps = (x_hat.astype(np.float64) - values_to_x(values, 5)) * 32
    assert found["error"]["max_steps"] == pytest.approx(np.abs(steps).max(), rel=1e-12)
    assert found["error"]["rms_steps"] == pytest.approx(np.sqrt((steps**2).mean()), rel=1e-12)
    assert found["error"]["exact"] == found["error"]["values"] == 192
    assert [level["mean_square"] for level in found["levels"]] == [
        pytest.approx(float((z.astype(np.float64) ** 2).mean())) for z in wanted.z
    ]
    seen = values_of(found["picture"])
    assert np.array_equal(values_to_pixels(seen, 5), values_to_pixels(values, 5))
    assert np.array_equal(values_of(found["reconstruction"]), seen)
    assert found["notes"] == []
    assert not found["trouble"]


def _base64(data):
    import base64

    return base64.b64encode(data).decode()


def test_a_sample_is_the_one_that_sample_draws(client, engines, values_of):
    found = client.post("/api/sample", json={"seed": 7, "temperature": 0.5}).json()
    batch = next(sample(engines[1], count=1, settings=SampleSettings(seed=7, temperature=0.5)))
    assert np.array_equal(values_of(found["picture"]), x_to_values(batch.x[0], 5))
    assert found["name"] == "sample of seed 7"


def test_without_a_change_every_value_is_as_in_the_image(client):
    found = decode(client, golden(client)["token"])
    assert (found["changed_values"], found["kept"], found["fault"]) == (0, 1.0, "")
    assert found["command"].startswith("glow-deploy encode --engine ")


def test_the_temperature_scales_the_latents_of_each_level(client, engines, values_of):
    image = golden(client)
    found = decode(client, image["token"], temperature=0.8, temperatures=[0.5, 1.25])
    z = encode_images(engines[0], values_of(image["picture"])[None], settings=EncodeSettings(draws=0)).z
    wanted = decode_latents(engines[1], [np.float32(0.4) * z[0], z[1]]).x[0]
    assert np.abs(values_of(found["picture"]).astype(int) - x_to_values(wanted, 5)).max() <= 8  # one pixel step
    assert found["mean_square"] == [
        pytest.approx(0.16 * image["levels"][0]["mean_square"], rel=1e-5),
        pytest.approx(image["levels"][1]["mean_square"], rel=1e-5),
    ]
    assert found["changed_values"] > 0
    assert found["command"].startswith("glow-deploy decode --engine ")


def test_attributes_are_what_edit_makes_of_them(client, engines, directions_file, bundle, values_of):
    image = golden(client, 1)
    found = decode(client, image["token"], attributes={"smiling": 1.2})
    directions = load_directions(directions_file, engines[1].inputs, model_id=None)
    latents = encode_images(engines[0], values_of(image["picture"])[None], settings=EncodeSettings(draws=0))
    wanted = edit_latents(*engines, latents, directions, edits=[{"smiling": 1.2}])
    assert np.array_equal(values_of(found["picture"]), x_to_values(wanted.x[0, 0], 5))
    assert found["kept"] == wanted.kept[0, 0] == 1
    assert found["command"] == (
        f"glow-deploy edit {bundle} golden-1.png --directions {directions_file} --attribute smiling=1.2"
    )


def test_a_change_beyond_what_is_sound_is_damped_as_edit_damps_it(client, engines, directions_file, values_of):
    image = golden(client)
    found = decode(client, image["token"], attributes={"far_out": 1.0})
    directions = load_directions(directions_file, engines[1].inputs, model_id=None)
    latents = encode_images(engines[0], values_of(image["picture"])[None], settings=EncodeSettings(draws=0))
    wanted = edit_latents(*engines, latents, directions, edits=[{"far_out": 1.0}])
    assert 0 <= found["kept"] < 0.01
    assert found["kept"] == wanted.kept[0, 0]
    assert found["fault"] == wanted.faults[0][0] != ""
    assert np.array_equal(values_of(found["picture"]), x_to_values(wanted.x[0, 0], 5))
    assert found["amounts"] == {"far_out": found["kept"]}


def test_interpolation_ends_at_the_second_image(client, values_of):
    first, second = golden(client, 0), golden(client, 1)
    for mode in ("linear", "spherical"):
        there = decode(client, first["token"], second["token"], share=1.0, mode=mode)
        assert np.array_equal(values_of(there["picture"]), values_of(second["picture"]))
        here = decode(client, first["token"], second["token"], share=0.0, mode=mode)
        assert here["changed_values"] == 0
        assert decode(client, first["token"], second["token"], share=0.5, mode=mode)["changed_values"] > 0
    assert "interpolate" in there["command"]
    assert "--mode spherical" in there["command"]


def test_interpolation_needs_a_second_image(client):
    token = golden(client)["token"]
    assert "second image" in error(client.post("/api/decode", json={"token": token, "change": {"share": 0.5}}))


def test_the_latents_that_are_saved_decode_to_the_picture(client, engines, tmp_path, values_of):
    image = golden(client)
    change = {"temperature": 0.7, "attributes": {"smiling": 1}}
    answer = client.post("/api/latents", json={"token": image["token"], "change": change})
    (tmp_path / "latents.npz").write_bytes(answer.content)
    latents = load_latents(tmp_path / "latents.npz", engines[1].inputs)
    assert latents.names == ("golden-0.png",)
    shown = decode(client, image["token"], **change)
    again = x_to_values(decode_latents(engines[1], latents.z).x[0], 5)
    assert np.array_equal(again, values_of(shown["picture"]))


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


# --- uploads


@pytest.mark.parametrize(
    ("size", "note"),
    [
        ((8, 8), None),
        ((16, 16), "16x16 pixels, resampled to 8x8"),
        ((20, 10), "20x10 pixels, cropped in the middle and resampled to 8x8"),
        ((1, 1), "1x1 pixels, resampled"),
    ],
)
def test_any_size_is_taken_and_what_was_done_is_said(client, picture, size, note):
    found = upload(client, picture(*size)).json()
    assert (found["notes"] == []) if note is None else (note in found["notes"][0])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_the_common_kinds_are_taken(client, picture, kind):
    assert upload(client, picture(format=kind)).status_code == 200


def test_colour_for_a_grey_model(visit, grey_bundle, picture, values_of):
    client = visit(grey_bundle)
    found = upload(client, picture()).json()
    assert found["notes"] == ["in colour, turned grey, which the model takes"]
    assert values_of(found["picture"]).shape == (1, 8, 8)
    assert upload(client, picture(mode="L")).json()["notes"] == []


def test_the_command_fits_a_picture_that_was_fitted(client, picture, directions_file, bundle):
    token = upload(client, picture(16, 16), name="-my face.png").json()["token"]
    command = decode(client, token, attributes={"smiling": -3})["command"]
    assert command == (
        f"glow-deploy edit {bundle} './-my face.png' --directions {directions_file} --attribute smiling=-3 "
        "--beyond --resize"
    )


def bomb(width, height):
    """A PNG file that claims to be large."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello", "is not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not a picture"),
        (b"\x89PNG\r\n\x1a\n", "dropped.png"),
        (bomb(8, 8), "damaged or cut short"),
        (bomb(20_000, 20_000), "million pixels"),
        (bomb(2_000_000, 2_000_000), "million pixels"),
        (bomb(10_000, 8_000), "more than 50 million pixels"),
    ],
)
def test_bad_files_are_refused_in_one_line(client, data, words):
    answer = upload(client, data)
    assert words in error(answer)
    assert answer.status_code == 400


def test_a_damaged_picture_is_refused(client, picture):
    data = picture(64, 64)
    assert "damaged" in error(upload(client, data[: len(data) // 2]))


def test_kinds_that_only_files_may_have_are_refused(client, picture):
    assert "not a picture that can be read here" in error(upload(client, picture(format="TIFF")))


def test_the_limit_is_kept_while_reading(visit, bundle, picture):
    data = picture()
    client = visit(bundle, max_upload=len(data))
    assert upload(client, data).status_code == 200
    answer = upload(client, data + b"x")
    assert (answer.status_code, "is larger than" in error(answer)) == (413, True)

    sent = []

    def endless():
        for _ in range(10_000):
            sent.append(1)
            yield b"\0" * 1024

    # Without a length: only counting can notice.
    answer = client.post("/api/image", params={"name": "x"}, content=endless())
    assert (answer.status_code, "is larger than" in error(answer)) == (413, True)


def test_the_limit_is_told_before_anything_is_read(visit, bundle):
    client = visit(bundle, max_upload=10)
    answer = client.post("/api/image", params={"name": "x"}, content=b"abc", headers={"content-length": "9999999999"})
    assert answer.status_code == 413


def test_names_are_made_fit_to_be_shown(client, picture):
    found = upload(client, picture(), name="C:\\folder/a\x00b\u202ec\nd" + "e" * 500 + ".png").json()
    assert found["name"].startswith("abcde")
    assert len(found["name"]) == 100
    assert upload(client, picture(), name="/").json()["name"] == "picture"
    assert upload(client, picture(), name="<b>&.png").json()["name"] == "<b>&.png"  # the page writes it as text


# --- class-conditional models


def test_an_image_is_encoded_as_the_likeliest_class(visit, class_bundle, picture, values_of):
    client = visit(class_bundle)
    found = upload(client, picture()).json()
    assert client.get("/api/model").json()["classes"] == 3
    shares = [one["share"] for one in found["likeliest"]]
    assert sum(shares) == pytest.approx(1)
    assert found["label"] == found["likeliest"][0]["label"]
    others = {label: upload(client, picture(), **{"class": label}).json() for label in range(3)}
    assert min(others, key=lambda label: others[label]["bits_per_dim"]) == found["label"]
    assert others[1]["label"] == 1
    assert others[1]["likeliest"] == []


def test_another_class_decodes_to_another_picture(visit, class_bundle, picture):
    client = visit(class_bundle)
    found = upload(client, picture(), **{"class": 1}).json()
    assert decode(client, found["token"])["changed_values"] == 0
    own = decode(client, found["token"], label=1)
    assert (own["changed_values"], own["label"]) == (0, 1)
    assert own["command"].endswith("--class 1")
    other = decode(client, found["token"], label=2)
    assert (other["changed_values"] > 0, other["label"]) == (True, 2)
    answer = client.post("/api/latents", json={"token": found["token"], "change": {"label": 2}})
    assert np.load(io.BytesIO(answer.content))["y"].tolist() == [2]


def test_golden_images_have_their_own_class_and_samples_take_turns(visit, class_bundle):
    from glow_deploy.artifact.bundle import Bundle

    client = visit(class_bundle)
    labels = Bundle.open(class_bundle).golden().y
    assert [golden(client, index)["label"] for index in range(3)] == labels[:3].tolist()
    found = [client.post("/api/sample", json={"seed": seed}).json()["label"] for seed in range(4)]
    assert found == [0, 1, 2, 0]
    assert golden(client, 0, **{"class": 2})["label"] == 2


def test_a_class_that_there_is_not_is_refused(visit, class_bundle, picture):
    client = visit(class_bundle)
    assert "0 to 2" in error(upload(client, picture(), **{"class": 3}))
    assert "whole number" in error(upload(client, picture(), **{"class": "cat"}))
    token = golden(client)["token"]
    assert "0 to 2" in error(client.post("/api/decode", json={"token": token, "change": {"label": 7}}))


# --- what goes wrong inside


def spoil(monkeypatch, change):
    """Let every decode pass through `change` first."""
    from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

    whole = OnnxRuntimeEngine.run

    def run(self, feeds):
        outputs = {name: array.copy() for name, array in whole(self, feeds).items()}
        if "x" in outputs:
            change(outputs["x"])
        return outputs

    monkeypatch.setattr(OnnxRuntimeEngine, "run", run)


def test_an_image_that_the_model_does_not_invert_is_shown_but_not_changed(client, monkeypatch, values_of):
    def lose(x):
        x[:, 0, 0, :3] = np.nan

    spoil(monkeypatch, lose)
    image = golden(client)
    assert image["error"]["non_finite"] == 3
    assert image["error"]["exact"] == 192 - 3
    assert values_of(image["reconstruction"])[:, 0, 0].tolist() == [255, 0, 255]
    assert "non-finite" in image["trouble"]
    answer = client.post("/api/decode", json={"token": image["token"]})
    assert (answer.status_code, error(answer)) == (422, image["trouble"])


def test_wrong_pixels_are_counted(client, monkeypatch):
    def shift(x):
        x[:, :, 0, 0] += 2 / 32

    spoil(monkeypatch, shift)
    found = golden(client)["error"]
    assert found["max_steps"] == pytest.approx(2, abs=1e-3)
    assert found["values"] - found["exact"] == 3


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


@pytest.mark.parametrize(
    ("source", "shown"),
    [("faces", "faces"), ("hf:a/b", "hf:a/b"), ("/home/me/set/", "set"), ("C:\\\\d\\\\x.npz", "x.npz")],
)
def test_no_folder_of_the_machine_is_shown(source, shown):
    from glow_deploy.explore.answers import _short

    assert _short(source) == shown
