"""The invertibility regression suite: the whole matrix on this GPU, against gates, baselines and planted faults."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from glow_deploy.verify import VerifySettings, verify

pytestmark = pytest.mark.gpu

BASELINES = Path(__file__).with_name("baselines")


def _figures(report) -> dict[str, dict[str, float]]:
    """The figures that are kept per cell."""
    return {
        f"{cell.images}: {cell.encode} -> {cell.decode}": {"rms": cell.x_error.rms, "p999": cell.x_error.p999}
        for cell in report.cells
    }


@pytest.fixture(scope="module")
def report(bundle, checkpoint, problems):
    backends = ["pytorch-fp64", "pytorch-fp32", "onnxruntime-cpu"]
    backends += [name for name in ("onnxruntime-cuda", "tensorrt", "tensorrt-rtx") if name not in problems]
    return verify(bundle, settings=VerifySettings(backends=tuple(backends), ckpt=checkpoint))


def test_every_pair_of_backends_is_invertible(report, problems):
    for name, reason in problems.items():
        print(f"{name} is not in the matrix: {reason}")
    assert len({cell.encode for cell in report.cells}) == 6 - len(problems)
    assert report.sound, [str(failure) for failure in report.failures]


def test_nothing_got_worse_than_the_baseline_of_this_gpu(report, gpu, request, grown):
    name = re.sub(r"[^A-Za-z0-9]+", "-", gpu.name).strip("-").lower()
    path = BASELINES / f"{name}.json"
    model = report.bundle["model_id"]
    figures = _figures(report)
    assert report.sound
    if request.config.getoption("--record-baselines", default=False):
        BASELINES.mkdir(exist_ok=True)
        content = {"gpu": gpu.name, "model_id": model, "environment": dict(report.environment), "figures": figures}
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
        return
    if path.exists():
        recorded = json.loads(path.read_text())["model_id"]
        assert recorded == model, f"{path.name} was recorded with another model: record it again on this machine"
    found = grown(figures, path, model)
    if found is None:
        warnings.warn(
            f"no baseline for {gpu.name} and this model: only the absolute verdict was given. Record one with "
            "`pytest -m gpu tests/gpu --record-baselines`",
            stacklevel=1,
        )
    assert not found


def _scale_largest(weight):
    weight.reshape(-1)[np.abs(weight).argmax()] *= 1.01


def _scale_row(weight):
    weight[0] *= 1.005


def _swap_rows(weight):
    weight[[0, 1]] = weight[[1, 0]]


@pytest.mark.parametrize("fault", [_scale_largest, _scale_row, _swap_rows], ids=lambda fault: fault.__name__[1:])
def test_a_planted_fault_fails_on_the_gpu(spoilt, backend, fault):
    def change(name, weight, role):
        if role != "decoder" or name != "level2/step03/invconv/weight":
            return None
        fault(weight)
        return weight

    report = verify(spoilt(change), settings=VerifySettings(backends=(backend,), random_draws=0))
    assert not report.sound
