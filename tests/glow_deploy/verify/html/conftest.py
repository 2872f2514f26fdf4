"""Reports as `verify` writes them, of any size and outcome, made of numbers instead of engines."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # report_pages.py is imported by name

NAMES = ("pytorch-fp64", "pytorch-fp32", "onnxruntime-cpu", "onnxruntime-cuda", "tensorrt", "tensorrt-rtx")
N_BITS = 8
N = 64
LIMIT = 6.6e-7
COMMAND = "glow-deploy verify runs/bundle --ckpt runs/ckpt.pt"


def summary(rms, *, unit, n=49152, non_finite=0):
    figures = {"max": 9 * rms, "p999": 4 * rms, "rms": rms, "mean": rms / 50, "scale": 0.7, "slope": 1.0}
    if non_finite == n:
        figures = dict.fromkeys(figures)
    return {"unit": unit, "n": n, "non_finite": non_finite, **figures, "worst": [3, 0, 1, 2]}


def image_error(rms, **options):
    found = summary(rms, unit="x", **options)
    names = ("max", "p999", "rms", "mean")
    return {**found, "pixel_steps": {k: None if found[k] is None else found[k] * 2**N_BITS for k in names}}


def gate(measure, statistic, value, limit, *, level=None, passed=None):
    belongs = (
        "likelihood" if measure.startswith("bits") else "samples" if measure[:3] in ("x f", "x o") else "round_trip"
    )
    passed = value is not None and value <= limit if passed is None else passed
    return {
        "measure": measure,
        "statistic": statistic,
        "level": level,
        "value": value,
        "limit": limit,
        "verdict": "pass" if passed else "fail",
        "belongs_to": belongs,
        "derivation": f"4 x {limit / 4:.2e}" if limit else "every value must be a finite number",
    }


def cell(images, encode, decode, *, rms, lost=0):
    error = image_error(rms, non_finite=lost, n=49152)
    gates = [
        gate("x -> z -> x", "non-finite", float(lost), 0.0),
        gate("x -> z -> x", "rms", error["rms"], LIMIT),
        gate("z1 -> x -> z1", "rms", rms * 3, LIMIT * 40, level=1),
        gate("exact images", "rate", 1.0 if not lost else 0.9, 1.0, passed=not lost),
    ]
    exact = N if not lost else N - 6
    return {
        "images": images,
        "encode": encode,
        "decode": decode,
        "verdict": "pass" if all(g["verdict"] == "pass" for g in gates) else "fail",
        "x_z_x": error,
        "exact": {
            "images": N,
            "images_exact": exact,
            "image_rate": exact / N,
            "image_failure_bound": 0.0457 if exact == N else 0.179,
            "confidence": 0.95,
            "pixels": 49152,
            "pixels_exact": 49152 - lost,
            "pixel_rate": 1 - lost / 49152,
            "worst_image": None if exact == N else 3,
        },
        "z_x_z": {"z1": summary(rms * 3, unit="z"), "z2": summary(rms * 4, unit="z")},
        "bits_per_dim_centre_between": summary(1e-7, unit="bits/dim", n=N),
        "bits_per_dim_centre_round_trip": summary(1e-7, unit="bits/dim", n=N),
        "gates": gates,
        "histogram": histogram(rms * 2**N_BITS, lost=lost),
    }


def histogram(rms_steps, *, lost=0):
    from glow_deploy.numerics.histogram import ErrorHistogram

    rng = np.random.default_rng(0)
    error = rng.standard_t(4, 20_000) * rms_steps / 2**N_BITS
    error[:lost] = math.nan
    found = ErrorHistogram(N_BITS)
    found.add(error, np.zeros_like(error))
    return found.to_dict()


def engine(name):
    provider = {"pytorch": "torch cpu", "onnxruntime": "CPUExecutionProvider"}.get(name.split("-")[0], "TensorRT 11.1")
    return {
        "provider": provider,
        "device": "cpu" if name.endswith("cpu") or name.startswith("pytorch") else "cuda:0",
        "precision": "fp64" if name.endswith("fp64") else "fp32",
        "tf32": False,
        "versions": {"onnxruntime": "1.31.1"},
        "max_batch": None,
    }


def backend(name, *, used, canary):
    if not used:
        return {"name": name, "used": False, "reason": f"{name} needs a GPU and there is none"}
    entry = {"name": name, "used": True, "encoder": engine(name), "decoder": engine(name)}
    if canary:
        detected = "tf32" if name == "onnxruntime-cuda" else "fp32"
        entry["canary"] = {"detected": detected, "error": 3.1e-4 if detected == "tf32" else 6e-8, "expected": {}}
        entry["canary"]["text"] = "TF32!" if detected == "tf32" else "float32 (measured)"
    return entry


def step_rows(*, jump, lost):
    paths = [
        path
        for level in (1, 2, 3)
        for path in [*(f"level{level}/step{step:02d}" for step in range(1, 9)), f"level{level}/split"][: 9 - level // 3]
    ]
    paths.append("prior")
    rows = []
    for direction in ("encode", "decode"):
        order = paths if direction == "encode" else paths[::-1]
        for index, step in enumerate(order):
            predicted = 4e-8 * 1.17**index * (1 if direction == "encode" else 6)
            late = jump and direction == "decode" and index >= 15
            observed = predicted * (0.7 + 0.1 * (index % 4)) * (300 if late else 1)
            gone = lost if late and index >= 20 else 0
            rows.append(
                {
                    "step": step,
                    "direction": direction,
                    "observed_rms": None if gone else observed,
                    "observed_max": None if gone else observed * 12,
                    "predicted_rms": predicted,
                    "non_finite": gone,
                }
            )
    return rows


def extras(names, *, failing):
    steps = [f"level{level}/step{step:02d}" for level in (1, 2) for step in range(1, 9)]
    shares = np.exp(np.linspace(0, 3, len(steps)))
    shares /= shares.sum()
    jump = {
        "step": "level2/step01",
        "direction": "decode",
        "ratio": 214.0,
        "cause": "the 1x1 convolution is badly conditioned (kappa 4.1e3)",
        "advice": "keep this step in float32, or retrain with the conditioning penalty",
    }
    return {
        "budget": {
            "images": 64,
            "gamma": 214.0,
            "gamma_max": 830.0,
            "flags": [{"step": "level1/step02", "message": "kappa 4.1e3 is beyond 1e3: keep it in float32"}] * failing,
            "predicted_rms": {"fp32": 4.1e-7, "tf32": 3.0e-3, "mixed": 8.1e-4, "bf16-mixed": 6.4e-3, "fp16": None},
            "steps": [
                {
                    "step": step,
                    "gain": 3.0 + index,
                    "rms": 0.9,
                    "share": share,
                    "kappa": 2.0 + index,
                    "inverse_residual": 2e-16,
                    "smallest_scale": 0.51,
                    "smallest_actnorm": 0.2,
                }
                for index, (step, share) in enumerate(zip(steps, shares.tolist(), strict=True))
            ],
        },
        "steps": {
            "images": 16,
            "backends": [
                {
                    "backend": name,
                    "rows": step_rows(jump=failing and name == names[-1], lost=40 if failing else 0),
                    "first_jump": jump if failing and name == names[-1] else None,
                    "jumps": [jump] if failing and name == names[-1] else [],
                }
                for name in names
                if not name.startswith("pytorch")
            ]
            + [{"backend": "tensorrt-rtx", "used": False, "reason": "no NVIDIA GPU", "rows": [], "first_jump": None}],
            "weights": [],
        },
        "stress": {
            "inputs": [
                {
                    "backend": name,
                    "name": kind,
                    "n": 32,
                    "non_finite": 7 if failing and kind == "rademacher" else 0,
                    "rms": 4e-6,
                    "max": 9e-5,
                    "images_exact": 32,
                }
                for name in names
                for kind in ("constant", "checkerboard", "uniform", "rademacher", "salt-and-pepper")
            ],
            "temperatures": [
                {
                    "backend": name,
                    "temperature": temperature,
                    "n": 64,
                    "non_finite": 5 if failing and temperature == 4.0 else 0,
                    "largest": None if failing and temperature == 4.0 else 1.0 + temperature**3,
                    "z_rms": 1e-5 * 10**temperature,
                }
                for name in names
                for temperature in (0.0, 0.7, 1.0, 1.5, 2.0, 4.0)
            ],
            "first_non_finite": {name: 4.0 if failing else None for name in names},
            "passes": [
                {
                    "backend": name,
                    "passes": passes,
                    "rms": 2e-7 * passes,
                    "max": 3e-6 * passes,
                    "non_finite": 0,
                    "growth": None,
                }
                for name in names
                for passes in (1, 9)
            ],
            "attack": {
                "backend": names[0],
                "images": 32,
                "steps": 200,
                "epsilon": 2.0**-9,
                "start_rms": 1.7e-7,
                "worst_rms": 9e-7,
                "worst_max": 3e-5,
                "non_finite": 0,
                "exact_images": 32,
                "random_worst_rms": 3e-7,
                "deployed": [],
            },
            "failures": [],
            "notes": [],
            "determinism": [
                {"backend": name, "runs_equal": True, "processes_equal": None, "largest_difference": 0.0}
                for name in names
            ],
        },
    }


def baseline(*, failing):
    rise = {
        "row": "onnxruntime-cpu->onnxruntime-cpu[golden]",
        "measure": "x -> z -> x",
        "statistic": "rms",
        "level": None,
        "stored": 1.7e-7,
        "value": 9.9e-4,
        "limit": 2.6e-7,
        "verdict": "fail",
        "derivation": "1.5 x the stored 1.7e-07",
    }
    return {
        "file": "baseline.json",
        "factor": 1.5,
        "verdict": "fail" if failing else "pass",
        "compared": 7,
        "rows": [],
        "rises": [rise, {**rise, "value": None}] if failing else [],
        "missing": [{"row": "tensorrt->tensorrt[golden]", "reason": "the backend is not here"}] if failing else [],
        "not_compared": [],
        "new": [],
        "changes": ["onnxruntime 1.30.0, now 1.31.1"],
    }


def build(names=("onnxruntime-cpu",), *, failing=False, full=True, sets=("golden",)):
    """One report; the last backend of a failing one decodes badly."""
    bad = names[-1] if failing else None
    cells = [
        cell(images, a, b, rms=(2e-4 if b == bad else 1.7e-7 * (1 + 0.3 * (len(a) % 3))), lost=9 if b == bad else 0)
        for images in sets
        for a in names
        for b in names
    ]
    failures = [
        {
            "verdict": "round_trip",
            "where": f"encode {entry['encode']} -> decode {entry['decode']}, {N} {entry['images']} images",
            "images": entry["images"],
            "level": 2,
            "gate": entry["gates"][0],
            "cause": "values overflow in level 2 of the decoder: look at its scales and its 1x1 weights",
            "text": f"encode {entry['encode']} -> decode {entry['decode']}, {N} {entry['images']} images, level 2: "
            "x -> z -> x has 9 non-finite values (values overflow in level 2 of the decoder: look at its scales and "
            "its 1x1 weights)",
        }
        for entry in cells
        if entry["verdict"] == "fail"
    ]
    report = {
        "schema": "glow_deploy.verify",
        "schema_version": 1,
        "sound": not failing,
        "verdicts": {
            "round_trip": "unsound" if failing else "sound",
            "likelihood": "sound",
            "samples": "sound",
            "weights": "sound",
        },
        "weights": {
            "verdict": "sound",
            "checks": [
                {"name": "structure", "found": "pass", "detail": "both graphs are those that this version builds"},
                {"name": "graphs with the export", "found": "pass", "detail": "every weight is the one exported"},
                {"name": "plans", "found": "not compared", "detail": "tensorrt: a compiled plan shows no weights"},
            ],
            "findings": [],
        },
        "failures": failures,
        "notes": ["golden: exact images are reported, not gated"],
        "bundle": {
            "path": "/runs/2031-05-fashion/bundle",
            "model": {
                "image_size": [28, 28],
                "channels": 1,
                "levels": 2,
                "steps": 8,
                "width": 64,
                "coupling": "affine",
                "permutation": "lu",
                "bounded_scale": True,
                "n_bits": N_BITS,
                "num_classes": None,
            },
            "model_id": "70962817e11ce3e297737f7258652337b848a1d70384f98a897743775b20e22a",
            "weights": "ema",
            "precision": "fp32",
            "golden_source": "checkpoint",
            "files": {"encoder.onnx": "a9" * 32, "decoder.onnx": "69" * 32},
            "made_with": {"onnx": "1.23.2"},
        },
        "n_bits": N_BITS,
        "backends": [backend(name, used=name in names, canary=full) for name in NAMES],
        "image_sets": [
            {
                "name": images,
                "source": "of the checkpoint's validation set",
                "n": N,
                "paired": True,
                "reference": True,
                "yardstick": {"n": N, "source": "PyTorch float32 on the 64 golden images, from the manifest"},
            }
            for images in sets
        ],
        "references": [
            {
                "images": images,
                "backend": name,
                "verdict": "pass",
                "z": {"z1": summary(2.3e-6, unit="z"), "z2": summary(2.5e-6, unit="z")},
                "bits_per_dim_centre": summary(4e-7, unit="bits/dim", n=N),
                "x_from_reference_z": image_error(1.6e-7),
                "gates": [
                    gate("z1", "rms", 2.3e-6, 9e-6, level=1),
                    gate("bits/dim", "rms", 4e-7, 1.6e-6),
                    gate("bits/dim", "mean", 1.1e-7, 1e-5),
                    gate("x from the reference's latents", "rms", 1.6e-7, LIMIT),
                ],
            }
            for images in sets
            for name in names
        ],
        "cells": cells,
        "batches": [
            {
                "backend": name,
                "role": role,
                "sizes": [2, 3, 5, 32],
                "bit_equal": False,
                "equal_rows": {},
                "split": {"z" if role == "encoder" else "x": summary(3e-7, unit="z")},
                "verdict": "pass",
                "gates": [gate("z of split batch", "rms", 3e-7, 9e-6)],
            }
            for name in names
            for role in ("encoder", "decoder")
        ],
        "random_latents": [
            {
                "encode": a,
                "decode": b,
                "temperature": temperature,
                "n": 64,
                "non_finite_draws": 0,
                "z_x_z": {"z1": summary(3e-6, unit="z"), "z2": summary(4e-6, unit="z")},
                "x_between_backends": image_error(0.0 if b == names[0] else 2e-7),
                "verdict": "reported",
            }
            for temperature in (0.7, 1.0)
            for a in names
            for b in names
        ],
        "environment": {
            "python": "3.11.7",
            "platform": "Linux-6.1-x86_64",
            "machine": "x86_64",
            "cpus": 2,
            "versions": {"glow-deploy": "0.1.0", "numpy": "2.4.6"},
        },
        "command": COMMAND,
        "seconds": 16.475,
        "date": "2031-05-04T12:00:09+00:00",
    }
    if not full:
        return report
    suggestions = ["train with --inverse-penalty"] if failing else []
    return {
        **report,
        **extras(names, failing=failing),
        "suggestions": suggestions,
        "baseline": baseline(failing=failing),
    }


def worst(name, *, encode="onnxruntime-cpu", decode="onnxruntime-cpu", index=0, size=(3, 16, 16), lost=0, error=1e-6):
    from glow_deploy.numerics.worst import WorstImages

    rng = np.random.default_rng(index)
    y, x = np.mgrid[: size[1], : size[2]] / size[1]
    picture = np.stack([0.5 + 0.4 * np.sin(6 * (x + c * y) + index) for c in range(size[0])]).astype(np.float32)
    back = picture + rng.standard_normal(size).astype(np.float32) * error
    back.reshape(-1)[:lost] = np.nan
    kept = WorstImages(1, images=name, encode=encode, decode=decode, n_bits=N_BITS)
    kept.add(back[None], picture[None], first=index)
    return kept.images()[0]


@pytest.fixture(scope="session")
def make_report():
    """Give the function that builds reports."""
    return build


@pytest.fixture(scope="session")
def make_worst():
    """Give the function that makes one worst image."""
    return worst


@pytest.fixture(scope="session")
def all_backends():
    """Names of six backends."""
    return NAMES


@pytest.fixture(scope="module")
def full(make_report, make_worst, all_backends):
    """The page of a failing run on six backends with everything there is."""
    from report_pages import Page

    from glow_deploy.verify.html import render_report

    report = make_report(all_backends, failing=True, sets=("golden", "data"))
    return Page(render_report(report, pictures=[make_worst("golden", index=3), make_worst("data", lost=5)]))
