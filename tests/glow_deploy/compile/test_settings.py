from __future__ import annotations

from pathlib import Path

import pytest

from glow_deploy.compile import RTX_GPUS, CompileSettings
from glow_deploy.errors import UsageError


def test_rtx_compiles_for_every_gpu_from_ampere_on_unless_told():
    assert CompileSettings().targets == ("sm80", "sm86", "sm89", "sm120", "sm121")
    assert CompileSettings(gpus=("sm120", "sm75", "sm75")).targets == ("sm75", "sm120")
    assert CompileSettings(flavor="tensorrt").targets == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flavor": "rtx2"}, "choose from tensorrt, rtx"),
        ({"min_batch": 0}, "batch sizes"),
        ({"min_batch": 33}, "batch sizes"),
        ({"min_batch": 9, "opt_batch": 8}, "batch sizes"),
        ({"max_batch": 65537}, "batch sizes"),
        ({"opt_batch": 33}, "batch sizes"),
        ({"max_batch": 10**6, "opt_batch": 10}, "batch sizes"),
        ({"gpus": ("sm90",)}, "Hopper"),
        ({"gpus": ("sm86", "sm100")}, "Hopper"),
        ({"gpus": ("8.6",)}, "unknown GPU target"),
        ({"opt_level": 3}, "opt_level="),
        ({"timing_cache": Path("c")}, "timing_cache="),
        ({"version_compatible": True}, "version_compatible="),
        ({"hardware_compatible": True}, "hardware_compatible="),
        ({"flavor": "tensorrt", "gpus": ("sm86",)}, 'flavor="rtx"'),
        ({"flavor": "tensorrt", "opt_level": 6}, "0 to 5"),
    ],
)
def test_what_cannot_work_is_refused_beforehand(options, message):
    with pytest.raises(UsageError, match=message):
        CompileSettings(**options)


@pytest.mark.parametrize(
    ("options", "profile"),
    [
        ({}, (1, 8, 32)),
        ({"max_batch": 4}, (1, 4, 4)),
        ({"min_batch": 16}, (16, 16, 32)),
        ({"min_batch": 2, "opt_batch": 3, "max_batch": 5}, (2, 3, 5)),
    ],
)
def test_the_preferred_batch_follows_the_others(options, profile):
    assert CompileSettings(**options).profile == profile


def test_the_targets_are_those_of_the_installed_tensorrt_rtx():
    trt = pytest.importorskip("tensorrt_rtx")
    names = {name.lower() for name in trt.ComputeCapability.__members__} - {"none", "current"}
    assert names == set(RTX_GPUS)
