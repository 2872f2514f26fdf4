from __future__ import annotations

import json

import numpy as np
import pytest
from glow_cli.common.clipping import clipped_line

from glow_deploy.images import pixels_to_values, read_picture, values_to_pixels, write_png


@pytest.fixture(scope="module")
def found(model, tmp_path_factory):
    """Directions of the model: short ones, which carry to the end of the range, and one that leaves it at once."""
    from glow_deploy.artifact.identity import engine_model_id
    from glow_deploy.directions.directions import Attribute, Directions
    from glow_deploy.directions.files import save_directions
    from glow_deploy.directions.reach import Reach
    from glow_deploy.directions.soundness import Soundness
    from glow_deploy.engines.pair import open_pair

    path = tmp_path_factory.mktemp("directions") / "toys.directions.npz"
    rng = np.random.default_rng(0)
    with open_pair(model.bundle, device="cpu") as (_, decoder):
        shapes = [spec.shape for spec in decoder.inputs]
    attributes = tuple(
        Attribute(
            name=name,
            vectors=tuple((scale * rng.normal(size=shape)).astype(np.float32) for shape in shapes),
            counts=(30, 30),
            held_out=(20, 20),
            auc=0.9,
            auc_interval=(0.8, 0.95),
            auc_by_level=(0.9, 0.8),
            removing=Reach(amount=2.0, median=2.5, images=20),
            adding=Reach(amount=2.0, median=2.5, images=20),
        )
        for name, scale in (("smiling", 0.1), ("hat", 0.1), ("storm", 30.0))
    )
    directions = Directions(
        model_id=engine_model_id(model.encoder),
        source="toys",
        attributes=attributes,
        limit=3.0,
        survival=0.95,
        soundness=Soundness(),
    )
    save_directions(path, directions)
    return path


@pytest.fixture
def edit(invoke, model, found, place):
    def run(*arguments):
        return invoke("edit", model.bundle, *arguments, "--directions", found)

    return run


def shown(path) -> np.ndarray:
    """A picture as the model's 5 bits show it."""
    return pixels_to_values(values_to_pixels(read_picture(path), 5), 5)


def test_one_picture(edit, pictures, place):
    result = edit(pictures[0], "-a", "smiling=1.5", "-a", "hat=-1")
    assert result.exit_code == 0, result.output
    assert [path.name for path in place.iterdir()] == ["edited.png"]
    edited = read_picture(place / "edited.png")
    assert edited.shape == (3, 8, 8)
    assert (edited != shown(pictures[0])).any()
    assert "damped" not in result.output
    assert "cut:" not in result.output


def test_amount_0_is_the_picture_itself(edit, pictures, place):
    assert edit(pictures[1], "--attribute", "smiling=0").exit_code == 0
    np.testing.assert_array_equal(read_picture(place / "edited.png"), shown(pictures[1]))


def test_a_strip_of_several_pictures(edit, pictures, place):
    result = edit(*pictures, "-a", "Smiling", "--amounts", "-1,0,1,2", "--out", "strip.png", "--json", "strip.json")
    assert result.exit_code == 0, result.output
    scale, padding = 8, 2
    strip = read_picture(place / "strip.png")
    assert strip.shape == (3, 20 + 3 * (8 * scale + padding) + padding, 4 * (8 * scale + padding) + padding)
    for row, picture in enumerate(pictures):
        top, left = 20 + padding + row * (8 * scale + padding), padding + 8 * scale + padding
        cell = strip[:, top : top + 8 * scale : scale, left : left + 8 * scale : scale]
        np.testing.assert_array_equal(cell, shown(picture))
    images = json.loads((place / "strip.json").read_text())["images"]
    assert [image["name"] for image in images] == [str(path) for path in pictures]
    assert [item["asked"]["smiling"] for item in images[0]["edits"]] == [-1, 0, 1, 2]
    assert all(item["kept"] == 1 and item["fault"] is None for image in images for item in image["edits"])
    assert edit(pictures[0], "-a", "hat", "--strip", "--out", "five.png").exit_code == 0
    assert read_picture(place / "five.png").shape[2] == 5 * (8 * scale + padding) + padding


def test_a_folder_of_files(edit, pictures, place):
    assert edit(pictures[0].parent, "-a", "hat=1", "--out", "edited").exit_code == 0
    assert sorted(path.name for path in (place / "edited").iterdir()) == sorted(path.name for path in pictures)
    assert read_picture(place / "edited" / "picture-0.png").shape == (3, 8, 8)


def test_a_folder_is_edited_part_by_part_and_the_same_whatever_the_batch(edit, pictures, place, monkeypatch):
    import glow_deploy.latents as latents

    encode, sizes = latents.encode_images, []

    def watched(encoder, values, **options):
        sizes.append(len(values))
        return encode(encoder, values, **options)

    monkeypatch.setattr(latents, "encode_images", watched)
    asked = (*pictures, "-a", "storm=2", "--amounts", "0.5,1", "--json")
    for batch, expected in ((1, [1, 1, 1]), (4, [2, 1]), (64, [3])):
        sizes.clear()
        result = edit(*asked, f"{batch}.json", "--batch", batch, "--out", f"by-{batch}")
        assert result.exit_code == 0, result.output
        assert sizes == expected
        assert result.output.count("damped: ") == 6
    for name in (path.name for path in pictures):
        assert len({(place / f"by-{batch}" / name).read_bytes() for batch in (1, 4, 64)}) == 1
    records = [json.loads((place / f"{batch}.json").read_text())["images"] for batch in (1, 4, 64)]
    assert [image["name"] for image in records[0]] == [str(path) for path in pictures]
    kept = [[item["kept"] for image in images for item in image["edits"]] for images in records]
    assert kept[0] == kept[1] == kept[2]


def test_amounts_beyond_the_range_are_cut_and_said(edit, pictures, place):
    result = edit(pictures[0], "-a", "hat=2.5", "--json", "cut.json")
    assert (
        "cut: hat=2.5 to the range -2.00 to 2.00 in which 95% of held-out images stay sound; --beyond" in result.output
    )
    applied = json.loads((place / "cut.json").read_text())["images"][0]["edits"][0]
    assert (applied["asked"], applied["applied"]) == ({"hat": 2.5}, {"hat": 2.0})
    result = edit(pictures[0], "-a", "hat=2.5", "--beyond")
    assert "cut:" not in result.output


def test_what_is_not_sound_is_damped_said_and_never_black(edit, pictures, place):
    result = edit(*pictures, "-a", "storm=2", "--out", "storm", "--json", "storm.json")
    assert result.exit_code == 0, result.output
    assert result.output.count("damped: ") == 3
    assert "of the edit is sound and was applied" in result.output
    for image, path in zip(json.loads((place / "storm.json").read_text())["images"], pictures, strict=True):
        item = image["edits"][0]
        assert 0 < item["kept"] < 1
        assert item["applied"]["storm"] == pytest.approx(2 * item["kept"])
        assert "decodes to " in item["fault"]
        assert item["overshoot"] <= 2
        assert read_picture(place / "storm" / path.name).any()


def test_json_alone_and_quiet(edit, pictures):
    assert json.loads(edit(pictures[0], "-a", "hat", "--json", "-").stdout)["backend"] == "onnxruntime-cpu"
    result = edit(pictures[0], "-a", "hat", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_engines_by_name_and_without_torch(run_process, model, found, pictures, place):
    done = run_process(
        *("edit", pictures[0], "--encoder", model.encoder, "--decoder", model.decoder),
        *("--directions", found, "-a", "smiling=1"),
        without=["torch", "glow_core.model"],
    )
    assert done.returncode == 0, done.stderr
    assert (place / "edited.png").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("-a", "nose=1"), "no direction for 'nose'; there are smiling, hat, storm"),
        (("-a", "hat=much"), "'much' is no number"),
        (("-a", "hat=nan"), "no number"),
        (("-a", "hat=1e9"), "an amount is"),
        (("-a", "hat", "-a", "hat=2"), "given twice"),
        (("-a", "hat", "--amounts", "1,,2"), "no number"),
        (("-a", "hat", "--amounts", ",".join(["1"] * 2000)), "do not fit one file"),
        (("-a", "hat", "--amounts", "0,1", "--strip"), "one of the two"),
        (("-a", "hat", "--class", "1"), "class-conditional"),
        (("-a", "hat", "--class", "1,2"), "2 classes for 1 pictures"),
        (("-a", "hat", "--out", "edited.jpg"), "PNG"),
        (("-a", "hat", "absent.png"), "absent.png"),
    ],
)
def test_bad_requests_leave_nothing(edit, pictures, place, options, word):
    result = edit(pictures[0], *options)
    assert result.exit_code == 2
    assert word in result.output
    assert list(place.iterdir()) == []


def test_directions_of_another_model_are_refused(invoke, model, found, pictures, place):
    with np.load(found) as held:
        arrays = dict(held) | {"model_id": np.array("f" * 64)}
    np.savez(place / "other.npz", **arrays)
    result = invoke("edit", model.bundle, pictures[0], "--directions", "other.npz", "-a", "hat")
    assert result.exit_code == 2
    assert "made for the model ffffffffffff" in result.output
    result = invoke("edit", model.bundle, pictures[0], "--directions", pictures[0], "-a", "hat")
    assert result.exit_code == 2
    assert [path.name for path in place.iterdir()] == ["other.npz"]


def test_no_pictures(invoke, model, found):
    result = invoke("edit", model.bundle, "--directions", found, "-a", "hat")
    assert result.exit_code == 2
    assert "no pictures were named" in result.output


def test_pictures_of_another_size_need_resize(edit, place):
    write_png(place / "large.png", np.full((3, 16, 16), 100, np.uint8))
    assert edit("large.png", "-a", "hat").exit_code == 2
    assert edit("large.png", "-a", "hat", "--resize").exit_code == 0


def test_what_a_file_cannot_show_is_said(edit, pictures):
    assert clipped_line(np.zeros(3), np.zeros(3)) is None
    words = "clipped: 2 of 3 pictures leave the range of pixels, in 20.0% of their values, by up to 7 pixel steps"
    assert clipped_line(np.array([0.1, 0.0, 0.3]), np.array([7.0, 0.0, 2.0])) == words
    result = edit(pictures[0], "-a", "storm=2")
    assert result.exit_code == 0, result.output
    assert "clipped: 1 of 1 pictures" in result.stdout


def test_bulk_edits_as_this_command_does(invoke, model, found, pictures, place):
    """The same pictures, in shards, with how much of each edit is left."""
    folder = place / "in"
    folder.mkdir()
    for path in pictures:
        (folder / path.name).write_bytes(path.read_bytes())
    words = (folder, "--directions", found, "--attribute", "smiling=0.5", "--attribute", "storm=0.1")
    assert invoke("edit", model.bundle, *words, "-o", "one/", "--json", "one.json").exit_code == 0
    result = invoke("bulk", "edit", model.bundle, *words, "--format", "npz", "--shard-rows", 2, "-o", "shards")
    assert result.exit_code == 0, result.output
    assert "3 rows in 2 shards" in result.stdout
    told = [image["edits"][0] for image in json.loads((place / "one.json").read_text())["images"]]
    kept, images = [], []
    for path in sorted((place / "shards").glob("*.npz")):
        with np.load(path) as shard:
            kept += shard["kept"].tolist()
            images += list(shard["images"].transpose(0, 3, 1, 2))
    assert kept == [edit["kept"] for edit in told]
    for picture, path in zip(images, sorted((place / "one").iterdir()), strict=True):
        assert np.array_equal(picture, read_picture(path))
    missing = invoke("bulk", "edit", model.bundle, folder, "--attribute", "smiling", "-o", "other")
    assert "name a file of directions: --directions" in missing.stderr
    unknown = invoke("bulk", "edit", model.bundle, folder, "--directions", found, "--attribute", "wig", "-o", "other")
    assert unknown.exit_code == 2
    assert "wig" in unknown.stderr
    assert not (place / "other").exists()  # refused before the pictures were read
    other = next(path for path in folder.iterdir())
    other.write_bytes(b"no picture")
    late = invoke("bulk", "edit", model.bundle, *words, "--format", "npz", "-o", "other")
    assert "is not a picture" in late.stderr
    assert (place / "other" / "plan.json").exists()
