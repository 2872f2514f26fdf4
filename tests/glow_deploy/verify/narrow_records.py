"""What the manifest of a bundle in 16 bit says of its precision."""

from __future__ import annotations


def record(manifest):
    return manifest["numerics"]["precision"]


def all_narrow(manifest):
    steps = record(manifest)["plan"]["conditioners"]
    steps[next(iter(steps))] = "fp32" if steps[next(iter(steps))] == "fp16" else "fp16"
