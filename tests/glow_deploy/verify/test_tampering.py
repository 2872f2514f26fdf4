"""Negative controls: what goes wrong between the engines. Each must fail and be called by its name."""

from __future__ import annotations

import numpy as np
import pytest


def causes(report):
    assert not report.sound
    return " | ".join(failure.cause for failure in report.failures)


def latents(feeds):
    return [name for name in feeds if name.startswith("z")]


@pytest.mark.parametrize("dropped", ["z1", "z2"])
def test_a_dropped_latent(sound, tamper, quick, dropped):
    tamper("decoder", before=lambda feeds: {**feeds, dropped: np.zeros_like(feeds[dropped])})
    report = quick(sound.bundle)
    assert f"{dropped} is dropped" in causes(report)
    assert {failure.level for failure in report.failures} <= {int(dropped[1]), None}


@pytest.mark.parametrize("swapped", ["z1", "z2"])
def test_the_latents_of_two_images_swapped(sound, tamper, quick, swapped):
    def swap(feeds):
        part = feeds[swapped].copy()
        if len(part) > 1:
            part[[0, 1]] = part[[1, 0]]
        return {**feeds, swapped: part}

    tamper("decoder", before=swap)
    assert not quick(sound.bundle).sound


def test_all_latents_of_a_batch_turned_round(sound, tamper, quick):
    tamper("decoder", before=lambda feeds: {name: part[::-1] for name, part in feeds.items()})
    assert "exchanged" in causes(quick(sound.bundle))


def test_two_latents_swapped_and_reshaped(exported, tamper, quick):
    def swap(feeds):
        one, two = (feeds[name].reshape(len(feeds["z1"]), -1) for name in ("z1", "z2"))
        both = np.concatenate((two, one), axis=1)
        ends = (0, one.shape[1], both.shape[1])
        return {
            name: both[:, start:end].reshape(feeds[name].shape)
            for name, start, end in zip(("z1", "z2"), ends[:-1], ends[1:], strict=True)
        }

    tamper("decoder", before=swap)
    assert not quick(exported().bundle).sound


def test_rows_and_columns_of_a_latent_exchanged(sound, tamper, quick):
    tamper("decoder", before=lambda feeds: {**feeds, "z1": np.swapaxes(feeds["z1"], 2, 3)})
    assert not quick(sound.bundle).sound


@pytest.mark.parametrize("temperature", [0.7, 0.95])
def test_a_temperature_applied_twice(sound, tamper, quick, temperature):
    scale = np.float32(temperature)
    tamper("decoder", before=lambda feeds: {n: f * scale if n in latents(feeds) else f for n, f in feeds.items()})
    report = quick(sound.bundle)
    assert f"scaled by {temperature:.2f}: a temperature" in causes(report)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("role", "output"), [("encoder", "z2"), ("encoder", "log_prob"), ("decoder", "x")])
def test_a_single_non_finite_value(sound, tamper, quick, role, output, bad):
    def spoil(outputs, feeds):
        array = outputs[output].copy()
        array.reshape(-1)[-1] = bad
        return {**outputs, output: array}

    tamper(role, after=spoil)
    report = quick(sound.bundle)
    assert not report.sound
    assert any(failure.gate.statistic == "non-finite" for failure in report.failures)
    report.to_json()


def only_in_large_batches(outputs, feeds):
    rows = len(next(iter(feeds.values())))
    if rows < 3:
        return outputs
    spoilt = {name: array.copy() for name, array in outputs.items()}
    for array in spoilt.values():
        array[-1] = array[0]
    return spoilt


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_the_last_row_of_a_batch_is_another(sound, tamper, quick, role):
    tamper(role, after=only_in_large_batches)
    # One image at a time nothing shows but in the batch check.
    report = quick(sound.bundle, batch=1)
    assert [batch.role for batch in report.batches if not batch.passed] == [role]
    assert all(cell.passed for cell in report.cells)
    assert not report.sound
    assert "batch" in causes(report)


def wrong_at(size):
    """Off at one batch size, in one row alone."""

    def change(outputs, feeds):
        if len(next(iter(feeds.values()))) != size:
            return outputs
        spoilt = {name: array.copy() for name, array in outputs.items()}
        for array in spoilt.values():
            array[size // 2] += np.float32(0.01)
        return spoilt

    return change


@pytest.mark.parametrize(
    ("role", "size"),
    [
        pytest.param(role, size, marks=[pytest.mark.slow] * ((n + k) % 2))
        for n, role in enumerate(["encoder", "decoder"])
        for k, size in enumerate([1, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64])
    ],
)
def test_an_engine_that_is_wrong_at_one_batch_size(sound, tamper, quick, role, size):
    tamper(role, after=wrong_at(size))
    report = quick(sound.bundle)
    (failed,) = (batch for batch in report.batches if not batch.passed)
    assert failed.role == role
    assert size in failed.sizes or size == 1
    assert failed.worst_size == size or size == 1
    assert not report.sound


def test_the_sizes_that_data_were_run_at_are_tried(sound, tamper, quick, npz):
    tamper("decoder", after=wrong_at(12))
    assert quick(sound.bundle).sound
    report = quick(sound.bundle, data=npz(sound, 44))  # 32 and 12
    (failed,) = (batch for batch in report.batches if not batch.passed)
    assert 12 in failed.sizes


def test_the_bound_of_the_sizes_is_an_option(sound, tamper, quick):
    tamper("decoder", after=wrong_at(128))
    assert quick(sound.bundle).sound
    assert not quick(sound.bundle, largest_batch=128).sound


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_equal_rows_that_differ(sound, tamper, quick, role):
    def drift(outputs, feeds):
        return {
            name: array
            + np.float32(1e-3) * np.arange(len(array), dtype=np.float32).reshape(-1, *[1] * (array.ndim - 1))
            for name, array in outputs.items()
        }

    tamper(role, after=drift)
    report = quick(sound.bundle, batch=1)
    failed = next(batch for batch in report.batches if not batch.passed)
    assert any("equal rows" in gate.quantity for gate in failed.gates if not gate.passed)


def test_harmless_wrappers_pass(sound, tamper, quick):
    tamper("decoder", before=lambda feeds: dict(feeds), after=lambda outputs, feeds: outputs)
    assert quick(sound.bundle).sound


def test_a_backend_that_disagrees_shows_on_fresh_images_without_a_reference(sound, tamper, quick, npz):
    tamper("decoder", before=lambda feeds: {**feeds, "z2": feeds["z2"] * np.float32(1.001)})
    report = quick(sound.bundle, data=npz(sound, 20))
    assert any("data images" in failure.where and failure.level == 2 for failure in report.failures)
