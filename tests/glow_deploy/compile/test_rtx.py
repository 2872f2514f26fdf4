from __future__ import annotations

from types import SimpleNamespace

import pytest

from glow_deploy.compile import CompileSettings
from glow_deploy.compile.rtx import configure_rtx
from glow_deploy.errors import CompileError

RELEASE = SimpleNamespace(__version__="1.7.1", ComputeCapability=SimpleNamespace(SM86="86", SM120="120"))


class Config:
    """A stand-in for a builder's configuration."""

    def __init__(self, *, accepts=("86", "120")):
        self.accepts = accepts
        self.set = {}

    def set_compute_capability(self, capability, index):
        self.set[index] = capability
        return capability in self.accepts


def test_every_target_is_named():
    config = Config()
    configure_rtx(RELEASE, config, CompileSettings(flavor="rtx", gpus=("sm86", "sm120")))
    assert config.num_compute_capabilities == 2
    assert config.set == {0: "86", 1: "120"}


@pytest.mark.parametrize(("gpus", "accepts"), [(("sm86", "sm89"), ("86", "120")), (("sm86", "sm120"), ("86",))])
def test_a_target_that_the_release_does_not_know_or_take_is_named(gpus, accepts):
    with pytest.raises(
        CompileError, match=rf"TensorRT for RTX 1\.7\.1 cannot compile for {gpus[1]}: leave it out of gpus="
    ):
        configure_rtx(RELEASE, Config(accepts=accepts), CompileSettings(flavor="rtx", gpus=gpus))
