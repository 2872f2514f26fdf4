"""Projects that are known and cannot be read are named, with what in them cannot be expressed."""

from __future__ import annotations

import pytest
import torch

from glow_core.readers import READERS
from glow_core.readers.unfit import why_unfit

# Some names of each, as the projects' own code gives them.
CHRISCHUTE = (
    "bounds",
    "flows.steps.0.norm.is_initialized",
    "flows.steps.0.norm.bias",
    "flows.steps.0.conv.weight",
    "flows.steps.0.coup.scale",
    "flows.steps.0.coup.nn.in_norm.running_mean",
    "flows.steps.0.coup.nn.in_conv.weight",
    "flows.next.steps.0.coup.nn.in_conv.weight",
)
KAMENBLIZNASHKI = (
    "base_dist_mean",
    "flowlevels.0.flowsteps.0.0.scale",
    "flowlevels.0.flowsteps.0.1.w",
    "flowlevels.0.flowsteps.0.2.log_scale_factor",
    "flowlevels.0.flowsteps.0.2.conv1.weight",
    "flowlevels.0.split.gaussianize.net.weight",
    "flowstep.0.2.log_scale_factor",
    "gaussianize.log_scale_factor",
)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
    ("names", "wrapper", "words"),
    [
        (CHRISCHUTE, "net", ("chrischute/glow", "logit", "tanh", "batch norms")),
        (KAMENBLIZNASHKI, "state_dict", ("kamenbliznashki/normalizing_flows", "s * x + t", "(x + t) * s")),
    ],
    ids=["chrischute", "kamenbliznashki"],
)
def test_the_refusal_names_the_project_and_the_reason(tmp_path, refusal, names, wrapper, words, prefix):
    path = tmp_path / "checkpoint.pt"
    torch.save({wrapper: {f"{prefix}{name}": torch.ones(1) for name in names}, "epoch": 3}, path)
    message = refusal(path)
    assert all(word in message for word in words)
    assert "no layout known" not in message


def test_no_layout_that_is_read_is_taken_for_one_of_these():
    for reader in READERS:
        assert why_unfit([name.replace("#", "0") for name in reader.layout]) is None
