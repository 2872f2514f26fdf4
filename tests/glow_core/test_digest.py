"""The digest of a native checkpoint."""

import collections

import numpy as np
import pytest
import torch
from safetensors.torch import save

from glow_core import GlowConfig, load_checkpoint, read_checkpoint, save_checkpoint
from glow_core.checkpoint import load_safetensors
from glow_core.digest import digest
from glow_core.errors import CheckpointError

SMALL = GlowConfig(image_size=(4, 4), levels=1, steps=1, width=4, n_bits=5)
CONTENT = {"a": torch.arange(6.0).reshape(2, 3), "b": [1, 2.5, None, True, "x"], 3: {"c": torch.tensor(7)}}


@pytest.mark.parametrize(
    "other",
    [
        {**CONTENT, "a": torch.arange(6.0).reshape(3, 2)},
        {**CONTENT, "a": torch.arange(6.0).reshape(2, 3).double()},
        {**CONTENT, "a": torch.arange(6.0).reshape(2, 3).view(torch.int32)},
        {**CONTENT, "a": -torch.arange(6.0).reshape(2, 3)},
        {**CONTENT, "b": [1, 2.5, None, 1, "x"]},
        {**CONTENT, "b": [1, 2.5, None, True, "y"]},
        {**CONTENT, "b": [1, 2.5, None, True, "x", None]},
        {**CONTENT, "3": CONTENT[3]},
        {**CONTENT, 3: {"d": torch.tensor(7)}},
        {"a": CONTENT["a"], "b": CONTENT["b"]},
    ],
)
def test_any_difference_shows(other):
    assert digest(other) != digest(CONTENT)


def test_the_same_content_has_the_same_digest_however_it_lies_in_memory():
    turned = torch.arange(6.0).reshape(2, 3).T.contiguous().T
    assert not turned.is_contiguous()
    other = collections.OrderedDict([(3, {"c": torch.tensor(7)}), ("b", (1, 2.5, None, True, "x")), ("a", turned)])
    assert digest(other) == digest(CONTENT)
    assert digest({"n": float("nan")}) == digest({"n": float("nan")})


def test_what_has_no_bytes_of_its_own_has_no_digest():
    endless = []
    endless.append(endless)
    doubled = [0]
    for _ in range(60):
        doubled = [doubled, doubled]
    for content in (
        object(),
        {"x": np.float64(1.0)},
        torch.zeros(2, device="meta"),
        torch.zeros(1).expand(10**12),
        torch.eye(2).to_sparse(),
        endless,
        doubled,
        10**5000,
    ):
        assert digest(content) is None


@pytest.mark.parametrize("name", ["ckpt.pt", "model.safetensors"])
def test_files_of_the_first_releases_have_none_and_are_read(perturbed_glow, tmp_path, name):
    glow = perturbed_glow(SMALL)
    path = tmp_path / name
    save_checkpoint(glow, path)
    if name.endswith(".pt"):
        content = torch.load(path, weights_only=True)
        assert content.pop("digest").startswith("crc32:")
        torch.save(content, path)
    else:
        header, tensors = load_safetensors(path)
        assert header.pop("digest").startswith("crc32:")
        path.write_bytes(save(tensors, metadata=header))
    x = torch.rand(1, 3, 4, 4)
    assert torch.equal(load_checkpoint(path).log_prob(x), glow.log_prob(x))


@pytest.mark.parametrize("change", [lambda c: c["model"]["prior.mean"].add_(1), lambda c: c["training"].update(step=4)])
def test_whatever_is_not_as_it_was_written_is_named_as_damage(perturbed_glow, tmp_path, change):
    path = tmp_path / "ckpt.pt"
    save_checkpoint(perturbed_glow(SMALL), path, training={"step": 3})
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"ckpt\.pt: damaged: .*copy the file again"):
        read_checkpoint(path)


@pytest.mark.parametrize("written", ["", "crc32:0", 7, torch.zeros(2)])
def test_a_digest_that_is_none_is_refused(perturbed_glow, tmp_path, written):
    path = tmp_path / "ckpt.pt"
    save_checkpoint(perturbed_glow(SMALL), path)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "digest": written}, path)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


def test_a_flipped_bit_in_a_safetensors_file_is_refused_or_harmless(perturbed_glow, tmp_path):
    path, other = tmp_path / "model.safetensors", tmp_path / "flipped.safetensors"
    save_checkpoint(perturbed_glow(SMALL), path)
    good = read_checkpoint(path)
    whole = path.read_bytes()
    draw = np.random.default_rng(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [*draw.integers(0, header, 300), *draw.integers(header, len(whole), 100)]
    refused = []
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(draw.integers(0, 8))
        other.write_bytes(flipped)
        try:
            found = read_checkpoint(other)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        # All that is left to damage without harm is the name of the digest itself.
        assert place < header
        assert found.config == good.config
        assert all(torch.equal(found.model[name], tensor) for name, tensor in good.model.items())
    assert len(refused) >= 390
    assert all(message.startswith(f"{other}: ") for message in refused)
