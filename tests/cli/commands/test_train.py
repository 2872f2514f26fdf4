import csv
import json

import numpy as np
import pytest

SMALL = ("--levels", 1, "--steps", 1, "--width", 4, "--n-bits", 5, "--batch-size", 8, "--no-tensorboard", "--quiet")


@pytest.fixture
def images(place):
    """40 pictures of 4x4 pixels in two classes."""
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 2
    values = generator.integers(0, 128, (40, 4, 4, 3)) + 100 * labels[:, None, None, None]
    np.savez(place / "images.npz", images=values.astype(np.uint8), labels=labels)
    return place / "images.npz"


def steps(folder) -> int:
    with (folder / "log.csv").open() as handle:
        return max(int(row["step"]) for row in csv.DictReader(handle))


def test_train_resume_and_export(invoke, images, place):
    result = invoke("train", "--data", images, "--out", "run", "--max-steps", 3, *SMALL)
    assert result.exit_code == 0, result.output
    assert {"ckpt.pt", "model.safetensors", "log.csv", "samples"} <= {path.name for path in (place / "run").iterdir()}
    assert list((place / "run" / "samples").glob("step-*.png"))
    assert steps(place / "run") == 3

    result = invoke("train", "--resume", "run", "--max-steps", 5, "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["step"] == 5
    assert steps(place / "run") == 5
    assert invoke("export", "run/ckpt.pt", "--golden", 4).exit_code == 0


def test_a_run_is_not_overwritten(invoke, images, place):
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 1, *SMALL).exit_code == 0
    before = (place / "run" / "ckpt.pt").read_bytes()
    result = invoke("train", "--data", images, "--out", "run", "--max-steps", 1, *SMALL)
    assert result.exit_code == 2
    assert "--resume run" in result.stderr
    assert "--force" in result.stderr
    assert (place / "run" / "ckpt.pt").read_bytes() == before
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 2, "--force", *SMALL).exit_code == 0
    assert (place / "run" / "ckpt.pt").read_bytes() != before


def test_class_conditional_models_need_and_take_a_class(invoke, images, place):
    options = ("--data", images, "--out", "run", "--max-steps", 1, "--class-conditional", *SMALL)
    assert invoke("train", *options).exit_code == 0
    assert invoke("export", "run/ckpt.pt").exit_code == 0
    decoder = "ckpt-bundle/decoder.onnx"
    assert invoke("sample", "--engine", decoder).exit_code == 2
    assert invoke("sample", "--engine", decoder, "--class", "0,1").exit_code == 0
    assert invoke("sample", "--engine", decoder, "--class", "2").exit_code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--data and --out"),
        (("--data", "images.npz", "--out", "run"), "--max-steps N, --max-epochs X or --max-seconds X"),
        (("--data", "nowhere", "--out", "run", "--max-steps", 1), "nowhere"),
        (("--data", "images.npz", "--out", "run", "--max-steps", 1, "--levels", 4), "multiples"),
        (("--data", "images.npz", "--out", "run", "--max-steps", 1, "--image-size", "8x8"), "--resize"),
        (("--data", "images.npz", "--out", "run", "--max-steps", 1, "--image-size", "8by8"), "--image-size"),
        (("--data", "images.npz", "--out", "run", "--max-steps", 1, "--device", "tpu"), "tpu"),
        (("--resume", "nothing"), "nothing"),
        (("--resume", "run", "--out", "other"), "--out"),
        (("--resume", "run", "--init", "ckpt.pt"), "--init"),
        (("--data", "images.npz", "--out", "run", "--max-steps", 1, "--init", "nothing.pt"), "nothing.pt"),
        (("--data", "images.npz", "--out", "run", "--max-steps", 1, "--init", "images.npz"), "images.npz"),
        (("--data", "images.npz", "--out", "run", "--max-steps", 1, "--weights", "raw"), "--init"),
    ],
)
def test_what_cannot_be_trained_is_refused(invoke, images, place, options, words):
    result = invoke("train", *options)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert [path.name for path in place.iterdir()] == ["images.npz"]


def test_a_folder_that_cannot_be_written_is_noticed_before_the_images_are_read(invoke, images, place, monkeypatch):
    read = []
    monkeypatch.setattr(
        "glow_cli.common.train_inputs.open_pair", lambda *arguments, **options: read.append(arguments) or 1 / 0
    )
    (place / "file").write_text("no folder")
    result = invoke("train", "--data", images, "--out", "file/run", "--max-steps", 1, *SMALL)
    assert result.exit_code == 2
    assert "cannot write" in result.stderr
    assert not read
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 1, *SMALL).exit_code == 70
    assert read


@pytest.mark.parametrize(
    "option",
    [("--learning-rate", "9"), ("--width", "999"), ("--out", "elsewhere"), ("--inverse-penalty", "1"), ("--force",)],
)
def test_options_that_a_resumed_run_would_ignore_are_refused(images, place, invoke, option):
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 1, *SMALL).exit_code == 0
    result = invoke("train", "--resume", "run", "--max-steps", 2, *option)
    assert result.exit_code == 2
    assert option[0] in result.stderr


def test_a_resumed_run_keeps_its_device_and_threads(images, place, invoke):
    from glow_core.training import read_run

    options = ("--device", "cpu", "--threads", 1)
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 1, *options, *SMALL).exit_code == 0
    assert invoke("train", "--resume", "run", "--max-steps", 2).exit_code == 0
    settings = read_run(place / "run").settings
    assert (settings.device, settings.threads) == ("cpu", 1)


def test_the_penalties_reach_the_run_and_its_log(images, place, invoke):
    from glow_core.training import read_run

    options = ("--inverse-penalty", 0.05, "--inverse-penalty-every", 2, "--conditioning-penalty", 0.01)
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 3, *options, *SMALL).exit_code == 0
    assert invoke("train", "--resume", "run", "--max-steps", 4).exit_code == 0
    settings = read_run(place / "run").settings
    assert (settings.inverse_penalty, settings.inverse_penalty_every) == (0.05, 2)
    with (place / "run" / "log.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [bool(row["inverse_penalty"]) for row in rows] == [False, True, False, True]
    assert all(float(row["conditioning_penalty"]) > 0 for row in rows)


def test_edges_and_independent_priors_reach_the_model(invoke, images, place):
    from glow_core import read_checkpoint

    options = ("--data", images, "--out", "run", "--max-steps", 2, "--edge-bias", "--prior", "independent")
    assert invoke("train", *options, "--class-conditional", *SMALL).exit_code == 0
    assert invoke("train", "--resume", "run", "--max-steps", 3).exit_code == 0
    checkpoint = read_checkpoint(place / "run" / "ckpt.pt")
    assert (checkpoint.config.edge_bias, checkpoint.config.prior) == (True, "independent")
    edges = [tensor for name, tensor in checkpoint.model.items() if "edge" in name]
    assert len(edges) == 2
    assert all(tensor.any() for tensor in edges)
    assert checkpoint.model["prior.mean"].shape == (2, 12, 2, 2)
    assert len({tuple(row.flatten().tolist()) for row in checkpoint.model["prior.mean"]}) == 2


@pytest.fixture
def trained(invoke, images, place):
    """A model whose averaged weights and those trained differ."""
    options = ("--max-steps", 6, "--learning-rate", 0.02, "--warmup-steps", 0, "--edge-bias", *SMALL)
    assert invoke("train", "--data", images, "--out", "first", *options).exit_code == 0
    return place / "first" / "ckpt.pt"


LONGER = ("--batch-size", 8, "--warmup-steps", 0, "--no-tensorboard", "--quiet")


@pytest.mark.parametrize("weights", [None, "ema", "raw"])
def test_init_starts_from_the_weights_of_a_checkpoint(invoke, images, place, trained, weights):
    """The loss of the first step is that of the checkpoint's model on that batch, noise included."""
    import torch

    from glow_core import load_checkpoint
    from glow_core.training.sampler import ShuffledSampler, dequantize, generator_for
    from glow_core.training.state import read_run
    from glow_deploy.data import load_images

    before = trained.read_bytes()
    option = () if weights is None else ("--weights", weights)
    result = invoke("train", "--data", images, "--init", trained, *option, "--out", "run", "--max-steps", 2, *LONGER)
    assert result.exit_code == 0, result.output
    assert trained.read_bytes() == before
    state = read_run(place / "run")
    assert state.config == load_checkpoint(trained).config
    assert state.notes["init"] == str(trained)

    source = load_images(str(images), split="train")
    chosen = ShuffledSampler(len(source), batch_size=8, seed=0).batch(1)
    noise = torch.rand((8, 3, 4, 4), generator=generator_for(0, "noise", 1))
    x = dequantize(source.batch(chosen) >> np.uint8(3), noise, n_bits=5)
    with (place / "run" / "log.csv").open() as handle:
        logged = float(next(csv.DictReader(handle))["bits_per_dim"])
    expected = {}
    for which in ("ema", "raw"):
        log_prob = load_checkpoint(trained, weights=which).log_prob(x).mean().item()
        expected[which] = 5 - log_prob / (48 * np.log(2))
    other = "raw" if weights != "raw" else "ema"
    assert logged == pytest.approx(expected[weights or "ema"], abs=1e-5)
    assert abs(logged - expected[other]) > 1e-3


def test_a_run_that_began_with_init_goes_on_like_any_other(invoke, images, place, trained):
    options = ("--data", images, "--init", trained, *LONGER)
    assert invoke("train", *options, "--out", "whole", "--max-steps", 5).exit_code == 0
    assert invoke("train", *options, "--out", "halves", "--max-steps", 3).exit_code == 0
    trained.unlink()  # the run has its own copy
    assert invoke("train", "--resume", "halves", "--max-steps", 5).exit_code == 0

    def curve(folder):
        with (place / folder / "log.csv").open() as handle:
            return [(row["step"], row["bits_per_dim"], row["grad_norm"]) for row in csv.DictReader(handle)]

    assert curve("halves") == curve("whole")
    from glow_core.training.state import read_run

    assert read_run(place / "halves").notes["init"].endswith("ckpt.pt")


@pytest.mark.parametrize(
    "given",
    [
        ("--levels", 1),
        ("--steps", 1, "--width", 4),
        ("--coupling", "affine"),
        ("--permutation", "lu"),
        ("--unbounded-scale",),
        ("--n-bits", 5),
        ("--edge-bias",),
        ("--prior", "conditional"),
        ("--class-conditional",),
        ("--image-size", "4x4"),
        ("--channels", 3),
    ],
)
def test_init_brings_the_shape_of_its_model(invoke, images, place, given):
    """Refused even where the value is the same, and before anything is read."""
    result = invoke("train", "--data", images, "--init", "ckpt.pt", "--out", "run", "--max-steps", 1, *given)
    assert result.exit_code == 2, result.output
    names = [str(word).replace("unbounded", "bounded") for word in given if str(word).startswith("--")]
    assert f"leave {', '.join(names)} away" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (place / "run").exists()


def test_init_needs_images_that_fit(invoke, images, place, trained):
    np.savez(place / "large.npz", images=np.zeros((40, 8, 8, 3), dtype=np.uint8))
    result = invoke("train", "--data", "large.npz", "--init", trained, "--out", "run", "--max-steps", 1, *LONGER)
    assert result.exit_code == 2
    assert "--resize" in result.stderr
    options = ("--data", "large.npz", "--resize", "--init", trained, "--out", "run", "--max-steps", 1)
    assert invoke("train", *options, *LONGER).exit_code == 0


def test_init_of_a_class_conditional_model_needs_labels(invoke, images, place):
    options = ("--data", images, "--out", "first", "--max-steps", 1, "--class-conditional", *SMALL)
    assert invoke("train", *options).exit_code == 0
    np.savez(place / "bare.npz", images=np.load(images)["images"])
    options = ("--init", "first/ckpt.pt", "--max-steps", 1, *LONGER)
    result = invoke("train", "--data", "bare.npz", "--out", "run", *options)
    assert result.exit_code == 2
    assert "labels" in result.stderr
    assert not (place / "run").exists()
    assert invoke("train", "--data", images, "--out", "run", *options).exit_code == 0


@pytest.fixture
def folder(place):
    """600 pictures of two classes; more than a run looks at before its first step."""
    from glow_deploy.images import write_png

    generator = np.random.default_rng(0)
    for number in range(600):
        path = place / "set" / "ab"[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, generator.integers(0, 256, (3, 4, 4), dtype=np.uint8))
    return place / "set"


def curve(folder):
    with (folder / "log.csv").open() as handle:
        return [(row["step"], row["bits_per_dim"], row["grad_norm"]) for row in csv.DictReader(handle)]


def spoil(path):
    path.write_bytes(path.read_bytes()[:60])


@pytest.fixture
def unseen(folder):
    """A picture to train on that neither the fingerprint nor the first steps look at."""
    from glow_core.training.data import spread
    from glow_core.training.sampler import ShuffledSampler
    from glow_deploy.data import load_images

    images = load_images(folder, split="train")
    sampler = ShuffledSampler(len(images), batch_size=8, seed=0)
    seen = {row for step in range(1, 9) for row in sampler.batch(step).tolist()} | set(
        spread(len(images), 256).tolist()
    )
    first = ShuffledSampler(len(images), batch_size=512, seed=0).batch(1).tolist()
    return folder / images.names[next(row for row in range(len(images)) if row not in {*seen, *first})]


def test_a_damaged_header_is_refused_before_anything_is_written(invoke, folder, place):
    (folder / "a" / "100.png").write_bytes(b"no picture")
    result = invoke("train", "--data", "set", "--out", "run", "--max-steps", 1, *SMALL)
    assert result.exit_code == 2
    assert "set/a/100.png is not a picture" in result.stderr
    assert "--skip-unreadable" in result.stderr
    assert not (place / "run").exists()


def test_a_damaged_picture_stops_a_run_soon_and_the_run_goes_on_without_it(invoke, folder, unseen, place):
    spoil(unseen)
    options = ("--data", "set", "--out", "run", "--max-steps", 20_000, *SMALL)
    result = invoke("train", *options)
    assert result.exit_code == 2
    assert f"{unseen.relative_to(place)} is damaged" in result.stderr
    assert "train --resume run --skip-unreadable" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    done = steps(place / "run")
    assert 1 <= done < 20_000
    # It is not damaged at another step the next time: it is known.
    result = invoke("train", "--resume", "run", "--max-steps", done + 5)
    assert result.exit_code == 2
    result = invoke("train", "--resume", "run", "--max-steps", done + 100, "--skip-unreadable")
    assert result.exit_code == 0, result.output
    assert "others stand in for 1 of the 600 pictures" in " ".join(result.stdout.split())
    assert str(unseen.relative_to(place)) in (place / "run" / "skipped.txt").read_text()
    unseen.unlink()  # nothing changes any more
    result = invoke("train", "--resume", "run", "--max-steps", done + 110)
    assert result.exit_code == 0, result.output


def test_a_run_knows_what_it_left_out(invoke, folder, unseen, place):
    """The curve of a stopped run is that of one that went through, whatever becomes of the damaged pictures."""
    header = folder / "b" / "001.png"
    header.write_bytes(b"no picture")
    spoil(unseen)
    options = ("--data", "set", "--skip-unreadable", *SMALL[:-1])
    result = invoke("train", *options, "--out", "whole", "--max-steps", 80)
    assert result.exit_code == 0, result.output
    assert "left out, because they cannot be read: 2, listed in whole/skipped.txt" in result.stdout
    lines = (place / "whole" / "skipped.txt").read_text().splitlines()
    assert sorted(line.split("\t")[0] for line in lines) == sorted(["set/b/001.png", str(unseen.relative_to(place))])
    assert invoke("train", *options, "--out", "halves", "--max-steps", 40).exit_code == 0
    unseen.unlink()
    header.write_bytes((folder / "b" / "003.png").read_bytes())
    (folder / "a" / "new.png").write_bytes((folder / "b" / "003.png").read_bytes())
    result = invoke("train", "--resume", "halves", "--max-steps", 80)
    assert result.exit_code == 0, result.output
    assert "2 pictures are left out that the run did not begin with" in " ".join(result.stdout.split())
    assert curve(place / "halves") == curve(place / "whole")


def test_a_picture_that_is_gone_is_named(invoke, folder, unseen, place):
    assert invoke("train", "--data", "set", "--out", "run", "--max-steps", 2, *SMALL).exit_code == 0
    unseen.unlink()
    result = invoke("train", "--resume", "run", "--max-steps", 4)
    assert result.exit_code == 2
    assert f"{unseen.relative_to(place)} is gone" in result.stderr
    result = invoke("train", "--resume", "run", "--max-steps", 4, "--skip-unreadable")
    assert result.exit_code == 0, result.output
    (place / "run" / "images.json").unlink()  # as in a run of an earlier release
    result = invoke("train", "--resume", "run", "--max-steps", 6)
    assert result.exit_code == 2
    assert "other train images" in result.stderr


def test_pictures_of_several_sizes_are_settled_by_majority(invoke, folder, place):
    from glow_core import read_checkpoint
    from glow_deploy.images import write_png

    write_png(folder / "a" / "000.png", np.zeros((3, 9, 7), np.uint8))
    result = invoke("train", "--data", "set", "--out", "run", "--max-steps", 1, *SMALL)
    assert result.exit_code == 2
    assert "set/a/000.png (7x9); pass --resize" in result.stderr
    result = invoke("train", "--data", "set", "--out", "run", "--max-steps", 1, "--resize", *SMALL[:-1])
    assert result.exit_code == 0, result.output
    assert "599 of 600 pictures are 4x4" in result.stdout
    assert read_checkpoint(place / "run" / "ckpt.pt").config.image_size == (4, 4)
