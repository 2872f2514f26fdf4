"""State dictionaries: held against the model, and no byte read past a record that is shorter than the pickle says."""

from __future__ import annotations

import pickle
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch

from glow_core import GlowConfig
from glow_core.errors import CheckpointError
from glow_core.state import check_state, is_plain, key_name, load_pt, reference_state


def _shorten(path, target, name):
    """Write the archive again with half of one record missing."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info.filename, data[: len(data) // 2] if info.filename.endswith(name) else data)


@pytest.fixture
def path(tmp_path):
    content = {"a": torch.arange(16.0), "b": {"c": torch.ones(4, 4), "empty": torch.zeros(0)}, "n": 3}
    content["view"] = content["a"][4:]
    torch.save(content, tmp_path / "good.pt")
    return tmp_path / "good.pt"


def test_sound_files_stay_where_they_are(path, monkeypatch):
    loads = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: loads.append(k["mmap"]) or load(*a, **k))
    content = load_pt(path, mmap=True)
    assert loads == [True]
    assert torch.equal(content["view"], torch.arange(4.0, 16.0))


@pytest.mark.parametrize("name", ["data/0", "data/1"])
@pytest.mark.parametrize("mmap", [True, False])
def test_short_records_are_refused(path, tmp_path, name, mmap):
    _shorten(path, tmp_path / "short.pt", name)
    with pytest.raises(CheckpointError, match=r"not a readable checkpoint|damaged: its tensors are not as long"):
        load_pt(tmp_path / "short.pt", mmap=mmap)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("module", [b"builtins", b"__builtin__"])
def test_a_pickle_cannot_ask_for_memory(tmp_path, old, module):
    asks = b"\x80\x02c" + module + b"\nbytearray\nJ\x00\x00\x00\x40\x85R."  # 1 GiB
    path = tmp_path / "bomb.pt"
    if old:
        magic, version = 0x1950A86A20F9469CFC6C, 1001
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in (magic, version, {})) + asks + pickle.dumps([], 2))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in (("data.pkl", asks), ("version", "3\n"), ("byteorder", "little")):
                archive.writestr(f"archive/{name}", data)
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        load_pt(path, mmap=False)
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
    tracemalloc.stop()


HERE = Path("weights.pt")


@pytest.fixture
def state(perturbed_glow) -> dict[str, torch.Tensor]:
    config = GlowConfig(image_size=(4, 4), levels=1, steps=2, width=4, permutation="shuffle")
    return perturbed_glow(config).state_dict()


def test_the_reference_has_the_tensors_of_the_model_and_takes_no_memory(state) -> None:
    config = GlowConfig(image_size=(4, 4), levels=1, steps=2, width=4, permutation="shuffle")
    reference = reference_state(HERE, config, state)
    assert {name: (t.shape, t.dtype) for name, t in reference.items()} == {
        name: (t.shape, t.dtype) for name, t in state.items()
    }
    assert all(tensor.is_meta for tensor in reference.values())
    with pytest.raises(CheckpointError, match="tensors are missing: 1 for 2 steps of flow"):
        reference_state(HERE, config, {"a": torch.zeros(1)})


def test_tensors_come_in_the_order_of_the_model(state) -> None:
    shuffled = dict(reversed(list(state.items())))
    found = check_state(HERE, shuffled, state, part="model")
    assert list(found) == list(state)
    assert all(found[name] is state[name] for name in state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t[:, :-1].contiguous(),
            r"tensor prior.mean is torch.float32 \(1, 11\); the config asks for",
        ),
        (lambda t: t.double(), "tensor prior.mean is torch.float64"),
        (lambda t: t * float("nan"), "tensor prior.mean holds NaN or infinity"),
        (lambda t: t.to_sparse(), "tensor prior.mean is not a plain array"),
    ],
)
def test_a_tensor_that_is_not_the_models_is_named(state, change, message: str) -> None:
    state["prior.mean"] = state["prior.mean"].reshape(1, -1)
    changed = {**state, "prior.mean": change(state["prior.mean"])}
    with pytest.raises(CheckpointError, match=f"weights.pt: 'ema' {message}"):
        check_state(HERE, changed, state, part="ema")


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("order", 0, "is not a permutation of 0..11"),
        ("initialized", 2, "is a flag other than 0 and 1"),
    ],
)
def test_fixed_tensors_are_what_the_log_determinant_takes_them_for(state, kind: str, value: int, message: str) -> None:
    name = next(name for name in state if name.endswith(f".{kind}"))
    changed = {**state, name: torch.full_like(state[name], value)}
    with pytest.raises(CheckpointError, match=f"{name} {message}"):
        check_state(HERE, changed, state, part="model")


def test_missing_and_unknown_names_are_counted_and_the_first_two_told(state) -> None:
    changed = {name: tensor for name, tensor in state.items() if not name.startswith("prior.")}
    changed |= {"a\x1bb": torch.zeros(1), 7: torch.zeros(1)}
    listed = r"no prior\.log_scale, no prior\.mean, unknown a key of type int, unknown a\?b"
    with pytest.raises(CheckpointError, match=rf"2 missing, 2 unknown tensors: {listed}"):
        check_state(HERE, changed, state, part="model")


def test_names_are_one_short_line() -> None:
    assert key_name("a\n b\tc") == "a b c"
    assert key_name("a\x1b[2Jb") == "a?[2Jb"
    assert len(key_name("x" * 500)) == 80
    assert key_name(None) == "a key of type NoneType"


def test_a_few_bytes_that_pose_as_more_are_not_plain() -> None:
    assert is_plain(torch.zeros(3, 2))
    assert not is_plain(torch.zeros(1).expand(1000))
    assert not is_plain(torch.zeros(3, 2).T)
    assert not is_plain(torch.zeros(2, device="meta"))
    assert not is_plain([0.0])


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_torch_are_read(tmp_path: Path, zipped: bool, mmap: bool) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.arange(3)}, path, _use_new_zipfile_serialization=zipped)
    assert load_pt(path, mmap=mmap)["a"].tolist() == [0, 1, 2]
