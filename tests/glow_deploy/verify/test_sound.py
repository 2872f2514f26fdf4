"""Sound models pass, whatever they are made of."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.verify import VerifySettings, verify

KINDS = {
    "affine lu rgb": {},
    "additive plain grey": {"coupling": "additive", "permutation": "plain", "channels": 1, "seed": 1},
    "one level": {"levels": 1, "seed": 2},
    "three levels, not square": {"levels": 3, "image_size": (8, 16), "steps": 2, "seed": 3},
    "shuffle, 5 bits": {"permutation": "shuffle", "n_bits": 5, "seed": 4},
    "reverse additive, one step": {
        "permutation": "reverse",
        "coupling": "additive",
        "steps": 1,
        "levels": 1,
        "width": 4,
        "seed": 5,
    },
    "unbounded scale": {"bounded_scale": False, "seed": 6},
    "classes": {"num_classes": 3, "seed": 7},
    "one golden image": {"golden": 1, "seed": 8},
    "golden from samples": {"carry": False, "golden": 7, "seed": 9},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_bundle_alone_is_enough(exported, kind):
    report = verify(exported(**KINDS[kind]).bundle)
    assert report.sound, [str(failure) for failure in report.failures]
    assert (report.verdicts.round_trip, report.verdicts.likelihood) == ("sound", "sound")
    assert {(cell.encode, cell.decode) for cell in report.cells} >= {("onnxruntime-cpu", "onnxruntime-cpu")}
    assert all(cell.gates for cell in report.cells)


@pytest.mark.parametrize("kind", ["affine lu rgb", "three levels, not square", "classes"])
def test_the_whole_matrix_with_the_checkpoint(exported, kind):
    model = exported(**KINDS[kind])
    report = verify(model.bundle, settings=VerifySettings(ckpt=model.ckpt, batch=13, random_draws=8))
    assert report.sound, [str(failure) for failure in report.failures]
    names = {"pytorch-fp64", "pytorch-fp32", "onnxruntime-cpu"}
    assert {(c.encode, c.decode) for c in report.cells} >= {(a, b) for a in names for b in names}
    assert {r.backend for r in report.references} >= names
    own = next(c for c in report.cells if c.encode == c.decode == "pytorch-fp64")
    assert own.x_error.max < 1e-9
    assert "from the manifest" in report.image_sets[0].yardstick.source


@pytest.mark.parametrize(
    "kind",
    ["affine lu rgb", "additive plain grey", "unbounded scale", "classes", "one golden image", "golden from samples"],
)
def test_unseen_images_pass_without_the_checkpoint(exported, npz, quick, kind):
    model = exported(**KINDS[kind])
    report = quick(model.bundle, data=npz(model, 301), batch=64)
    assert report.sound, [str(failure) for failure in report.failures]
    golden, data = report.image_sets
    assert (golden.name, data.name, data.n) == ("golden", "data", 301)
    assert "no splits" in data.source
    assert "no splits" not in golden.source
    assert golden.paired
    assert not data.paired
    assert {cell.images for cell in report.cells} == {"golden", "data"}


def test_unseen_images_are_paired_with_the_checkpoint(exported, npz, quick):
    model = exported()
    report = quick(model.bundle, data=npz(model, 40), ckpt=model.ckpt, limit=33)
    assert report.sound, [str(failure) for failure in report.failures]
    data = report.image_sets[1]
    assert (data.n, data.paired, data.reference, data.yardstick.n) == (33, True, True, 33)
    assert "measured now" in data.yardstick.source
    # The PyTorch engines serve as reference and yardstick and take no part in the matrix.
    assert {cell.encode for cell in report.cells} == {"onnxruntime-cpu"}
    assert {r.images for r in report.references} == {"golden", "data"}


def test_the_batch_does_not_change_the_verdict_or_the_figures(sound, quick):
    small, large = (quick(sound.bundle, batch=batch) for batch in (3, 32))
    assert small.sound
    assert small.cells[0].x_error.rms == pytest.approx(large.cells[0].x_error.rms, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 13))
def test_ten_thousand_unseen_images_do_not_fail_a_sound_model(exported, npz, quick, seed):
    model = exported(seed=seed, bounded_scale=seed % 2 == 0)
    report = quick(model.bundle, data=npz(model, 10_000), batch=128)
    assert report.sound, [str(failure) for failure in report.failures]
    exact = report.cells[-1].exactness
    assert exact.images_exact == exact.images == 10_000
    assert exact.bound < 3.1e-4


def test_torch_is_never_imported_without_a_checkpoint(sound):
    script = """
        import sys
        sys.modules["torch"] = None  # any import of it raises
        from glow_deploy.verify import report_tables, verify
        report = verify(sys.argv[1])
        assert report.sound
        report_tables(report)
        report.to_json()
        reason = {b.name: b.reason for b in report.backends}["pytorch-fp64"]
        assert "--ckpt" in reason, reason
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(sound.bundle)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


def test_images_far_from_the_golden_ones_are_told_from_a_faulty_engine(sound, quick, tamper, npz):
    # A stand-in for a model that loses digits far from its data: the engine adds noise on the data images alone.
    golden = {row.tobytes() for row in Bundle.open(sound.bundle).golden().x}
    seen = []

    def remember(feeds):
        seen.append(feeds["x"][0].tobytes() in golden)
        return feeds

    def blur(outputs, feeds):
        off = np.float32(1e-3) * (feeds["x"][0].tobytes() not in golden)
        return {**outputs, "z1": outputs["z1"] + off}

    tamper("encoder", before=remember, after=blur)
    report = quick(sound.bundle, data=npz(sound, 20))
    assert set(seen) == {True, False}
    data = [failure for failure in report.failures if failure.images == "data"]
    assert data
    assert all("give --ckpt" in failure.cause for failure in data)
    assert all("give --ckpt" not in failure.cause for failure in report.failures if failure.images != "data")
