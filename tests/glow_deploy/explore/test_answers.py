"""What the server answers to the page's script."""

from __future__ import annotations

import io

import numpy as np
import pytest
from asking import decode, error, golden, upload

from glow_deploy.directions.editing import edit_latents
from glow_deploy.directions.files import load_directions
from glow_deploy.engines.pair import open_pair
from glow_deploy.images import values_to_pixels, values_to_x, x_to_values
from glow_deploy.latents import EncodeSettings, SampleSettings, decode_latents, encode_images, load_latents, sample


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


def test_the_command_fits_a_picture_that_was_fitted(client, picture, directions_file, bundle):
    token = upload(client, picture(16, 16), name="-my face.png").json()["token"]
    command = decode(client, token, attributes={"smiling": -3})["command"]
    assert command == (
        f"glow-deploy edit {bundle} './-my face.png' --directions {directions_file} --attribute smiling=-3 "
        "--beyond --resize"
    )


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


@pytest.mark.parametrize(
    ("source", "shown"),
    [("faces", "faces"), ("hf:a/b", "hf:a/b"), ("/home/me/set/", "set"), ("C:\\\\d\\\\x.npz", "x.npz")],
)
def test_no_folder_of_the_machine_is_shown(source, shown):
    from glow_deploy.explore.answers import _short

    assert _short(source) == shown
