from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import UsageError
from glow_deploy.verify.backends.backend import open_backends
from glow_deploy.verify.stress import Origin, StressSettings, measure_stress, stress_tables

QUICK = StressSettings(images=3, draws=4, pass_images=3, attack_images=4, attack_steps=3, runs=3, processes=0)


@pytest.fixture(scope="module")
def report(exported):
    """A whole stress test of two backends, with everything that was called for progress."""
    made = exported(num_classes=3)
    bundle = Bundle.open(made.bundle)
    golden = bundle.golden()
    with ExitStack() as stack:
        backends = open_backends(bundle, stack=stack, wanted=["pytorch-fp32", "onnxruntime-cpu"], ckpt=made.ckpt).matrix
        stages = []
        found = measure_stress(
            backends,
            x=golden.x,
            y=golden.y,
            n_bits=bundle.manifest.n_bits,
            bounded=True,
            settings=QUICK,
            origin=Origin(bundle=made.bundle, ckpt=made.ckpt),
            progress=lambda *stage: stages.append(stage),
        )
    return found, stages


def test_a_small_glow_is_measured_in_every_way(report):
    found, stages = report
    assert not found.failures
    assert set(found.verdicts) == {"inputs", "temperatures", "passes", "attack", "determinism"}
    assert found.verdicts["determinism"] == "sound"
    assert {row.backend for row in found.inputs} == {"pytorch-fp32", "onnxruntime-cpu"}
    assert found.inputs[0].name == "golden"
    assert len(found.temperatures) == 2 * 7
    assert set(found.first_non_finite) == {"pytorch-fp32", "onnxruntime-cpu"}
    assert found.attack.attacked.images == 4
    assert {name for name, _, _ in stages} == {f"stress: {name}" for name in found.seconds}
    finals = {name: (done, total) for name, done, total in stages}
    assert all(done == total for done, total in finals.values())


def test_the_json_holds_plain_values_only(report):
    found, _ = report
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert set(json.loads(text)) >= {
        "inputs", "temperatures", "first_non_finite", "passes", "attack", "determinism", "verdicts", "failures",
    }  # fmt: skip


def test_the_tables_fit_a_terminal(report):
    from rich.console import Console

    found, _ = report
    # Names as long as they get, and figures as wide.
    wide = replace(
        found,
        passes=tuple(replace(row, rms=1.2e30, max=3.4e38, growth=1.5e30) for row in found.passes),
        temperatures=tuple(
            replace(row, backend="onnxruntime-cuda" if row.backend == "onnxruntime-cpu" else row.backend, largest=1e38)
            for row in found.temperatures
        ),
    )
    for shown in (found, wide):
        console = Console(file=io.StringIO(), width=80)
        for part in stress_tables(shown):
            console.print(part)
        text = console.file.getvalue()
        assert max(len(line) for line in text.splitlines()) <= 80
        assert "Half-bin attack" in text
        assert "checkerboard-1" in text
        assert "…" not in text
    # No cell of the widest table is broken over two lines.
    assert text.count("1.0e38") == 14


def test_without_a_checkpoint_the_attack_is_left_out_and_torch_stays_away(exported):
    code = f"""
        import sys
        from contextlib import ExitStack
        from pathlib import Path
        from glow_deploy.artifact.bundle import Bundle
        from glow_deploy.verify.stress import Origin, StressSettings, measure_stress
        from glow_deploy.verify.backends.backend import open_backends
        bundle = Bundle.open({str(exported().bundle)!r})
        golden = bundle.golden()
        settings = StressSettings(images=1, draws=1, pass_images=1, runs=2, processes=0)
        with ExitStack() as stack:
            backends = open_backends(bundle, stack=stack, wanted=["onnxruntime-cpu"]).matrix
            report = measure_stress(backends, x=golden.x, y=None, n_bits=8, bounded=True, settings=settings,
                                    origin=Origin(bundle=bundle.path))
        assert report.attack is None and report.to_dict()["attack"] is None
        assert "attack" not in report.verdicts
        assert "--ckpt" in report.notes[0]
        assert not {{"torch", "glow_core", "matplotlib"}} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)


def test_nothing_to_test_is_no_pass(stand_in, images):
    with pytest.raises(UsageError, match="at least one backend"):
        measure_stress([], x=images, y=None, n_bits=8, bounded=True)
    with pytest.raises(UsageError, match="one image"):
        measure_stress([stand_in()], x=images[:0], y=None, n_bits=8, bounded=True)


def test_processes_are_left_out_with_a_note_where_engines_cannot_be_opened_again(stand_in, images):
    settings = replace(QUICK, attack_images=0, temperatures=(1.0,), processes=1)
    found = measure_stress([stand_in()], x=images, y=None, n_bits=8, bounded=True, settings=settings)
    assert found.determinism[0].processes_equal is None
    assert any("fresh processes" in note for note in found.notes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 0},
        {"runs": 1},
        {"attack_step": 0.0},
        {"attack_steps": 0},
        {"temperatures": ()},
        {"temperatures": (1.0, 0.5)},
        {"temperatures": (1.0, float("nan"))},
        {"passes": (0, 1)},
        {"passes": ()},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        StressSettings(**wrong)


def test_a_wavering_or_drifting_engine_is_reported_not_failed(stand_in, images):
    noise = np.random.default_rng(0)
    wavering = stand_in(decode=lambda z: z + noise.standard_normal(z.shape).astype(np.float32) * np.float32(1e-6))
    expanding = stand_in(decode=lambda z: z * np.float32(1.5))
    for backend, sections in ((wavering, {"determinism"}), (expanding, {"passes", "temperatures"})):
        settings = replace(QUICK, attack_images=0, temperatures=(1.0,), passes=(1, 9))
        found = measure_stress([backend], x=images, y=None, n_bits=8, bounded=True, settings=settings)
        assert found.failures == ()
        assert {name for name, verdict in found.verdicts.items() if verdict == "reported"} == sections
