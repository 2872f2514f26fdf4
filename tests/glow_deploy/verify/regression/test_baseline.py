"""Reading baselines: a real one is read whole, anything else is refused in one line."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import UsageError
from glow_deploy.verify.regression import Identity, compare, read_baseline


def test_a_report_is_read_whole(report, tmp_path):
    path = tmp_path / "b.json"
    path.write_text(report.to_json())
    baseline = read_baseline(path)
    names = {"pytorch-fp64", "pytorch-fp32", "onnxruntime-cpu"}
    assert {name for name, machine in baseline.machines.items() if machine.used} == names
    assert set(baseline.rows) == (
        {f"{a}->{b}[golden]" for a in names for b in names}
        | {f"{a}-vs-float64[golden]" for a in names}
        | {f"{a}-batches[{role}]" for a in names for role in ("encoder", "decoder")}
    )
    cell = baseline.rows["onnxruntime-cpu->onnxruntime-cpu[golden]"]
    assert cell.measures["x -> z -> x"].rms == report.cells[-1].x_error.rms
    assert {"z1 -> x -> z1", "z2 -> x -> z2", "bits/dim between backends"} <= set(cell.measures)
    assert (cell.exact.images, cell.exact.images_exact) == (32, 32)
    assert baseline.image_sets["golden"].n == 32


def test_the_identity_is_that_of_the_bundle(report, model, store, table):
    identity = Identity.of(Bundle.open(model.bundle).manifest)
    assert store(table).identity == identity
    store(table).require(identity)


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("model_id", "a" * 64, "model_id aaaaaaaaaaaa, not"),
        ("weights", "ema", "weights ema, not raw"),
        ("precision", "mixed", "precision mixed, not fp32"),
        ("n_bits", 5, "n_bits 5, not 8"),
    ],
)
def test_a_baseline_of_another_model_is_refused(report, store, table, entry, value, words):
    (table if entry == "n_bits" else table["bundle"])[entry] = value
    with pytest.raises(UsageError, match=words) as caught:
        compare(report, store(table))
    assert "baseline.json" in str(caught.value)


def refused(path):
    with pytest.raises(UsageError) as caught:
        read_baseline(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert text.isprintable()
    return text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "schema is missing"),
        (b'{"schema": "other"}', "schema is not"),
        (b'{"schema": "glow_deploy.verify", "schema_version": 99}', "schema_version is 99"),
        (b'{"schema": "glow_deploy.verify", "schema_version": true}', "schema_version"),
        (b'{"schema": NaN}', "NaN"),
        (b"[" * 100_000, "nested|no JSON"),
        (b'{"n": ' + b"1" * 10_000 + b"}", "damaged"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, data, words):
    import re

    path = tmp_path / "b.json"
    path.write_bytes(data)
    assert re.search(words, refused(path))


def test_missing_files_folders_and_huge_files_are_refused(tmp_path):
    assert "none.json: no such file" in refused(tmp_path / "none.json")
    assert "is a folder, not a file that can be read" in refused(tmp_path)
    huge = tmp_path / "huge.json"
    with huge.open("wb") as handle:
        handle.truncate(17 << 20)
    assert "larger than 16 MiB" in refused(huge)


def damage(values, path, value):
    *parents, last = path
    for key in parents:
        values = values[key]
    if value is KeyError:
        del values[last]
    else:
        values[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("cells", 0, "x_z_x", "rms"), KeyError, r"cells\[0\].x_z_x.rms is missing"),
        (("cells", 0, "x_z_x", "rms"), -1.0, "x_z_x.rms"),
        (("cells", 0, "x_z_x", "rms"), "1e-9", "x_z_x.rms"),
        (("cells", 0, "x_z_x", "rms"), True, "x_z_x.rms"),
        (("cells", 0, "x_z_x", "rms"), 10**400, "x_z_x.rms"),
        (("cells", 0, "x_z_x", "n"), 1.5, "x_z_x.n"),
        (("cells", 0, "x_z_x", "non_finite"), 10**9, "non_finite"),
        (("cells", 0, "z_x_z"), {}, "z_x_z is empty"),
        (("cells", 0, "z_x_z"), {"z0": {}}, "belongs to no level"),
        (("cells", 0, "exact", "images_exact"), 33, "images_exact"),
        (("cells", 0, "exact", "images"), 10**12, "image_sets 32"),
        (("cells", 0, "encode"), "\x1b[31m", "no name"),
        (("cells", 0, "images"), "other", "image_sets does not list"),
        (("cells", 1), None, "no JSON object"),
        (("references", 0, "bits_per_dim_centre"), KeyError, "bits_per_dim_centre is missing"),
        (("batches", 0, "sizes"), ["2"], "sizes"),
        (("batches", 0, "split"), {"y": {}}, "no output"),
        (("image_sets",), [], "image_sets is empty"),
        (("image_sets", 0, "n"), 0, "n is no whole number from 1"),
        (("backends", 0, "used"), 1, "neither true nor false"),
        (("bundle", "model_id"), "x", "no sha256"),
        (("bundle", "weights"), "best", "neither ema nor raw"),
        (("bundle", "precision"), "../x", "no name of a precision"),
        (("bundle", "files"), None, "no JSON object"),
        (("n_bits",), 9, "n_bits"),
    ],
)
def test_a_damaged_entry_is_named(tmp_path, table, path, value, words):
    import re

    damage(table, path, value)
    file = tmp_path / "b.json"
    file.write_text(json.dumps(table))
    assert re.search(words, refused(file))


def test_a_row_that_is_there_twice_is_refused(tmp_path, table):
    table["cells"].append(table["cells"][0])
    file = tmp_path / "b.json"
    file.write_text(json.dumps(table))
    assert "is there twice" in refused(file)


def places(values, path=()):
    """Every place in a JSON value."""
    yield path
    if isinstance(values, dict):
        for key in values:
            yield from places(values[key], (*path, key))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from places(value, (*path, index))


def outcome(report, file):
    """What comparing says, or why it is refused."""
    try:
        result = compare(report, read_baseline(file))
    except UsageError as error:
        return str(error)
    json.dumps(result.to_dict(), allow_nan=False)
    return str(result)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FUZZ = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(data=st.data())
@FUZZ
def test_one_changed_entry_is_refused_in_one_line_or_compared(report, tmp_path, data):
    values = json.loads(report.to_json())
    del values["cells"][1:]
    found = [place for place in places(values) if place]
    path = found[data.draw(st.integers(0, len(found) - 1))]
    damage(values, path, data.draw(st.just(KeyError) | JSON))
    file = tmp_path / "b.json"
    file.write_text(json.dumps(values))
    assert len(outcome(report, file).splitlines()) == 1


@given(data=st.data())
@FUZZ
def test_damaged_bytes_are_refused_in_one_line_or_compared(report, tmp_path, data):
    text = bytearray(report.to_json().encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text) - 1))
        text[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=8))
    file = tmp_path / "b.json"
    file.write_bytes(bytes(text))
    assert len(outcome(report, file).splitlines()) == 1


def test_the_damage_is_real(table):
    whole = copy.deepcopy(table)
    damage(table, ("cells", 0, "x_z_x", "rms"), KeyError)
    assert table != whole
