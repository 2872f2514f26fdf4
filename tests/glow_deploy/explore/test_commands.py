from __future__ import annotations

from pathlib import Path

import pytest

from glow_deploy.explore.changes import Change
from glow_deploy.explore.commands import Source, equivalent_command
from glow_deploy.explore.settings import ExploreSettings


def source(file="a b.png", label=None, fitted=False):
    return Source(name=file, file=file, fitted=fitted, label=label)


@pytest.mark.parametrize(
    ("change", "settings", "image", "other", "wanted"),
    [
        (Change(), {}, source(), None, "encode --engine b/encoder.onnx 'a b.png' --out latents.npz"),
        (
            Change(),
            {"flavor": "rtx", "device": "cuda:1", "trust_engine": True},
            source(fitted=True),
            None,
            "encode --engine b/encoder.rtx.trt 'a b.png' --out latents.npz --resize --device cuda:1 --trust-engine",
        ),
        (Change(temperature=0.5), {}, source(), None, "decode --engine b/decoder.onnx latents.npz"),
        (
            Change(temperatures=(1.0, 0.9)),
            {"flavor": "tensorrt"},
            source(),
            None,
            "decode --engine b/decoder.trt latents.npz",
        ),
        (Change(share=0.5), {}, source(), source("c.png"), "interpolate b 'a b.png' c.png"),
        (
            Change(share=0.5, mode="spherical"),
            {"flavor": "rtx"},
            source(label=1),
            source("c.png", label=2, fitted=True),
            "interpolate b 'a b.png' c.png --mode spherical --class 1,2 --resize --flavor rtx",
        ),
        (Change(label=2), {}, source(label=1), None, "decode --engine b/decoder.onnx latents.npz"),
        (
            Change(label=1),
            {},
            source(label=1),
            None,
            "encode --engine b/encoder.onnx 'a b.png' --out latents.npz --class 1",
        ),
    ],
)
def test_commands(change, settings, image, other, wanted):
    found = equivalent_command(Path("b"), ExploreSettings(**settings), change, image=image, other=other)
    assert found == f"glow-deploy {wanted}"
