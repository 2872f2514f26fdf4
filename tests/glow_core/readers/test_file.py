"""What files of other projects may look like on the outside: wrapped, old, narrow, damaged, hostile."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from formulas_rosinality import Sizes, random_state

from glow_core import ImportOptions, load_checkpoint, read_checkpoint, save_checkpoint
from glow_core.errors import CheckpointError
from glow_core.readers import READERS, read_tensors, reader_of
from glow_core.readers.reader import Tensors

TOLD = {"image_size": (4, 4), "n_bits": 5}
STATE = random_state(Sizes(size=(4, 4), levels=1, steps=2, width=3, module=False))
WEIGHT = "blocks.0.flows.0.coupling.net.2.weight"  # [3,3,1,1]


def read(path, **options):
    return read_checkpoint(path, options=ImportOptions(**TOLD), **options).model


@pytest.fixture
def file(tmp_path):
    """Where a checkpoint is written."""
    return tmp_path / "model.pt"


@pytest.fixture
def plain(tmp_path):
    """The model of the bare state dictionary."""
    path = tmp_path / "plain.pt"
    torch.save(STATE, path)
    return read(path)


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


# ---- what wraps a model


OPTIMIZER = {"state": {0: {"step": 3, "exp_avg": torch.ones(5)}}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.99)}]}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: OrderedDict(state),
        lambda state: {"model": state},
        lambda state: {"graph": state, "optim": OPTIMIZER, "global_step": 45_000, "criterion": None},
        lambda state: {"state_dict": state, "epoch": 3, "best": 1.5},
        lambda state: {"model_state_dict": state, "optimizer_state_dict": OPTIMIZER},
        lambda state: {"net": state, "test_loss": torch.tensor(3.0)},
        lambda state: {"model": {"state_dict": {"net": state}}, "optimizer": OPTIMIZER},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
        lambda state: {"model": {f"module._orig_mod.{name}": value for name, value in state.items()}},
    ],
    ids=["ordered", "model", "graph", "state_dict", "model_state_dict", "net", "nested", "module", "compiled", "all"],
)
def test_whatever_wraps_a_state_dictionary_comes_off(file, plain, wrap):
    torch.save(wrap(STATE), file)
    assert same(read(file), plain)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("mmap", [True, False])
def test_todays_torch_files_and_those_before_zip(file, plain, zipped, mmap):
    torch.save({"graph": STATE}, file, _use_new_zipfile_serialization=zipped)
    assert zipfile.is_zipfile(file) == zipped
    assert same(read(file, mmap=mmap), plain)


@pytest.mark.parametrize(
    "content",
    [
        {},
        [STATE],
        torch.ones(3),
        "a string",
        {"epoch": 3},
        {"model": "resnet", "config": {"model": {}}},
        {**STATE, "epoch": 3},
        {"model": {"model": {"model": {"model": {"model": STATE}}}}},
    ],
    ids=["empty", "list", "tensor", "string", "counter", "names", "mixed", "deep"],
)
def test_files_with_no_state_dictionary(file, refusal, content):
    torch.save(content, file)
    message = refusal(file)
    assert "no state dictionary" in message
    assert "graph, model, state_dict" in message


# ---- how tensors may be stored


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(file, tmp_path, dtype):
    """Each gives what its own numbers give, to the last bit of float32."""
    other = {name: value.to(dtype) if value.is_floating_point() else value for name, value in STATE.items()}
    wide = tmp_path / "wide.pt"
    torch.save(other, file)
    torch.save({name: value.float() if value.is_floating_point() else value for name, value in other.items()}, wide)
    assert all(value.dtype != torch.float16 and value.dtype != torch.bfloat16 for value in read(file).values())
    assert same(read(file), read(wide))


@pytest.mark.parametrize(
    "store",
    [
        lambda value: value.transpose(0, 1).contiguous().transpose(0, 1),
        lambda value: value.contiguous(memory_format=torch.channels_last),
        lambda value: torch.nn.Parameter(value),
        lambda value: torch.nn.Parameter(value) * 1,
        lambda value: torch.stack([value, -value])[0],
        lambda value: torch.complex(value, -value).conj().imag,
    ],
    ids=["transposed", "channels last", "parameter", "derived", "view", "negated"],
)
def test_other_arrangements_in_memory(file, plain, store):
    torch.save({**STATE, WEIGHT: store(STATE[WEIGHT])}, file)
    model = read(file)
    assert same(model, plain)
    assert not any(value.requires_grad for value in model.values())
    assert all(value.is_contiguous() for value in model.values())


def test_a_model_that_is_read_can_be_saved_and_read_again(file, tmp_path):
    torch.save({name: torch.nn.Parameter(value, value.is_floating_point()) for name, value in STATE.items()}, file)
    glow = load_checkpoint(file, options=ImportOptions(**TOLD))
    assert not glow.training
    save_checkpoint(glow, tmp_path / "native.pt")
    assert same(read_checkpoint(tmp_path / "native.pt").model, read(file))


# ---- tensors that are none


HOSTILE = {
    "expanded": lambda: torch.ones(1).expand(3, 3, 1, 1),
    "sparse": lambda: torch.eye(3)[:, :, None, None].to_sparse(),
    "csr": lambda: torch.eye(3).to_sparse_csr(),
    "meta": lambda: torch.empty(3, 3, 1, 1, device="meta"),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(3, 3, 1, 1), 0.1, 0, torch.qint8),
    "complex": lambda: torch.ones(3, 3, 1, 1, dtype=torch.complex64),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", HOSTILE)
def test_tensors_without_their_numbers(file, refusal, kind):
    torch.save({**STATE, WEIGHT: HOSTILE[kind]()}, file)
    assert f"tensor {WEIGHT} is not a plain array" in refusal(file, **TOLD)


def test_tensors_that_lie_over_each_other(file, refusal):
    """However small the file, every one of them would be a copy of its own once read."""
    shared = torch.ones(3, 3, 1, 1)
    names = [name for name in STATE if name.endswith("net.2.weight")]
    assert len(names) == 2
    torch.save({**STATE, **{name: shared.transpose(0, 1) for name in names}}, file)
    assert "overlap in memory" in refusal(file, **TOLD)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none(file, refusal, value):
    weight = STATE[WEIGHT].clone()
    weight[1, 2] = value
    torch.save({**STATE, WEIGHT: weight}, file)
    assert f"tensor {WEIGHT} holds NaN or infinity" in refusal(file, **TOLD)


def test_numbers_beyond_float32(file, refusal):
    torch.save({**STATE, WEIGHT: torch.full((3, 3, 1, 1), 1e300, dtype=torch.float64)}, file)
    assert "conv2.weight holds NaN or infinity" in refusal(file, **TOLD)


# ---- names


@pytest.mark.parametrize("key", [3, (1, 2), None, 2.5], ids=repr)
def test_names_that_are_none(file, refusal, key):
    torch.save({**STATE, key: torch.ones(2)}, file)
    assert f"a key of type {type(key).__name__}" in refusal(file, **TOLD)


@pytest.mark.parametrize(
    "name",
    ["x" * 100_000, "module." * 5_000, "two\nlines", "\x1b[2Jgone\x07", "\u202egnp.exe", "\ud800", ""],
    ids=ascii,
)
@pytest.mark.parametrize("state", [STATE, {}], ids=["known", "unknown"])
def test_names_that_would_spoil_a_message(file, refusal, name, state):
    try:
        torch.save({**state, name: torch.ones(2)}, file)
    except UnicodeEncodeError:
        pytest.skip("torch does not write such a name either")
    assert "no place" in refusal(file, **TOLD) if state else "no layout known" in refusal(file, **TOLD)


def test_tensors_of_another_kind_of_model(file, refusal):
    torch.save({"conv1.weight": torch.ones(3), "fc.bias": torch.ones(1)}, file)
    message = refusal(file)
    assert "conv1.weight, fc.bias" in message
    assert all(reader.project in message for reader in READERS)


def test_layouts_are_told_apart_by_names(other_projects):
    for path in sorted(other_projects.glob("*/*.p*")):
        names = read_tensors(path)
        assert path.parent.name.split("_")[0] in reader_of(names).project.replace("normalizing-flows", "normflows")
        assert sum(reader.recognise(names) for reader in READERS) == 1
    assert reader_of([]) is None
    assert reader_of(["module.blocks", "flow.layers", "flows"]) is None


# ---- files


class _Runs:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_never_runs(file, refusal, monkeypatch, zipped):
    monkeypatch.chdir(file.parent)
    torch.save({"model": STATE, "optimizer": _Runs()}, file, _use_new_zipfile_serialization=zipped)
    assert "run code" in refusal(file)
    assert not Path("pwned").exists()


def repacked(source, target, compression):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return target


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("native", [True, False])
def test_archives_that_are_packed(file, tmp_path, native, mmap):
    """They can unpack to a thousand times their size; left in the file their numbers would be noise."""
    if native:
        torch.save(STATE, file)
        save_checkpoint(load_checkpoint(file, options=ImportOptions(**TOLD)), file)
    else:
        torch.save({**STATE, "bomb": torch.zeros(1_000_000)}, file)
    packed = repacked(file, tmp_path / "packed.pt", zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="compressed"):
        read_checkpoint(packed, options=ImportOptions(**TOLD), mmap=mmap)
    stored = repacked(file, tmp_path / "stored.pt", zipfile.ZIP_STORED)
    if native:
        assert same(read_checkpoint(stored).model, read_checkpoint(file).model)


@pytest.mark.parametrize("keep", [0, 1, 3, 10, 100, 1000, -1000, -100, -10, -1])
@pytest.mark.parametrize("kind", ["pt", "old", "npz"])
def test_files_that_are_cut_short(file, refusal, kind, keep):
    if kind == "npz":
        with file.open("wb") as handle:
            np.savez(handle, **{name: value.numpy() for name, value in STATE.items()})
    else:
        torch.save(STATE, file, _use_new_zipfile_serialization=kind == "pt")
    file.write_bytes(file.read_bytes()[:keep])
    message = refusal(file, **TOLD)
    assert "not a readable" in message or "refused" in message


def test_files_that_are_damaged(file, tmp_path):
    """Whatever is wrong, it is an error of ours or the model as it was, never another one."""
    torch.save(STATE, file)
    whole, bare = file.read_bytes(), read(file)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        spoiled = bytearray(whole)
        for place in rng.integers(0, len(whole), 20):
            spoiled[place] ^= 1 << int(rng.integers(0, 8))
        (tmp_path / "spoiled.pt").write_bytes(bytes(spoiled))
        try:
            assert set(read(tmp_path / "spoiled.pt")) == set(bare)
        except CheckpointError:
            refused += 1
    assert refused > 30


def test_places_that_hold_no_file(refusal, tmp_path):
    assert "no such checkpoint file" in refusal(tmp_path / "nowhere.pt")
    assert "a folder, not a checkpoint file" in refusal(tmp_path)


# ---- arrays


def save_arrays(path, **arrays):
    with path.open("wb") as handle:
        np.savez(handle, **arrays)


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_make_a_model_as_well(file, plain, compressed):
    arrays = {name: value.numpy() for name, value in STATE.items()}
    # As a machine of the other byte order writes them, and in columns.
    arrays[WEIGHT] = np.asfortranarray(arrays[WEIGHT].astype(">f4"))
    with file.open("wb") as handle:
        (np.savez_compressed if compressed else np.savez)(handle, **arrays)
    assert same(read(file), plain)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{}], dtype=object), "not a readable .npz"),
        (np.array(["text"]), "holds <U4"),
        (np.ones(2, dtype=np.complex64), "holds complex64"),
        (np.ones(2, dtype=np.longdouble), "64 bits"),
        (np.array(["2020"], dtype="M8[Y]"), "holds datetime64"),
        (np.zeros(2, dtype=[("a\x1b\n", "f4")]), "not numbers"),
    ],
    ids=["objects", "text", "complex", "long", "dates", "records"],
)
def test_arrays_of_more_than_numbers(file, refusal, array, words):
    save_arrays(file, odd=array)
    assert words in refusal(file)


@pytest.mark.parametrize(
    "member",
    [b"", b"hello", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"\x80\x04cos\nsystem\n."],
    ids=["empty", "text", "cut", "header", "pickle"],
)
def test_members_that_are_no_arrays(file, refusal, member):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("odd.npy", member)
    refusal(file)


def test_a_header_that_claims_more_than_there_is(file, refusal):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000000,), }"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("odd.npy", b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n")
    assert "not a readable .npz" in refusal(file)


def test_arrays_that_unpack_to_far_more_than_the_file(file, refusal):
    array = io.BytesIO()
    np.save(array, np.zeros(1 << 24, dtype=np.float32))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(3):
            archive.writestr(f"{number}.npy", array.getvalue())
    assert file.stat().st_size < 1 << 20
    assert "unpack to" in refusal(file)


# ---- what a reader may count on


def tensors(**state):
    return Tensors(state, path="file.pt")


def test_tensors_are_taken_once_and_nothing_is_passed_over():
    found = tensors(a=torch.ones(2, 3, dtype=torch.float16), b=torch.ones(4), c=torch.ones(1), cc=torch.ones(1))
    assert found.names == ("a", "b", "c", "cc")
    assert "a" in found
    assert "z" not in found
    assert found.shape("a") == (2, 3)
    assert found.take("a", 2, None).dtype == torch.float64
    assert found.weights("b", None).dtype == torch.float32
    with pytest.raises(CheckpointError, match=r"2 tensors have no place in this layout \(c, cc\)"):
        found.finish()
    assert found.ignore_prefix("c")
    assert not found.ignore_prefix("c")
    found.finish()


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda found: found.take("a", 3, 2), r"tensor a has shape \(2, 3\); \(3, 2\) was expected"),
        (lambda found: found.take("a", 2), r"\(2\) was expected"),
        (lambda found: found.take("a", None, 3, 1), r"\(any, 3, 1\) was expected"),
        (lambda found: found.take("z"), "no tensor z"),
        (lambda found: found.shape("z"), "no tensor z"),
        (lambda found: found.settle("the depth", 8, 5, "--n-bits"), "--n-bits says 5, but the depth in the file is 8"),
    ],
)
def test_what_is_not_as_it_should_be(ask, words):
    with pytest.raises(CheckpointError, match=f"^file.pt: .*{words}"):
        ask(tensors(a=torch.ones(2, 3)))


def test_an_option_that_says_the_same_as_the_file_is_no_contradiction():
    tensors().settle("the depth", 8, 8, "--n-bits")
    tensors().settle("the depth", 8, None, "--n-bits")


# ---- this tool's own files


def test_facts_told_of_this_tools_own_file_must_be_those_in_it(file, refusal):
    torch.save(STATE, file)
    save_checkpoint(load_checkpoint(file, options=ImportOptions(**TOLD)), file)
    assert read_checkpoint(file, options=ImportOptions(**TOLD)).origin is None
    assert "--n-bits says 8" in refusal(file, n_bits=8)
    assert "--image-size says 4x8" in refusal(file, image_size=(4, 8))


def test_safetensors_of_other_projects_are_read_like_their_own_files(other_projects, tmp_path):
    from safetensors.torch import save_file

    source = other_projects / "y0ast_affine_lu" / "glow_model_1.pth"
    save_file(torch.load(source, weights_only=True), tmp_path / "glow.safetensors")
    ours, theirs = read_checkpoint(tmp_path / "glow.safetensors"), read_checkpoint(source)
    assert ours.origin == theirs.origin
    assert all(torch.equal(tensor, theirs.model[name]) for name, tensor in ours.model.items())


def test_safetensors_of_no_known_layout_are_refused(tmp_path, refusal):
    from safetensors.torch import save_file

    save_file({"encoder.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    assert "no layout known here" in refusal(tmp_path / "other.safetensors")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_a_trainers_numpy_numbers_are_passed_over(file, plain, zipped, module):
    """One project's own schedule leaves learning rates of numpy.float64 in the optimizer's state."""
    optimizer = {"state": {}, "param_groups": [{"lr": np.float64(3e-4), "params": [0]}]}
    content = {"global_step": np.int64(45_000), "graph": STATE, "optim": optimizer, "criterion": {}}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    if not zipped:  # a NumPy before 2 wrote the older name
        file.write_bytes(file.read_bytes().replace(b"numpy._core.multiarray", module))
    assert same(read(file), plain)


@pytest.mark.parametrize("beside", [np.array([object], dtype=object), Path("here"), np.zeros(2)])
def test_other_objects_beside_a_model_are_still_refused(file, refusal, beside):
    torch.save({"graph": STATE, "best": beside}, file)
    message = refusal(file)
    assert "would run code" in message
    assert "torch.save(model.state_dict(), 'weights.pt')" in message


@pytest.mark.parametrize("prefix", ["model.", "net.glow.", "module.model."])
def test_a_glow_that_is_a_part_of_something(file, plain, prefix):
    torch.save({"state_dict": {prefix + name: tensor for name, tensor in STATE.items()}}, file)
    found = read_checkpoint(file, options=ImportOptions(**TOLD))
    assert same(found.model, plain)
    taken = prefix.removeprefix("module.")
    assert f"Its tensors' names all begin with '{taken}', which was taken off." in found.origin.notes


def test_prefixes_come_off_arrays_too(tmp_path, plain):
    np.savez(tmp_path / "glow.npz", **{f"module.{name}": tensor.numpy() for name, tensor in STATE.items()})
    assert same(read(tmp_path / "glow.npz"), plain)
