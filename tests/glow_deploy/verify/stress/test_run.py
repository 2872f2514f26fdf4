from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.errors import UsageError
from glow_deploy.verify.stress import StressSettings, measure_stress

QUICK = StressSettings(images=3, draws=4, pass_images=3, attack_images=4, attack_steps=3, runs=3, processes=0)


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
        assert not {{"torch", "glow_core.model", "matplotlib"}} & set(sys.modules)
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


def test_a_wavering_or_drifting_engine_is_reported_not_failed(stand_in, images):
    noise = np.random.default_rng(0)
    wavering = stand_in(decode=lambda z: z + noise.standard_normal(z.shape).astype(np.float32) * np.float32(1e-6))
    expanding = stand_in(decode=lambda z: z * np.float32(1.5))
    for backend, sections in ((wavering, {"determinism"}), (expanding, {"passes", "temperatures"})):
        settings = replace(QUICK, attack_images=0, temperatures=(1.0,), passes=(1, 9))
        found = measure_stress([backend], x=images, y=None, n_bits=8, bounded=True, settings=settings)
        assert found.failures == ()
        assert {name for name, verdict in found.verdicts.items() if verdict == "reported"} == sections
