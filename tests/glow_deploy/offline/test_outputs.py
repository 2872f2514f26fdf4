"""What another program saved, in every format, and everything that is wrong with it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tool_files import polygraphy, trtexec  # lies beside

from glow_deploy.errors import DataError, UsageError
from glow_deploy.offline import golden_inputs, read_outputs, write_inputs


def save_npz(path, tensors, *, digest=None):
    np.savez(path, **tensors, **({} if digest is None else {"inputs_sha256": np.array([digest])}))
    return path


def of(saved, place):
    return {name.partition(".")[2]: array for name, array in saved.items() if name.startswith(f"{place}.")}


def save_bin(folder, saved):
    for name, array in saved.items():
        array.astype("<f4").tofile(folder / f"{name}.bin")


def save_npy(folder, saved):
    for name, array in saved.items():
        np.save(folder / f"{name}.npy", array)


def save_polygraphy(folder, saved):
    for place in ("encoder", "decoder", "round_trip", "canary"):
        (folder / f"{place}.json").write_bytes(polygraphy(of(saved, place)))


def save_raw(folder, saved):
    """As trtexec leaves its bindings in the folder that it runs in, inputs among them."""
    for name, array in saved.items():
        place, _, tensor = name.partition(".")
        (folder / place).mkdir(exist_ok=True)
        sizes = ".".join(map(str, array.shape))
        array.astype("<f4").tofile(folder / place / f"{tensor}.output.{sizes}.fp32.raw")
        array.astype("<f4").tofile(folder / place / f"{tensor}.input.{sizes}.fp32.raw")


def parts(found):
    """All arrays of what was read, by our names."""
    read = {"decoder.x": found.decoded, "round_trip.x": found.returned, "canary.x": found.canary}
    read |= {"encoder.log_prob": found.log_prob, "round_trip.log_prob": found.again_log_prob}
    read |= {f"encoder.z{level}": z for level, z in enumerate(found.z or (), 1)}
    read |= {f"round_trip.z{level}": z for level, z in enumerate(found.again_z or (), 1)}
    return {name: array for name, array in read.items() if array is not None}


@pytest.mark.parametrize("save", [save_bin, save_npy, save_polygraphy, save_raw])
def test_every_format_of_a_folder_gives_every_bit_back(bundle, saved, tmp_path, save):
    save(tmp_path, saved)
    found = read_outputs(bundle, tmp_path)
    assert set(parts(found)) == set(saved)
    for name, array in parts(found).items():
        np.testing.assert_array_equal(array, saved[name])
    assert found.images == 16
    assert found.missing == ()
    assert not found.vouched


def test_an_archive_and_the_text_of_trtexec(bundle, saved, tmp_path):
    inputs = golden_inputs(bundle)
    found = read_outputs(bundle, save_npz(tmp_path / "out.npz", saved, digest=inputs.digest))
    assert set(parts(found)) == set(saved)
    assert found.vouched
    for place in ("encoder", "decoder"):
        (tmp_path / f"{place}.json").write_bytes(trtexec(of(saved, place)))
    found = read_outputs(bundle, tmp_path)
    assert found.tools == ("trtexec",)
    np.testing.assert_allclose(found.z[0], saved["encoder.z1"], rtol=1e-5, atol=1e-6)


def test_outputs_may_lie_beside_the_inputs(bundle, saved, tmp_path):
    write_inputs(golden_inputs(bundle), tmp_path)
    save_bin(tmp_path, {"decoder.x": saved["decoder.x"]})
    found = read_outputs(bundle, tmp_path)
    assert found.vouched
    assert found.z is None
    assert len(found.missing) == 4


def test_bare_names_and_names_of_their_own(bundle, saved, tmp_path):
    coded = of(saved, "encoder")
    save_npz(tmp_path / "bare.npz", {**coded, "x_hat": saved["round_trip.x"]})
    found = read_outputs(bundle, tmp_path / "bare.npz")
    np.testing.assert_array_equal(found.z[1], coded["z2"])
    np.testing.assert_array_equal(found.returned, saved["round_trip.x"])
    theirs = {"output_0": coded["z1"], "b=c": coded["z2"], "x": saved["decoder.x"]}
    save_npz(tmp_path / "theirs.npz", theirs)
    renames = ("output_0=encoder.z1", "b=c=encoder.z2", "x=decoder.x")
    found = read_outputs(bundle, tmp_path / "theirs.npz", rename=renames)
    np.testing.assert_array_equal(found.z[0], coded["z1"])
    np.testing.assert_array_equal(found.decoded, saved["decoder.x"])
    for wrong, said in (
        ((), "holds no outputs but output_0, which rename= may pair"),
        (("output_0",), "no pair THEIRS=OURS"),
        (("output_0=encoder.z9",), "names encoder.z9, and there is no such output"),
        (("output_0=encoder.z1", "x=encoder.z1"), "names x or encoder.z1 twice"),
        ((*renames, "other=encoder.log_prob"), "holds no other"),
    ):
        with pytest.raises((DataError, UsageError), match=said):
            read_outputs(bundle, tmp_path / "theirs.npz", rename=wrong)


def test_the_first_images_alone_are_enough(bundle, saved, tmp_path):
    few = {name: array if name == "canary.x" else array[:5] for name, array in saved.items()}
    for digest in (golden_inputs(bundle, limit=5).digest, golden_inputs(bundle).digest):
        found = read_outputs(bundle, save_npz(tmp_path / "few.npz", few, digest=digest))
        assert found.images == 5
    found = read_outputs(bundle, save_npz(tmp_path / "canary.npz", {"canary.x": saved["canary.x"]}))
    assert found.images == 0


def test_other_float_types_are_taken(bundle, saved, tmp_path):
    for dtype in (np.float16, np.float64):
        found = read_outputs(
            bundle, save_npz(tmp_path / "t.npz", {"encoder.log_prob": saved["encoder.log_prob"].astype(dtype) * 0})
        )
        assert found.log_prob.dtype == dtype


def spoilt(saved):
    z1, x = saved["encoder.z1"], saved["decoder.x"]
    nan = z1.copy()
    nan[3, 0, 0, 0] = np.nan
    yield {**saved, "encoder.z1": nan}, r"holds 1 of 3072 values that are NaN or infinite, the first in row 3"
    yield {**saved, "canary.x": np.full_like(saved["canary.x"], np.inf)}, "NaN or infinite"
    yield {**saved, "encoder.z1": z1.transpose(0, 2, 3, 1)}, r"encoder.z1 is \[16, 4, 8, 6\]; \[up to 16, 6, 4, 8\]"
    yield {**saved, "encoder.z1": np.concatenate([z1, z1])}, "of 32 images, and the bundle has 16"
    yield {**saved, "encoder.z1": z1[:4]}, "not of equally many images"
    yield {**saved, "encoder.log_prob": saved["encoder.log_prob"][:, None]}, "is needed"
    yield {**saved, "canary.x": saved["canary.x"][:2]}, r"canary.x is \[2, 128"
    yield {**saved, "decoder.x": (x * 255).astype(np.uint8)}, "decoder.x is uint8; float32 is needed"
    yield {**saved, "decoder.x": x.astype(np.float16)}, "decoder.x is float16, which holds the centres of pixels"
    yield {"encoder.z1": z1}, "encoder.z2 missing"
    yield {**saved, "encoder.z1": z1.astype(np.longdouble)}, "encoder.z1 is .*; float32 is needed"
    yield {"encoder.y": np.zeros(16)}, "holds no outputs"
    yield {**saved, "inputs_sha256": np.array(3)}, "inputs_sha256 is no text"


def test_what_does_not_fit_is_refused_in_one_line(bundle, saved, tmp_path):
    for tensors, said in spoilt(saved):
        with pytest.raises(DataError, match=said) as error:
            read_outputs(bundle, save_npz(tmp_path / "out.npz", tensors))
        assert "\n" not in str(error.value)


def test_the_images_that_were_fed_are_no_answer(bundle, saved, tmp_path):
    fed = golden_inputs(bundle).tensors["encoder.x"]
    nearly = fed.copy()
    nearly[3, 0, 0, 0] = np.nextafter(nearly[3, 0, 0, 0], np.float32(1))
    for name in ("decoder.x", "round_trip.x"):
        for echo in (fed, nearly, fed[:1], fed.astype(np.float64)):
            with pytest.raises(DataError, match=f"{name} is bit for bit what was fed"):
                read_outputs(bundle, save_npz(tmp_path / "out.npz", {name: echo}))


def test_nor_are_the_references_of_the_bundle_itself(bundle, tmp_path):
    golden = {name: array for name, array in np.load(bundle.path / "golden.npz").items() if name != "x"}
    with pytest.raises(DataError, match=r"is bit for bit what was fed to the decoder|float64 reference"):
        read_outputs(bundle, save_npz(tmp_path / "out.npz", golden))


def test_outputs_of_other_inputs_are_refused(bundle, saved, making, tmp_path):
    other = making.export_model(tmp_path / "m", golden=16, image_size=(8, 16), seed=5)
    wrong = golden_inputs(other.bundle).digest
    with pytest.raises(DataError, match="belong to other inputs"):
        read_outputs(bundle, save_npz(tmp_path / "out.npz", saved, digest=wrong))
    save_bin(tmp_path, saved)
    write_inputs(golden_inputs(other.bundle), tmp_path / "other")
    (tmp_path / "index.json").write_bytes((tmp_path / "other" / "index.json").read_bytes())
    with pytest.raises(DataError, match="belong to other inputs"):
        read_outputs(bundle, tmp_path)
    for text in ("{}", "[", json.dumps({"inputs_sha256": 3})):
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(DataError, match="names no inputs_sha256"):
            read_outputs(bundle, tmp_path)


def test_outputs_of_other_graphs_are_refused_the_canary_alone_among_them(bundle, saved, tmp_path):
    inputs = golden_inputs(bundle)
    other = replace(inputs, graphs=("0" * 64, inputs.graphs[1]))
    for tensors in (saved, {"canary.x": saved["canary.x"]}):
        for wrong in (other.digest, "0" * 64):
            with pytest.raises(DataError, match="belong to other inputs or graphs"):
                read_outputs(bundle, save_npz(tmp_path / "out.npz", tensors, digest=wrong))
        # The first images may have been fed alone.
        few = {name: array if name == "canary.x" else array[:5] for name, array in tensors.items()}
        assert read_outputs(bundle, save_npz(tmp_path / "out.npz", few, digest=inputs.digests[8])).vouched
    with pytest.raises(DataError, match="belong to other inputs or graphs"):
        read_outputs(bundle, save_npz(tmp_path / "out.npz", saved, digest=inputs.digests[8]))


def test_what_is_no_output_is_passed_over_and_named(bundle, saved, tmp_path):
    save_raw(tmp_path, saved)
    (tmp_path / "encoder" / "shape.output.4.int32.raw").write_bytes(bytes(16))
    (tmp_path / "encoder.hidden.bin").write_bytes(b"123")
    found = read_outputs(bundle, tmp_path)
    assert found.images == 16
    assert sorted(found.ignored) == ["encoder.hidden", "encoder.shape"]
    (tmp_path / "encoder" / "z1.output.16.6.4.8.fp32.raw").rename(tmp_path / "encoder" / "z1.output.16.6.4.8.int32.raw")
    with pytest.raises(DataError, match=r"encoder.z1 is int32; float32 is needed"):
        read_outputs(bundle, tmp_path)


@pytest.mark.parametrize(
    ("theirs", "spelling"),
    [
        ("encoder/output_0", "output_0"),
        ("encoder/output_0", "encoder.output_0"),
        ("encoder.output_0", "output_0"),
        ("encoder.output_0", "encoder.output_0"),
        ("output_0", "output_0"),
    ],
)
@pytest.mark.parametrize("kind", ["bin", "npy", "raw"])
def test_names_of_their_own_are_found_in_a_folder(bundle, saved, tmp_path, theirs, spelling, kind):
    z1, z2 = saved["encoder.z1"], saved["encoder.z2"]
    (tmp_path / "encoder").mkdir()
    sizes = ".".join(map(str, z1.shape))
    name = f"{theirs}.output.{sizes}.fp32.raw" if kind == "raw" else f"{theirs}.{kind}"
    if kind == "npy":
        np.save(tmp_path / name, z1)
    else:
        z1.tofile(tmp_path / name)
    z2.tofile(tmp_path / "encoder.z2.bin")
    found = read_outputs(bundle, tmp_path, rename=(f"{spelling}=encoder.z1",))
    np.testing.assert_array_equal(found.z[0], z1)
    # The bare name of one set's tensor is not that of another's.
    if theirs != "output_0" and spelling == "output_0":
        with pytest.raises(DataError, match=r"encoder.z1 missing|holds no output_0"):
            read_outputs(bundle, tmp_path, rename=("output_0=decoder.x",))


def test_files_that_are_none_are_refused(bundle, saved, tmp_path):
    import os

    with pytest.raises(DataError, match="no such file or folder"):
        read_outputs(bundle, tmp_path / "nowhere")
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(DataError, match="holds no outputs"):
        read_outputs(bundle, folder)
    for name, data, said in (
        ("encoder.z1.bin", b"123", "has 3 bytes"),
        ("encoder.z1.bin", b"", "has 0 bytes"),
        ("encoder.z1.bin", bytes(4 * 17 * 6 * 32), "at most are accepted"),
        ("encoder.z1.npy", b"\x93NUMPY", "no .npy file"),
        ("encoder.json", b" " * (8 << 20), "at most are accepted"),
    ):
        (folder / name).write_bytes(data)
        with pytest.raises(DataError, match=said):
            read_outputs(bundle, folder)
        (folder / name).unlink()
    (folder / "encoder").mkdir()
    (folder / "encoder" / "z1.output.16.6.4.8.fp32.raw").write_bytes(b"12")
    with pytest.raises(DataError, match="has 2 bytes"):
        read_outputs(bundle, folder)
    (folder / "encoder" / "z1.output.16.6.4.8.fp32.raw").unlink()
    os.mkfifo(folder / "encoder" / "z1.npy")
    with pytest.raises(DataError, match="a pipe"):
        read_outputs(bundle, folder)
    (folder / "encoder" / "z1.npy").unlink()
    save_bin(folder, saved)
    save_npy(folder, {"encoder.z1": saved["encoder.z1"]})
    with pytest.raises(DataError, match=r"encoder.z1 is in .* as well"):
        read_outputs(bundle, folder)
