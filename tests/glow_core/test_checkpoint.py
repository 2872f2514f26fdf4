import dataclasses
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save

from glow_core import Glow, GlowConfig, load_checkpoint, read_checkpoint, save_checkpoint
from glow_core.checkpoint import Origin, load_safetensors
from glow_core.convert import convert_checkpoint
from glow_core.errors import CheckpointError
from glow_core.temporaries import host_name, temporary_name

LU = "levels.0.steps.0.permutation"
CONFIG = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=6, n_bits=5)
ORIGIN = Origin(
    project="some/project",
    options={"image_size": [8, 8], "n_bits": 5, "input_range": "unit", "scale_map": "sigmoid"},
    notes=("It is taken to be fed images minus 0.5.", "Its classifier is left out."),
)


@pytest.fixture
def glow(perturbed_glow):
    return perturbed_glow(CONFIG)


@pytest.mark.parametrize("name", ["ckpt.pt", "model.safetensors"])
def test_saved_and_loaded_models_agree_to_the_bit(glow, tmp_path, name):
    save_checkpoint(glow, tmp_path / name)
    loaded = load_checkpoint(tmp_path / name)
    assert loaded.config == CONFIG
    assert not loaded.training
    assert loaded.is_initialized
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(loaded.log_prob(x), glow.log_prob(x))


@pytest.mark.parametrize("name", ["ckpt.pt", "model.safetensors"])
def test_tensors_left_in_the_file_are_the_same_and_outlive_its_replacement(glow, tmp_path, name):
    save_checkpoint(glow, tmp_path / name)
    copied, mapped = read_checkpoint(tmp_path / name), read_checkpoint(tmp_path / name, mmap=True)
    save_checkpoint(Glow(glow.config), tmp_path / name)
    assert list(copied.model) == list(mapped.model)
    assert all(torch.equal(copied.model[key], mapped.model[key]) for key in copied.model)


def test_reloading_never_initialises_again(glow, tmp_path):
    save_checkpoint(glow, tmp_path / "ckpt.pt")
    loaded = load_checkpoint(tmp_path / "ckpt.pt").train()
    loaded.encode(100 * torch.rand(4, 3, 8, 8))
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), glow.state_dict().values(), strict=True))


def test_both_formats_have_the_same_permissions(glow, tmp_path):
    for name in ("ckpt.pt", "model.safetensors"):
        save_checkpoint(glow, tmp_path / name)
    assert (tmp_path / "ckpt.pt").stat().st_mode == (tmp_path / "model.safetensors").stat().st_mode


def test_a_float64_model_is_stored_as_float32(glow, tmp_path):
    save_checkpoint(glow.double(), tmp_path / "ckpt.pt")
    assert next(load_checkpoint(tmp_path / "ckpt.pt").parameters()).dtype == torch.float32


def test_averaged_weights_are_taken_unless_raw_is_asked_for(glow, tmp_path):
    ema = {**glow.state_dict(), **{name: value + 1 for name, value in glow.named_parameters()}}
    save_checkpoint(glow, tmp_path / "ckpt.pt", ema=ema, training={"step": 7})
    assert torch.equal(load_checkpoint(tmp_path / "ckpt.pt").prior.mean, glow.prior.mean + 1)
    assert torch.equal(load_checkpoint(tmp_path / "ckpt.pt", weights="raw").prior.mean, glow.prior.mean)
    save_checkpoint(glow, tmp_path / "model.safetensors", ema=ema)
    assert torch.equal(load_checkpoint(tmp_path / "model.safetensors").prior.mean, glow.prior.mean + 1)


def test_images_labels_and_training_state_come_back(glow, tmp_path):
    images = np.random.default_rng(0).integers(0, 32, (5, 3, 8, 8)).astype(np.uint8)
    save_checkpoint(glow, tmp_path / "c.pt", training={"step": 3}, images=images, labels=None)
    stored = read_checkpoint(tmp_path / "c.pt")
    assert np.array_equal(stored.images, images)
    assert stored.labels is None
    assert stored.training["step"] == 3


@pytest.mark.parametrize("name", ["ckpt.pt", "model.safetensors"])
def test_where_converted_weights_came_from_comes_back(glow, tmp_path, name):
    save_checkpoint(glow, tmp_path / name, origin=ORIGIN)
    found = read_checkpoint(tmp_path / name)
    assert found.origin == dataclasses.replace(ORIGIN, converted=True)
    # Also after the next conversion, and nothing is said of a model that comes from nowhere else.
    convert_checkpoint(found, tmp_path / f"again-{name}")
    assert read_checkpoint(tmp_path / f"again-{name}").origin == found.origin
    save_checkpoint(glow, tmp_path / name)
    assert read_checkpoint(tmp_path / name).origin is None


def test_a_model_trained_here_is_written_as_before_there_were_origins(glow, tmp_path):
    assert "origin" not in _content(glow, tmp_path)
    save_checkpoint(glow, tmp_path / "model.safetensors")
    assert set(load_safetensors(tmp_path / "model.safetensors")[0]) == {"format", "format_version", "config", "digest"}


@pytest.mark.parametrize("name", ["bad.pt", "bad.safetensors"])
@pytest.mark.parametrize(
    "change",
    [
        lambda o: [],
        lambda o: o.pop("notes"),
        lambda o: o.update(more=1),
        lambda o: o.update(project=3),
        lambda o: o.update(project=""),
        lambda o: o.update(project="two\nlines"),
        lambda o: o.update(project="p" * 201),
        lambda o: o.update(notes="one"),
        lambda o: o.update(notes=[3]),
        lambda o: o.update(notes=["\x1b[2J"]),
        lambda o: o.update(notes=["a note"] * 101),
        lambda o: o.update(notes=["n" * 2001]),
        lambda o: o.update(options=None),
        lambda o: o["options"].update(width=3),
        lambda o: o["options"].update(n_bits=9),
        lambda o: o["options"].update(n_bits=True),
        lambda o: o["options"].update(n_bits=10**4000),
        lambda o: o["options"].update(image_size=8),
        lambda o: o["options"].update(image_size=[8, "8"]),
        lambda o: o["options"].update(image_size={"8": 8}),
        lambda o: o["options"].update(input_range="other"),
        lambda o: o["options"].update(scale_map=["sigmoid"]),
    ],
)
def test_a_malformed_origin_is_refused(glow, tmp_path, name, change):
    origin = ORIGIN.to_dict()
    changed = change(origin)
    origin = changed if changed == [] else origin
    if name.endswith(".pt"):
        torch.save({**_content(glow, tmp_path), "origin": origin}, tmp_path / name)
    else:
        save_checkpoint(glow, tmp_path / name)
        header, tensors = load_safetensors(tmp_path / name)
        (tmp_path / name).write_bytes(save(tensors, metadata={**header, "origin": json.dumps(origin)}))
    with pytest.raises(CheckpointError, match="origin") as raised:
        read_checkpoint(tmp_path / name)
    assert name in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' + "9" * 5000 + "}", "{", ""])
def test_an_origin_in_a_header_that_is_not_json_is_refused(glow, tmp_path, text):
    save_checkpoint(glow, tmp_path / "bad.safetensors")
    header, tensors = load_safetensors(tmp_path / "bad.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(save(tensors, metadata={**header, "origin": text}))
    with pytest.raises(CheckpointError, match=r"bad\.safetensors.*origin"):
        read_checkpoint(tmp_path / "bad.safetensors")


def test_tensors_in_an_origin_are_refused(glow, tmp_path):
    content = _content(glow, tmp_path)
    for part in ("project", "options", "notes"):
        torch.save({**content, "origin": {**ORIGIN.to_dict(), part: torch.zeros(2)}}, tmp_path / "bad.pt")
        with pytest.raises(CheckpointError, match="origin"):
            read_checkpoint(tmp_path / "bad.pt")
    for name in ("n_bits", "input_range"):
        origin = {**ORIGIN.to_dict(), "options": {name: torch.zeros(2)}}
        torch.save({**content, "origin": origin}, tmp_path / "bad.pt")
        with pytest.raises(CheckpointError, match="origin"):
            read_checkpoint(tmp_path / "bad.pt")


class _Runs:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def _content(glow, tmp_path):
    save_checkpoint(glow, tmp_path / "good.pt")
    return torch.load(tmp_path / "good.pt", weights_only=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format="other"), "no layout known here"),
        (lambda c: c.update(format_version=99), "format 99"),
        (lambda c: c.update(config={"width": 3}), "config"),
        (lambda c: c["config"].update(width=7), "tensor"),
        (lambda c: c["config"].update(steps=3), "missing"),
        (lambda c: c["config"].update(levels=1), "unknown"),
        (lambda c: c.update(model=None), "dictionary"),
        (lambda c: c["model"].pop("prior.mean"), "no prior.mean"),
        (lambda c: c["model"].update(extra=torch.zeros(1)), "unknown extra"),
        (lambda c: c["model"].update({"prior.mean": torch.zeros(3)}), r"prior.mean is torch.float32 \(3,\)"),
        (lambda c: c["model"].update({"prior.mean": c["model"]["prior.mean"].double()}), "float64"),
        (lambda c: c["model"]["prior.mean"].fill_(float("nan")), "NaN"),
        (lambda c: c["model"]["prior.mean"].fill_(float("inf")), "NaN or infinity"),
        (lambda c: c.update(images=torch.full((1, 3, 8, 8), 32, dtype=torch.uint8)), "5 bits"),
        (lambda c: c.update(images=torch.zeros(1, 1, 8, 8, dtype=torch.uint8)), "uint8"),
        (lambda c: c.update(training=3), "training state"),
        (lambda c: c.update(format_version=torch.tensor([1, 2])), "unknown format"),
        (lambda c: c.update(format_version=10**12), "unknown format"),
        (lambda c: c["model"].update({"prior.mean": c["model"]["prior.mean"].to_sparse()}), "plain array"),
        (lambda c: c["model"].update({"prior.mean": c["model"]["prior.mean"].to("meta")}), "plain array"),
        (lambda c: c["model"].update({"prior.mean": torch.zeros(1).expand(24)}), "plain array"),
        (lambda c: c["model"].update({3: torch.zeros(1)}), "unknown a key of type int"),
        (lambda c: c.update(images=torch.zeros(1, 3, 8, 8, dtype=torch.uint8, device="meta")), "uint8"),
        (lambda c: c.update(images=torch.zeros(1, 3, 8, 8, dtype=torch.uint8).expand(10**9, -1, -1, -1)), "uint8"),
        (lambda c: c["config"].update(width=10**30), "width"),
        (lambda c: c["config"].update(channels=10**18), "channels"),
        (lambda c: c["config"].update(num_classes=10**18), "num_classes"),
        (lambda c: c["config"].update(image_size=[2**70, 2**70]), "image_size"),
        (lambda c: c["config"].update(steps=10**9), "steps"),
        (lambda c: c["config"].update(steps=1024), "tensors are missing"),
        (lambda c: c["model"][f"{LU}.sign"].mul_(2), "other signs"),
        (lambda c: c["model"][f"{LU}.permutation"].fill_(0), "not a permutation matrix"),
        (lambda c: c["model"][f"{LU}.permutation"].mul_(0.5), "not a permutation matrix"),
        (lambda c: c["model"][f"{LU}.permutation"].add_(1), "not a permutation matrix"),
        (lambda c: c["model"]["levels.0.steps.0.actnorm.initialized"].fill_(7), "flag"),
    ],
)
def test_damage_is_named_before_anything_runs(glow, tmp_path, change, words):
    content = _content(glow, tmp_path)
    change(content)
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=words) as raised:
        read_checkpoint(tmp_path / "bad.pt")
    assert "bad.pt" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["shuffle", "reverse"])
@pytest.mark.parametrize("change", [lambda o: o.fill_(999), lambda o: o.fill_(0), lambda o: o.neg_()])
def test_a_channel_order_that_is_none_is_refused(perturbed_glow, tmp_path, kind, change):
    config = GlowConfig(image_size=(8, 8), levels=1, steps=1, width=4, permutation=kind)
    content = _content(perturbed_glow(config), tmp_path)
    change(content["model"][f"{LU}.order"])
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"permutation\.order is not a permutation"):
        read_checkpoint(tmp_path / "bad.pt")
    assert read_checkpoint(tmp_path / "good.pt").config == config


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' + "9" * 5000 + "}", "null", "{"])
def test_a_safetensors_header_with_a_damaged_config_is_refused(glow, tmp_path, text):
    header = {"format": "glow-deploy-checkpoint", "format_version": "1", "config": text}
    (tmp_path / "bad.safetensors").write_bytes(save(dict(glow.state_dict()), metadata=header))
    with pytest.raises(CheckpointError, match=r"bad\.safetensors.*config"):
        read_checkpoint(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("keep", [0, 1, 8, 9, 100, 5000])
@pytest.mark.parametrize("name", ["ckpt.pt", "model.safetensors"])
def test_truncated_files_are_refused(glow, tmp_path, name, keep, mmap):
    save_checkpoint(glow, tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(tmp_path / name, mmap=mmap)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_are_refused(tmp_path, seed, mmap):
    (tmp_path / "noise.pt").write_bytes(np.random.default_rng(seed).bytes(3000))
    with pytest.raises(CheckpointError, match="noise"):
        read_checkpoint(tmp_path / "noise.pt", mmap=mmap)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("as_zip", [True, False])
def test_a_pickle_that_would_run_code_does_not(tmp_path, monkeypatch, as_zip, mmap):
    monkeypatch.chdir(tmp_path)
    if as_zip:
        torch.save({"format": _Runs()}, "evil.pt")
    else:
        (tmp_path / "evil.pt").write_bytes(pickle.dumps(_Runs()))
    with pytest.raises(CheckpointError, match=r"evil\.pt"):
        read_checkpoint("evil.pt", mmap=mmap)
    assert not (tmp_path / "pwned").exists()
    pickle.loads(pickle.dumps(_Runs()))  # the trap is real
    assert (tmp_path / "pwned").exists()


def test_a_missing_file_and_a_missing_folder_are_named(glow, tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(glow, tmp_path / "nowhere" / "ckpt.pt")


def test_a_failed_write_leaves_the_earlier_file_whole(glow, tmp_path):
    """A file-size limit stands in for a full disk; it needs a process of its own."""
    path = tmp_path / "ckpt.pt"
    save_checkpoint(glow, path)
    before = path.read_bytes()
    code = (
        "import resource, signal, sys\n"
        "from glow_core import load_checkpoint, save_checkpoint\n"
        "from glow_core.errors import CheckpointError\n"
        "glow = load_checkpoint(sys.argv[1])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    save_checkpoint(glow, sys.argv[1])\n"
        "except CheckpointError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "cannot write" in done.stdout, done.stderr
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt.pt"]


@pytest.mark.parametrize("name", ["ckpt.pt", "model.safetensors"])
def test_only_what_a_process_of_this_machine_left_goes_with_the_next_write(glow, tmp_path, name):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = host_name()
    left = tmp_path / f".{name}.{host}.{ended.pid}.00ff.tmp"
    others = [
        tmp_path / f".{name}.other-node.{ended.pid}.00000077.tmp",  # being written by another machine
        tmp_path / f".{name}.{host}.{os.getpid()}.00ff.tmp",
        tmp_path / f".{name}.{host}.\u00b2.00ff.tmp",
    ]
    for path in (left, *others):
        path.touch()
    save_checkpoint(glow, tmp_path / name)
    assert set(tmp_path.iterdir()) == {tmp_path / name, *others}


@pytest.mark.parametrize("name", ["ckpt.pt", "model.safetensors"])
def test_a_link_under_the_name_of_a_file_in_the_making_is_not_followed(glow, tmp_path, monkeypatch, name):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda count: "guessed")
    (tmp_path / temporary_name(name)).symlink_to(victim)
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(glow, tmp_path / name)
    assert victim.read_text() == "precious"
