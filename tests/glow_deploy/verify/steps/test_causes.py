from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from blame import ROLES, assert_named, largest_entry


@pytest.mark.parametrize(
    ("role", "direction", "tensor"),
    [
        ("encoder", "encode", "coupling/conv2:0"),
        ("encoder", "encode", "invconv:0"),
        ("decoder", "decode", "coupling/conv2:0"),
        ("decoder", "decode", "coupling/conv3:0"),
    ],
)
def test_a_step_computed_with_float16_casts(case, tensor, role, direction):
    report = case().rounded(role, [f"level2/step02/{tensor}"]).measure()
    part = "trunk" if tensor == "invconv:0" else "conditioner"
    assert_named(report, "level2/step02", direction, "arithmetic", f"computes its {part} in float16")
    assert len(report.backends[0].jumps) == 1


@pytest.mark.parametrize(("role", "direction"), ROLES)
def test_a_backend_that_computes_one_step_in_tf32(case, probe_of, role, direction):
    report = in_tf32(case(), probe_of, role, only="level2/step02")
    assert_named(report, "level2/step02", direction, "arithmetic", "11 bits", "TF32")
    assert len(report.backends[0].jumps) == 1


@pytest.mark.parametrize(("role", "direction"), ROLES)
def test_a_backend_that_computes_everything_in_tf32(case, probe_of, role, direction):
    report = in_tf32(case(), probe_of, role)
    step = "level1/step01" if direction == "encode" else "level2/step03"
    assert_named(report, step, direction, "arithmetic", "its convolutions round to 11 bits", "TF32")
    assert len(report.backends[0].jumps) == 7  # every step and the split, in this graph alone


def in_tf32(model, probe_of, role, *, only=None):
    from glow_deploy.graphs.rounding import Rounding
    from glow_deploy.precision.simulate import simulated_graph

    steps = [f"level{level}/step0{step}" for level in (1, 2) for step in (1, 2, 3)]
    mode = {step: "tf32" if only in (None, step) else "fp32" for step in steps}
    rounding = Rounding(trunk="tf32" if only is None else "fp32", conditioners=mode)
    spoilt = replace(model, **{role: simulated_graph(getattr(model, role), rounding)})
    return model.measure(probes=[probe_of(spoilt, like=model)])


def flow_step(glow, level, step):
    return list(list(glow.flow_levels())[level - 1].flow_steps())[step - 1]


@pytest.mark.parametrize(("kappa", "named"), [(1e2, False), (1e4, True), (1e5, True)])
def test_a_badly_conditioned_1x1_is_the_cause(case, kappa, named):
    import torch

    def edit(glow):
        weight = flow_step(glow, 2, 2).permutation.weight.data
        u, values, v = np.linalg.svd(weight.numpy())
        values = np.geomspace(1, 1 / kappa, len(values)) * kappa**0.5
        weight.copy_(torch.from_numpy(u @ np.diag(values) @ v))

    model = case(edit=edit, permutation="plain")
    report = model.measure(trained=dict(model.folded.named_arrays()))
    assert report.weights == (), "rounding of an inverse is no fault, whatever the condition number"
    if not named:
        assert report.first_jump is None
        return
    jumps = report.backends[0].jumps
    assert {jump.step for jump in jumps} == {"level2/step02"}
    assert "decode" in {jump.direction for jump in jumps}
    assert all(f"kappa {kappa:.0e}"[:7] in jump.cause for jump in jumps), [str(jump) for jump in jumps]
    assert all("penalty" in jump.advice for jump in jumps)


@pytest.mark.parametrize(("role", "direction"), ROLES)
def test_a_wrong_entry_shows_in_a_badly_conditioned_1x1_too(case, role, direction):
    import torch

    def edit(glow):
        weight = flow_step(glow, 2, 2).permutation.weight.data
        u, values, v = np.linalg.svd(weight.numpy())
        weight.copy_(torch.from_numpy(u @ np.diag(np.geomspace(100, 0.001, len(values))) @ v))

    model = case(edit=edit, permutation="plain")
    report = model.change(role, largest_entry("level2/step02/invconv/weight", 1.01)).measure()
    assert_named(report, "level2/step02", direction, "weights")


@pytest.mark.parametrize(("h", "kind"), [(-12.0, "gain"), (-30.0, "gain"), (-95.0, "overflow")])
def test_an_affine_scale_near_0(case, h, kind):
    def edit(glow):
        bias = flow_step(glow, 2, 2).coupling.conditioner.conv3.bias.data
        bias[bias.numel() // 2] = h

    report = case(edit=edit, bounded_scale=False).measure()
    assert_named(report, "level2/step02", "decode", kind, "affine scale falls to", "bounded scale")
    assert case(edit=edit, bounded_scale=True).measure().first_jump is None


def large_conditioner(glow):
    """Conv2's results 1e5 times as large, and conv3 so much smaller: the same function."""
    net = flow_step(glow, 1, 2).coupling.conditioner
    net.conv2.weight.data *= 1e5
    net.norm2.bias.data *= 1e5
    net.conv3.weight.data /= 1e5


@pytest.mark.parametrize(("role", "direction"), ROLES)
def test_overflow_in_a_float16_conditioner(case, probe_of, role, direction):
    model = case(edit=large_conditioner)
    assert model.measure().first_jump is None
    narrow = model.rounded(role, ["level1/step02/coupling/conv2:0"])
    report = narrow.measure()
    assert_named(report, "level1/step02", direction, "overflow", "float16", "65504", "--precision auto")
    row = next(r for r in report.backends[0].rows if (r.step, r.direction) == ("level1/step02", direction))
    assert row.non_finite > 0
    report.to_dict()
    # The graph says float32, the backend does not.
    assert_named(model.measure(probes=[probe_of(narrow)]), "level1/step02", direction, "overflow", "runs this step in")


def test_a_model_that_overflows_in_float64_is_not_blamed_on_a_backend(case):
    def infinite(name, array):
        return array * np.inf if name == "level1/step02/coupling/conv3/bias" else None

    model = case().change("encoder", infinite).change("decoder", infinite)
    report = model.measure(golden=None)
    assert_named(report, "level1/step02", "encode", "overflow", "float64 too", "bounded scale")
    report.to_dict()
