"""Damaged zip archives of torch's: every flipped bit is seen, or changes nothing."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from glow_core import Glow, GlowConfig, ImportOptions, read_checkpoint, save_checkpoint
from glow_core.digest import digest
from glow_core.errors import CheckpointError
from glow_core.state import load_pt

SMALL = GlowConfig(image_size=(4, 4), levels=1, steps=1, width=4, n_bits=5)


@pytest.fixture
def saved(perturbed_glow, tmp_path):
    """A checkpoint with all that training leaves in one."""
    glow = perturbed_glow(SMALL)
    optimizer = torch.optim.Adam(glow.parameters())
    glow.log_prob(torch.rand(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    training = {"step": 3, "optimizer": optimizer.state_dict(), "rng": {"cpu": torch.get_rng_state(), "cuda": []}}
    images = np.random.default_rng(0).integers(0, 32, (2, 3, 4, 4)).astype(np.uint8)
    path = tmp_path / "ckpt.pt"
    save_checkpoint(glow, path, ema=glow.state_dict(), training=training, images=images)
    return path


def content(checkpoint):
    """All that a checkpoint holds, as one value."""
    images = None if checkpoint.images is None else torch.from_numpy(checkpoint.images)
    return digest(
        {
            "config": checkpoint.config.to_dict(),
            "model": dict(checkpoint.model),
            "ema": checkpoint.ema,
            "training": checkpoint.training,
            "images": images,
        }
    )


def flips(size, count, *, seed):
    """Bits of a file: most anywhere, the rest in the directory at its end."""
    draw = np.random.default_rng(seed)
    anywhere = draw.integers(0, size, count)
    directory = draw.integers(max(0, size - 6000), size, count // 2)
    return [(int(place), int(draw.integers(0, 8))) for place in (*anywhere, *directory)]


def read_flipped(path, read, *, count, seed=0):
    """Flip bits one at a time; gives the messages of the files that were refused, and what the others held."""
    whole = path.read_bytes()
    other = path.with_name(f"flipped{path.suffix}")
    refused, held = [], []
    for place, bit in flips(len(whole), count, seed=seed):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << bit
        other.write_bytes(flipped)
        try:
            held.append(read(other))
        except CheckpointError as error:
            refused.append(str(error))
    assert all(message.startswith(f"{other}: ") and message.isprintable() for message in refused)
    return refused, held


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mmap", [False, True])
def test_a_flipped_bit_is_refused_or_harmless(saved, mmap):
    good = content(read_checkpoint(saved))
    refused, held = read_flipped(saved, lambda path: content(read_checkpoint(path, mmap=mmap)), count=200)
    assert len(refused) > 100
    assert good is not None
    assert set(held) <= {good}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mmap", [False, True])
def test_a_flipped_bit_in_another_projects_file_is_refused_or_harmless(other_project, mmap):
    good = content(read_checkpoint(other_project))
    refused, held = read_flipped(
        other_project, lambda path: content(read_checkpoint(path, mmap=mmap)), count=120, seed=1
    )
    assert len(refused) > 60
    assert set(held) <= {good}


@pytest.fixture
def other_project(tmp_path):
    source = Path(__file__).parents[1] / "fixtures/other_projects/y0ast_affine_lu/glow_model_1.pth"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    return tmp_path / source.name


def test_without_the_checksums_a_flipped_bit_would_go_unseen(saved, tmp_path):
    """The control: torch itself reads such files."""
    whole = saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        record = max(archive.infolist(), key=lambda member: member.file_size)
    place = record.header_offset + 400
    flipped = bytearray(whole)
    flipped[place] ^= 4
    (tmp_path / "flipped.pt").write_bytes(flipped)
    theirs = torch.load(tmp_path / "flipped.pt", weights_only=True)
    assert digest({k: v for k, v in theirs.items() if k != "digest"}) != theirs["digest"]
    with pytest.raises(CheckpointError, match=r"damaged: 1 of its \d+ records.*copy the file again"):
        load_pt(tmp_path / "flipped.pt", mmap=False)


@pytest.mark.parametrize("mmap", [False, True])
def test_every_cut_is_refused(saved, tmp_path, mmap):
    whole = saved.read_bytes()
    for keep in np.linspace(0, len(whole) - 1, 40).astype(int):
        (tmp_path / "cut.pt").write_bytes(whole[:keep])
        with pytest.raises(CheckpointError, match=r"cut\.pt"):
            read_checkpoint(tmp_path / "cut.pt", mmap=mmap)


def rewritten(source, target, change):
    """The same archive with other records, whose checksums are right."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            new.writestr(member.filename, change(member.filename, old.read(member)))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("length", [lambda record: record[:-4], lambda record: record + bytes(4), lambda record: b""])
def test_a_record_of_another_length_than_its_tensor_is_refused(tmp_path, mmap, length):
    glow = Glow(SMALL)
    torch.save({"net": glow.state_dict()}, tmp_path / "good.pt")
    rewritten(tmp_path / "good.pt", tmp_path / "same.pt", lambda name, record: record)
    load_pt(tmp_path / "same.pt", mmap=mmap)
    rewritten(
        tmp_path / "good.pt",
        tmp_path / "bad.pt",
        lambda name, record: length(record) if name.endswith("data/3") else record,
    )
    with pytest.raises(CheckpointError, match=r"bad\.pt: (not a readable checkpoint|damaged)"):
        load_pt(tmp_path / "bad.pt", mmap=mmap)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    "odd",
    [
        lambda tensor: tensor.to_sparse(),
        lambda tensor: tensor.to("meta"),
        lambda tensor: torch.zeros(1).expand(12),
        lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
        lambda tensor: torch.nested.nested_tensor([tensor]),
    ],
    ids=["sparse", "meta", "expanded", "quantized", "nested"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_without_numbers_of_their_own_are_refused_in_a_line(perturbed_glow, tmp_path, mmap, odd):
    save_checkpoint(perturbed_glow(SMALL), tmp_path / "good.pt")
    content = torch.load(tmp_path / "good.pt", weights_only=True)
    content["model"]["prior.mean"] = odd(content["model"]["prior.mean"])
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"bad\.pt: ") as raised:
        read_checkpoint(tmp_path / "bad.pt", mmap=mmap)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_written_without_checksums_is_read(perturbed_glow, tmp_path, mmap):
    glow = perturbed_glow(SMALL)
    torch.serialization.set_crc32_options(False)
    try:
        save_checkpoint(glow, tmp_path / "ckpt.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    found = read_checkpoint(tmp_path / "ckpt.pt", mmap=mmap)
    assert all(torch.equal(found.model[name], tensor) for name, tensor in glow.state_dict().items())
    # Its digest stands in.
    whole = bytearray((tmp_path / "ckpt.pt").read_bytes())
    place = whole.find(glow.levels[0].steps[0].coupling.conditioner.conv2.weight.detach().numpy().tobytes())
    whole[place + 8] ^= 1
    (tmp_path / "ckpt.pt").write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"damaged: what it holds .* copy the file again"):
        read_checkpoint(tmp_path / "ckpt.pt", mmap=mmap)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mmap", [False, True])
def test_the_older_format_is_read_whole_or_not_at_all(perturbed_glow, tmp_path, mmap):
    state = perturbed_glow(SMALL).state_dict()
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    found = load_pt(tmp_path / "old.pt", mmap=mmap)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    whole = (tmp_path / "old.pt").read_bytes()
    for spoiled in (whole[:-1], whole[: len(whole) // 2], whole + b"\0"):
        (tmp_path / "bad.pt").write_bytes(spoiled)
        with pytest.raises(CheckpointError, match=r"bad\.pt"):
            load_pt(tmp_path / "bad.pt", mmap=mmap)


def test_a_flipped_bit_in_an_npz_is_refused_or_harmless(tmp_path):
    source = Path(__file__).parents[1] / "fixtures/other_projects/openai_affine/glow.npz"
    (tmp_path / "glow.npz").write_bytes(source.read_bytes())
    told = ImportOptions(image_size=(16, 16), n_bits=8)
    good = content(read_checkpoint(source, options=told))
    refused, held = read_flipped(
        tmp_path / "glow.npz", lambda path: content(read_checkpoint(path, options=told)), count=60
    )
    assert len(refused) > 20
    assert set(held) <= {good}


def zipped(records: dict[str, bytes]) -> tuple[bytes, bytes, bytes]:
    """A plain archive in three pieces: the records, the directory, the end."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, data in records.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    data = whole.getvalue()
    return data[: archive.start_dir], data[archive.start_dir : -22], data[-22:]


def records_of(value: float) -> dict[str, bytes]:
    whole = io.BytesIO()
    torch.save({"w": torch.full((3,), value)}, whole)
    with zipfile.ZipFile(whole) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_archive_with_two_directories_is_refused(tmp_path):
    """Python takes the one before the end, torch the one that the end names: checks of one say nothing of the other."""
    for_torch, for_python = zipped(records_of(7.0)), zipped(records_of(1.0))
    path = tmp_path / "two.pt"
    path.write_bytes(b"".join((*for_torch[:2], *for_python[:2], for_torch[2])))
    assert torch.load(path, weights_only=True)["w"].tolist() == [7.0] * 3
    with zipfile.ZipFile(path) as archive:
        data = next(archive.read(name) for name in archive.namelist() if name.endswith("data/0"))
    assert data == torch.ones(3).numpy().tobytes()
    for mmap in (False, True):
        with pytest.raises(CheckpointError, match="lists records in more than one way"):
            load_pt(path, mmap=mmap)
    path.write_bytes(b"".join(for_python))
    assert load_pt(path, mmap=False)["w"].tolist() == [1.0] * 3


def test_names_that_differ_in_case_alone_are_refused(tmp_path):
    records = records_of(1.0)
    name = next(name for name in records if name.endswith("data.pkl"))
    path = tmp_path / "case.pt"
    path.write_bytes(b"".join(zipped({**records, name.upper(): records[name]})))
    with pytest.raises(CheckpointError, match="lists records in more than one way"):
        load_pt(path, mmap=False)


@pytest.mark.parametrize("name", ["data.pkl", "data.pKl", "DATA.PKL"])
def test_a_pickle_that_asks_for_memory_is_refused_whatever_the_case_of_its_name(tmp_path, name):
    records = records_of(1.0)
    old = next(name for name in records if name.endswith("data.pkl"))
    pickle = b"\x80\x02cbuiltins\nbytearray\nq\x00J\x00\xca\x9a\x3b\x85q\x01Rq\x02."
    changed = {key.replace("data.pkl", name): pickle if key == old else data for key, data in records.items()}
    path = tmp_path / "memory.pt"
    path.write_bytes(b"".join(zipped(changed)))
    with pytest.raises(CheckpointError, match="asks for memory"):
        load_pt(path, mmap=False)


def test_trailing_bytes_and_comments_are_refused(tmp_path):
    torch.save({"w": torch.ones(3)}, tmp_path / "a.pt")
    data = (tmp_path / "a.pt").read_bytes()
    for changed in (data + b"x", data[:-2] + b"\x01\x00x"):
        (tmp_path / "b.pt").write_bytes(changed)
        with pytest.raises(CheckpointError):
            load_pt(tmp_path / "b.pt", mmap=False)


def test_a_digest_whose_name_is_damaged_is_not_simply_left_out(perturbed_glow, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(perturbed_glow(SMALL), path)
    data = bytearray(path.read_bytes())
    place = data.index(b'"digest"') + 1
    for bit in range(8):
        changed = bytearray(data)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
