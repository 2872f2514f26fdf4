"""The ratchet: what counts as a rise, what is missing, and what could not be compared."""

from __future__ import annotations

import json
import math

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.verify import VerifySettings, verify
from glow_deploy.verify.regression import compare, read_baseline

OWN = "onnxruntime-cpu->onnxruntime-cpu[golden]"


def cell(values, *, encode="onnxruntime-cpu", decode="onnxruntime-cpu"):
    return next(c for c in values["cells"] if (c["encode"], c["decode"]) == (encode, decode))


def reference(values, backend="onnxruntime-cpu"):
    return next(r for r in values["references"] if r["backend"] == backend)


def batch(values, role, backend="onnxruntime-cpu"):
    return next(b for b in values["batches"] if (b["backend"], b["role"]) == (backend, role))


def setting(find, *path, to):
    def change(values):
        place = find(values)
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def test_a_report_agrees_with_itself(report, store, table):
    result = compare(report, store(table))
    assert (result.verdict, result.passed) == ("pass", True)
    assert len(result.rows) == len(report.cells) + len(report.references) + len(report.batches)
    assert (result.missing, result.not_compared, result.new, result.changes) == ({}, {}, (), ())
    values = result.to_dict()
    json.dumps(values, allow_nan=False)
    assert values["verdict"] == "pass"
    assert values["compared"] == len(result.rows)
    assert (values["rises"], values["missing"], values["new"]) == ([], [], [])
    assert values["file"].endswith("baseline.json")


MEASURES = {
    "x -> z -> x": (cell, ("x_z_x",), True),
    "z1 -> x -> z1": (cell, ("z_x_z", "z1"), True),
    "z2 -> x -> z2": (cell, ("z_x_z", "z2"), True),
    "bits/dim between backends": (cell, ("bits_per_dim_centre_between",), False),
    "bits/dim of the round trip": (cell, ("bits_per_dim_centre_round_trip",), False),
    "z1": (reference, ("z", "z1"), True),
    "bits/dim": (reference, ("bits_per_dim_centre",), False),
    "x from the reference's latents": (reference, ("x_from_reference_z",), True),
    "z of equal rows": (lambda v: batch(v, "encoder"), ("equal_rows", "z"), False),
    "bits/dim of split batch": (lambda v: batch(v, "encoder"), ("split", "bits/dim"), False),
    "x of split batch": (lambda v: batch(v, "decoder"), ("split", "x"), False),
}


@pytest.mark.parametrize("measure", MEASURES)
def test_p999_is_compared_where_there_are_enough_values(against, measure):
    # Of a few values what is called p99.9 is the maximum, which grows with their number.
    find, path, many = MEASURES[measure]
    result = against(setting(find, *path, "p999", to=1e-3), now=setting(find, *path, "p999", to=2e-3))
    assert [(rise.quantity, rise.statistic) for rise in result.rises] == ([(measure, "p99.9")] if many else [])


@pytest.mark.parametrize("measure", MEASURES)
def test_the_boundary_of_the_factor(against, measure):
    find, path, _ = MEASURES[measure]
    change = setting(find, *path, "rms", to=1e-3)
    beyond = math.nextafter(1.5 * 1e-3, 1)
    result = against(change, now=setting(find, *path, "rms", to=beyond))
    assert [(rise.quantity, rise.statistic) for rise in result.rises] == [(measure, "rms")]
    assert result.verdict == "fail"
    rise = result.rises[0]
    assert (rise.stored, rise.value, rise.limit, rise.derivation) == (1e-3, beyond, 1.5 * 1e-3, "1.5 x 1.00e-03")
    assert measure in str(rise)
    assert str(rise) in str(result)


@pytest.mark.parametrize("factor", [1.0, 1.5, 10.0])
def test_every_factor_is_kept_to_the_last_bit(against, factor):
    change = setting(cell, "x_z_x", "p999", to=1e-3)
    limit = factor * 1e-3
    for value, passed in ((limit, True), (math.nextafter(limit, 1), False)):
        result = against(change, now=setting(cell, "x_z_x", "p999", to=value), factor=factor)
        assert result.passed is passed
        assert result.to_dict()["factor"] == factor


@pytest.mark.parametrize("factor", [0.99, 0.0, -1.0, math.inf, math.nan])
def test_a_factor_out_of_range_is_refused(against, factor):
    with pytest.raises(UsageError, match="factor"):
        against(factor=factor)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_few_roundings_are_no_regression(against, measure):
    find, path, _ = MEASURES[measure]
    assert against(setting(find, *path, "rms", to=1e-9), now=setting(find, *path, "rms", to=2e-9)).passed
    assert not against(setting(find, *path, "rms", to=1e-9), now=setting(find, *path, "rms", to=1e-5)).passed


def test_the_floors_are_those_of_the_gates(against, report):
    from glow_deploy.numerics.gates import factors_for

    factors = factors_for("fp32")
    ulp = 2.0**-23
    result = against(lambda v: cell(v)["x_z_x"].update(rms=0.0, p999=0.0))
    limits = {(f.row, f.quantity, f.statistic): f.limit for row in result.rows for f in row.figures}
    assert limits[OWN, "x -> z -> x", "rms"] == pytest.approx(factors.floor_ulps * ulp * 0.5)
    assert limits[OWN, "x -> z -> x", "p99.9"] == pytest.approx(3 * factors.floor_ulps * ulp * 0.5)
    bits = report.references[-1].bits_per_dim.scale
    name = "onnxruntime-cpu-vs-float64[golden]"
    assert limits[name, "bits/dim", "rms"] >= factors.floor_ulps_log_prob * ulp * max(1.0, bits) * 0.999


@pytest.mark.parametrize(("then", "now", "passed"), [(0, 1, False), (3, 3, True), (3, 2, True), (3, 4, False)])
def test_non_finite_values_may_not_become_more(against, then, now, passed):
    result = against(setting(cell, "x_z_x", "non_finite", to=then), now=setting(cell, "x_z_x", "non_finite", to=now))
    assert result.passed is passed
    assert [rise.statistic for rise in result.rises] == ([] if passed else ["non-finite"])


def test_a_figure_that_is_no_number_any_more_fails(against):
    result = against(now=setting(cell, "x_z_x", "rms", to=None))
    assert [(rise.quantity, rise.value) for rise in result.rises] == [("x -> z -> x", None)]
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_figure_that_was_no_number_then_sets_no_limit(against):
    change = setting(cell, "x_z_x", "rms", to=None)
    assert against(change).passed
    assert against(change, now=setting(cell, "x_z_x", "rms", to=None)).passed


@pytest.mark.parametrize(
    ("then", "now", "passed"),
    # 0 of 32 lost: up to 8.9 % may be lost by chance (2 of 32); 8 of 32 lost: up to 40.6 % (12 of 32).
    [(32, 32, True), (32, 30, True), (32, 29, False), (24, 20, True), (24, 18, False), (24, 32, True)],
)
def test_exact_images_within_their_confidence_interval(against, then, now, passed):
    result = against(
        setting(cell, "exact", "images_exact", to=then), now=setting(cell, "exact", "images_exact", to=now)
    )
    assert result.passed is passed
    if not passed:
        assert "exact images" in str(result.rises[0])
        assert "95% bound" in str(result.rises[0])


def test_a_cell_that_is_no_longer_measured_fails(against):
    result = against(now=lambda v: v["cells"].remove(cell(v)))
    assert result.missing == {OWN: "was measured then, is not now"}
    assert result.verdict == "fail"
    assert OWN in str(result)


def test_a_measure_that_is_no_longer_there_fails(against):
    result = against(now=lambda v: cell(v)["z_x_z"].pop("z2"))
    assert "z2 -> x -> z2" in result.missing[OWN]
    assert not result.passed


def test_images_that_are_no_longer_there_fail(against):
    def add(values):
        values["image_sets"].append({**values["image_sets"][0], "name": "data"})
        values["cells"].append({**cell(values), "images": "data"})

    result = against(add)
    assert list(result.missing) == ["onnxruntime-cpu->onnxruntime-cpu[data]"]
    assert "--data" in next(iter(result.missing.values()))


def test_a_backend_that_did_not_run_is_listed_as_not_compared(model, report, store, table):
    few = verify(model.bundle, settings=VerifySettings(backends=("onnxruntime-cpu",), random_draws=0))
    result = compare(few, store(table))
    assert result.passed
    assert {row.name for row in result.rows} == {
        OWN,
        "onnxruntime-cpu-vs-float64[golden]",
        "onnxruntime-cpu-batches[encoder]",
        "onnxruntime-cpu-batches[decoder]",
    }
    assert "pytorch-fp64 did not run now: not asked for" in result.not_compared["pytorch-fp64->onnxruntime-cpu[golden]"]
    assert len(result.not_compared) + len(result.rows) == len(store(table).rows)
    assert {entry["row"] for entry in result.to_dict()["not_compared"]} == set(result.not_compared)


def test_new_rows_are_listed(against):
    result = against(lambda v: v["cells"].remove(cell(v)))
    assert result.new == (OWN,)
    assert result.passed


@pytest.mark.parametrize(("entry", "value"), [("n", 31), ("source", "of somewhere else")])
def test_other_images_are_not_compared_and_that_is_no_pass(against, entry, value):
    def change(values):
        values["image_sets"][0][entry] = value
        for row in values["cells"]:
            if entry == "n":
                row["exact"].update(images=31, images_exact=31)

    result = against(change)
    assert result.verdict == "nothing compared"
    assert not result.passed
    assert not result.rows
    assert not result.new
    assert all("other golden images" in reason for reason in result.not_compared.values())
    assert "no pass" in str(result)


def test_other_batch_sizes_are_not_compared(against):
    result = against(lambda v: batch(v, "encoder").update(sizes=[2, 3, 5, 64]))
    assert result.passed
    assert "--batch" in result.not_compared["onnxruntime-cpu-batches[encoder]"]


def test_nothing_in_common_is_no_pass(against):
    def empty(values):
        values.update(cells=[], references=[], batches=[])

    assert against(empty).verdict == "nothing compared"
    assert against(empty, now=empty).verdict == "nothing compared"


def test_what_changed_since_is_told(against):
    def change(values):
        backend = next(b for b in values["backends"] if b["name"] == "onnxruntime-cpu")
        backend["decoder"]["versions"] = {"onnxruntime": "1.0"}
        backend["decoder"]["device"] = "another"
        values["bundle"]["files"]["encoder.onnx"] = "0" * 64

    changes = against(change).changes
    assert any("onnxruntime 1.0 then" in line for line in changes)
    assert any("device another then" in line for line in changes)
    assert "encoder.onnx: another file than then" in changes


def test_a_fault_below_the_absolute_limits_is_a_rise(report, store, table, model, making, tmp_path):
    # Weights rounded to 16 bits of mantissa: within the limits of `verify` or not, they are worse than before.
    import numpy as np

    def coarse(name, weight, role):
        if weight.dtype != np.float32:
            return None
        return (weight.view(np.uint32) & np.uint32(0xFFFFFF80)).view(np.float32)

    spoilt = making.spoil_bundle(model.bundle, tmp_path / "spoilt", coarse, roles=("decoder",))
    now = verify(spoilt, settings=VerifySettings(backends=("onnxruntime-cpu",), random_draws=0))
    result = compare(now, store(table))
    assert not result.passed
    assert OWN in {rise.row for rise in result.rises}
    assert "onnxruntime-cpu-vs-float64[golden]" in {rise.row for rise in result.rises}
    assert not any(rise.row.endswith("[encoder]") for rise in result.rises)
    assert result.changes == ("decoder.onnx: another file than then",)


def test_a_second_run_passes_against_the_first(model, tmp_path):
    settings = VerifySettings(backends=("onnxruntime-cpu",), random_draws=0)
    path = tmp_path / "report.json"
    path.write_text(verify(model.bundle, settings=settings).to_json())
    assert compare(verify(model.bundle, settings=settings), read_baseline(path)).passed
