"""The benchmarks run, and what they measure keeps its order."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from glow_core import GlowConfig, save_checkpoint
from glow_deploy.data import load_images
from glow_deploy.exact.build import build_exact
from glow_deploy.folding.fold import fold

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "precision.py"


@pytest.mark.slow
def test_the_precisions_of_a_quickly_trained_model_are_measured():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    rows = {line.split("│")[1].strip(): line.split("│") for line in done.stdout.splitlines() if line.startswith("│")}
    assert set(rows) == {"fp32", "auto", "mixed", "bf16-mixed", "fp16", "tf32"}
    rms = {name: float(cells[4]) for name, cells in rows.items()}
    assert rms["fp32"] < rms["mixed"] < rms["fp16"]
    assert "conditioners in float16, chosen on 256 images" in done.stdout


@pytest.mark.slow
def test_real_errors_of_16_bit_stand_beside_those_simulated():
    pytest.importorskip("openvino", reason="the benchmark runs OpenVINO")
    done = subprocess.run(
        [sys.executable, str(SCRIPT.with_name("real_16_bit.py")), "--quick"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "│"]
    assert [row[0] for row in rows if row[0]] == ["bf16-mixed"] * 3 + ["mixed"] * 5 + ["fp32"] * 4
    found = {(row[0], row[1]): float(row[4]) for row in rows if row[0]}
    # With so little training few values straddle a rounding boundary: what is crossed tells more than what is not.
    plain = found["fp32", "openvino-cpu -> openvino-cpu"]
    assert 5 * plain < found["mixed", "simulated -> openvino-cpu"]
    typed = next(row for row in rows if row[1] == "openvino as typed -> openvino as typed")
    if (
        "in f16" in typed[2]
    ):  # where it really is float16: it decodes what the simulation encodes better than float32 does
        assert found["mixed", "simulated -> openvino as typed"] < found["mixed", "simulated -> openvino-cpu"]
        assert 5 * plain < found["mixed", typed[1]]


def rows_of(script, *words):
    """The rows of all tables that a benchmark prints, as lists of cells, and all that it prints."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT.with_name(script)), *words],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line[:1] == "│"]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines], done.stdout


def load_script(script):
    """A benchmark as a module."""
    spec = importlib.util.spec_from_file_location(script.removesuffix(".py"), SCRIPT.with_name(script))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_each_row_of_the_throughput_says_its_format_and_how_many_pixels_come_back():
    pytest.importorskip("openvino", reason="the benchmark compares with OpenVINO")
    rows, told = rows_of("throughput.py", "--quick", "--no-compile", "--threads", "1", "--cpu-time", "--rounds", "1")
    found = {row[0]: row for row in rows}
    plain = {
        "glow-deploy (ONNX Runtime)",
        "glow-deploy (OpenVINO, fp32)",
        "PyTorch, as trained",
        "PyTorch eager, folded",
    }
    assert plain < set(found)
    for name in plain:
        assert found[name][1] == "f32"
        assert found[name][6] == "100.00%"
    for name, format in (
        ("glow-deploy (OpenVINO, bf16-mixed)", "18 in bf16, 8 in f32"),
        ("OpenVINO's default", "bf16"),
    ):
        row = next((row for row in rows if row[0].startswith(name)), None)
        if row is None:  # no bfloat16 here, which is told
            assert "is left out: " in told
        else:
            assert row[1] == format
    control = [row for row in rows if row[0].startswith("OpenVINO's default")]
    assert all(float(row[6].rstrip("%")) < 60 for row in control)
    assert len(rows) == 4 * len(found)  # two directions, two batch sizes


@pytest.mark.slow
def test_the_profile_counts_every_part_of_the_graph_once():
    pytest.importorskip("openvino", reason="the benchmark profiles OpenVINO too")
    rows, told = rows_of("node_profile.py", "--quick", "--runs", "2", "--transposed")
    parts = {f"level{level}/{part}" for level in (1, 2, 3) for part in ("conv1", "conv2", "conv3", "invconv")}
    for name in parts:
        assert [row[1] for row in rows if row[0] == name] == ["2"] * 4, name
    shares = [float(row[3].rstrip("%")) for row in rows]
    assert sum(shares) == pytest.approx(400, abs=4)
    assert told.count("ms in all") == 4


@pytest.mark.slow
def test_other_projects_checkpoints_compute_what_their_own_code_does():
    done = subprocess.run(
        [sys.executable, str(SCRIPT.with_name("other_projects.py"))],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if line.startswith("│")]
    assert len(rows) == 12
    for name, _, z, bits, bits_onnx, round_trip in rows:
        assert float(z) < 1e-6, name
        assert float(bits) < 1e-6, name
        assert float(bits_onnx) < 1e-5, name
        assert float(round_trip) < 1e-2, name


@pytest.mark.slow
def test_no_planted_fault_is_hidden_and_no_sound_model_fails(tmp_path):
    words = ["--seconds", "25", "--rounds", "1", "--precision", "fp32", "mixed", "--json", str(tmp_path / "f.json")]
    done = subprocess.run(
        [sys.executable, str(SCRIPT.with_name("planted_faults.py")), *words],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["sound_runs"] == 8
    assert found["sound_failed"] == []
    assert len(found["faults"]) >= 10
    assert all(fault["weights"] for fault in found["faults"])
    # A control: images alone do not show every fault, and show some.
    assert any(fault["images"] for fault in found["faults"])


@pytest.mark.slow
def test_a_server_under_load_and_killed_gives_no_wrong_answer(tmp_path):
    pytest.importorskip("prometheus_client", reason="the server needs the extra `serving`")
    done = subprocess.run(
        [sys.executable, str(SCRIPT.with_name("serving.py")), "--quick", "--json", str(tmp_path / "f.json")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "f.json").read_text())
    assert [row["clients"] for row in found["rows"]] == [1, 4, 16, 64]
    assert all(row["right"] > 0 and row["wrong"] == row["refused"] == 0 for row in found["rows"])
    assert found["killed"]["right"] > 0
    assert found["killed"]["refused"] > 0
    assert found["killed"]["wrong"] == 0


@pytest.mark.slow
def test_recomputed_activations_take_little_memory_at_any_depth():
    rows, _ = rows_of("memory.py", "--quick")
    saved = {(row[0], row[1]): float(row[2]) for row in rows if len(row) == 6}
    assert len(saved) == 8
    assert all(saved["4", way] > 1.5 * saved["2", way] for way in ("public layout", "plain"))
    assert saved["2", "reversible"] == saved["4", "reversible"] < saved["4", "checkpoint"] < saved["4", "plain"] / 5


@pytest.mark.slow
def test_exact_graphs_stand_beside_float32_ones_and_lose_nothing_with_depth(tmp_path):
    pytest.importorskip("openvino", reason="the benchmark runs OpenVINO")
    pytest.importorskip("matplotlib", reason="the benchmark draws a picture")
    words = ["speed", "depth", "--quick", "--role", "decoder", "--rounds", "1"]
    rows, _ = rows_of("exact.py", *words, "--picture", str(tmp_path / "depth.png"))
    speed, depth = ([row for row in rows if len(row) == columns] for columns in (7, 5))
    assert {row[0] for row in speed} == {"decoder"}
    assert {row[1] for row in speed} >= {"float32", "exact, float32", "exact, bf16 carried"}
    assert speed[0][4] == "1.00" != speed[2][4]
    assert [row[0] for row in depth] == ["2", "4", "8"]
    assert all(float(row[3]) == 0 < float(row[1]) and row[4] == "32/32" for row in depth)
    assert (tmp_path / "depth.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_integers_cost_less_with_more_bits_and_a_difference_between_backends_is_counted(tmp_path, perturbed_glow):
    pytest.importorskip("openvino", reason="the benchmark crosses ONNX Runtime and OpenVINO")
    config = GlowConfig(image_size=(16, 16), levels=2, steps=2, width=8, n_bits=5, coupling="additive")
    glow = perturbed_glow(config, seed=3)
    images = load_images("faces", split="train", size=config.image_size, channels=3, limit=32).batch(np.arange(32)) >> 3
    save_checkpoint(glow, tmp_path / "ckpt.pt", images=images)
    words = [str(tmp_path / "ckpt.pt"), "faces", "--bits", "4", "8", "--limit", "32"]
    rows, told = rows_of("exact_likelihood.py", *words, "--cross", "8", "--split", "train", "--native", "bf16")
    assert [row[0] for row in rows] == ["4", "8"]
    coarse, fine = (abs(float(row[1])) for row in rows)
    assert coarse > 4 * fine
    assert "8 images, 0 out of range: 0 of 6,152 integers differ, and 0 of 24,576 values" in " ".join(told.split())

    benchmark = load_script("exact_likelihood.py")
    folded = fold(glow)
    x = benchmark.images_of(folded, "faces", 8)
    four, eight = (build_exact(folded, x, bits=bits).model for bits in (4, 8))
    graphs = [benchmark.graphs_of(folded, model, native=False) for model in (four, eight)]
    told = benchmark.crossed(*graphs, x, grid_bits=eight.grid_bits)
    assert re.search(r": [1-9][\d,]* of 6,152 integers differ, and [1-9][\d,]* of 24,576 values", told)


@pytest.mark.slow
def test_a_step_is_timed_beside_the_public_layout():
    rows, _ = rows_of("training.py", "--quick")
    assert [row[0] for row in rows] == ["public layout", "float32", "bf16-mixed"]
    assert [float(value) for value in rows[0][4:]] == [1.0, 1.0, 1.0]
    assert all(float(value) > 0 for row in rows for value in row[1:])


@pytest.mark.slow
def test_claims_are_tried_on_equal_budgets_and_no_run_is_made_twice(tmp_path):
    pytest.importorskip("matplotlib", reason="the benchmark draws a picture")
    words = ["--quick", "--out", str(tmp_path), "--seeds", "0"]
    rows, told = rows_of("claims.py", "permutations", *words)
    assert len(rows) == 8
    assert "8 of 8" in told
    best = min(rows, key=lambda row: float(row[1]))
    assert "1x1" in best[0]  # so soon: mixed channels are nearer to independent ones
    for claim, seeds, missing in (("realnvp", ["1"], 3), ("actnorm", [], 2)):
        rows, told = rows_of("claims.py", claim, *words, *seeds)
        assert all(len(row[2].split()) == 1 + len(seeds) for row in rows)  # no seed that was not asked for
        assert rows[0][0] == "affine, 1x1 LU"
        assert f"{missing} of {missing}" in told  # the Glow of seed 0 is there
        assert (tmp_path / f"{claim}-faces-quick.png").read_bytes()[:4] == b"\x89PNG"
    runs = json.loads((tmp_path / "claims-faces-quick.json").read_text())["runs"]
    assert len(runs) == 13
    assert len({json.dumps({**run["settings"], "seed": 0}) for run in runs}) == 1
    assert len({run["images"] for run in runs}) == len({run["test_images"] for run in runs}) == 1


@pytest.mark.parametrize("shape", [(3, 4, 8), (1, 8, 4)])
def test_the_realnvp_beside_the_glow_is_a_flow(shape):
    realnvp = load_script("_realnvp.py")
    channels, *size = shape
    torch.manual_seed(0)
    model = realnvp.RealNvp(GlowConfig(image_size=size, channels=channels, levels=2, steps=4, width=8))
    model.initialize(torch.rand(64, *shape))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    model = model.double().eval()
    x = torch.rand(3, *shape, dtype=torch.float64)
    latents, log_prob = model.encode(x)
    assert [tuple(z.shape[1:]) for z in latents] == list(model.config.latent_shapes)
    assert torch.allclose(model.decode(latents), x, rtol=0, atol=1e-9)

    def flat(values):
        return torch.cat([z.flatten() for z in model.encode(values.view(1, *shape))[0]])

    log_det = torch.linalg.slogdet(torch.autograd.functional.jacobian(flat, x[0].flatten()))[1]
    z = flat(x[0].flatten()).detach()
    normal = -0.5 * float((z**2).sum()) - 0.5 * len(z) * math.log(2 * math.pi)
    assert log_prob[0].item() == pytest.approx(float(log_det) + normal, rel=1e-9)


def test_the_page_of_the_claims_says_what_the_kept_runs_say():
    docs = SCRIPT.parents[1] / "docs"
    found = {path.stem: json.loads(path.read_text())["runs"] for path in (docs / "results").glob("claims-*.json")}
    data, told = "", {stem: set() for stem in found}
    for line in (docs / "claims.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and cells[1] == "bits/dim":
            data = f"claims-{cells[0]}"
        elif cells and cells[0].strip("-"):
            runs = [run for run in found[data] if run["variant"] == cells[0]]
            values = [run["bits_per_dim"] for run in runs]
            assert [run["seed"] for run in runs] == list(range(len(runs))), cells
            seconds = sum(run["seconds"] for run in runs) / len(runs)
            shown = [f"{sum(values) / len(values):.3f}", " ".join(f"{value:.3f}" for value in values)]
            assert cells[1:] == [*shown, f"{runs[0]['parameters']:,}", f"{seconds:.3f}"]
            told[data].add(cells[0])
    assert told == {stem: {run["variant"] for run in runs} for stem, runs in found.items()}
    assert len(told["claims-faces"]) == 11
