"""What the measuring code really writes is what the page reads."""

from __future__ import annotations

import html
import re
from contextlib import ExitStack

import numpy as np
import pytest

from glow_deploy.verify.html import render_report


@pytest.fixture(scope="module")
def report(perturbed_glow, tmp_path_factory):
    """A small bundle, verified with everything that runs without a GPU."""
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.export import ExportSettings, export
    from glow_deploy.verify import VerifySettings, verify
    from glow_deploy.verify.backends.backend import open_backends
    from glow_deploy.verify.stress.run import measure_stress
    from glow_deploy.verify.stress.settings import StressSettings

    folder = tmp_path_factory.mktemp("real")
    config = GlowConfig(image_size=(8, 8), channels=1, levels=2, steps=2, width=8)
    images = np.random.default_rng(0).integers(0, 256, (16, 1, 8, 8), dtype=np.uint8)
    save_checkpoint(perturbed_glow(config), folder / "ckpt.pt", images=images)
    export(folder / "ckpt.pt", out=folder / "bundle", settings=ExportSettings(golden=8))
    found = verify(folder / "bundle", settings=VerifySettings(random_draws=4, steps=True, steps_images=2)).to_dict()
    bundle = Bundle.open(folder / "bundle")
    with ExitStack() as stack:
        backends = open_backends(bundle, stack=stack, wanted=("onnxruntime-cpu",))
        found["stress"] = measure_stress(
            backends.matrix,
            x=bundle.golden().x,
            y=None,
            n_bits=8,
            bounded=True,
            settings=StressSettings(images=2, draws=4, temperatures=(0.7,), attack_images=0, runs=2, processes=0),
        ).to_dict()
    return found


def text_of(page):
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.split("<body>")[1])))


def test_a_real_report_is_read_whole(report):
    text = text_of(render_report(report))
    assert "8x8x1, 8 bits, L=2 K=2 width 8, affine, bounded scale, lu 1x1" in text
    assert "onnxruntime-cpu against float64" in text
    assert "8/8 exact" in text
    for measured in (
        "gamma = ",
        "bf16-mixed",
        "level 1",
        "level1/step02",
        "Unusual images",
        "rademacher",
        "Determinism",
        "Repeated passes",
    ):
        assert measured in text
    for lost in ("nan", "inf", "None", "not judged"):
        assert not re.search(rf"\b{lost}\b", text), lost
    assert "Not measured: add --steps." not in text
    assert "Not measured: add --stress." not in text


def test_every_gate_of_a_real_report_is_listed(report):
    from glow_deploy.verify.html.evidence import gates_of

    gates = gates_of(report)
    parts = [*report["cells"], *report["references"], *report["batches"]]
    assert len(gates) == sum(len(part["gates"]) for part in parts) > 20
    assert all(gate.passed for gate in gates)
    assert all(0.0 <= gate.ratio <= 1.0 for gate in gates)
    text = text_of(render_report(report))
    for measure in {gate.quantity for gate in gates}:
        assert measure in text


def test_every_figure_of_the_matrix_is_the_one_in_the_report(report):
    from glow_deploy.verify.html.formats import number

    page = render_report(report)
    for cell in report["cells"]:
        assert f"<strong>{number(cell['x_z_x']['pixel_steps']['rms'])}</strong>" in page
