"""`train --preset` and `--dry-run`."""

from __future__ import annotations

import numpy as np
import pytest

SMALL = ("--levels", "1", "--steps", "1", "--width", "4", "--batch-size", "8", "--device", "cpu")


def test_a_preset_gives_way_to_what_is_written(invoke, place):
    words = ("--preset", "celeba-hq-256", "--width", "8", "--steps", "1", "--levels", "2", "--batch-size", "2")
    words += ("--accumulate", "2", "--image-size", "8x8", "--max-epochs", "3")
    done = invoke("train", *words, "--dry-run", "--device", "cpu")
    assert done.exit_code == 0, done.output
    said = done.output
    assert "images: 8x8 pixels, 3 channels, 5 bits" in said
    assert "model: 2 levels of 1 step, width 8" in said
    assert "--accumulate 2)" in said
    assert "an epoch of 28,000 images: 14,000 steps" in said
    assert "the run: 42,000 steps, 3.0 epochs" in said
    assert "nothing was read or written" in said
    assert list(place.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "size", "levels"), [("cifar10", 32, "3"), ("celeba-hq-256", 64, "6")])
def test_what_a_preset_trains_can_be_exported(invoke, place, preset, size, levels):
    """A border as a channel, plain 1x1 weights, scales without a bound or none: only width and depth are less."""
    pictures = np.random.default_rng(0).integers(0, 256, (24, size, size, 3), dtype=np.uint8)
    np.savez(place / "pictures.npz", images=pictures)
    words = ("--width", "8", "--steps", "1", "--levels", levels, "--image-size", f"{size}x{size}", "--batch-size", "8")
    trained = invoke("train", "--preset", preset, "--data", "pictures.npz", *words, "--max-steps", "1", "--out", "run")
    assert trained.exit_code == 0, trained.output
    exported = invoke("export", "run/ckpt.pt", "--out", "bundle")
    assert exported.exit_code == 0, exported.output
    assert "both graphs agree with the float64 model" in exported.output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--data", "no-such-folder"), "say their size with --image-size"),
        (("--image-size", "8x8", "--json", "-"), "leave --json away"),
        (("--preset", "cifar10", "--init", "a.pt"), "leave --init and --resume away"),
        (("--image-size", "8x8", "--class-conditional"), "how many classes"),
    ],
)
def test_what_cannot_be_planned_is_one_line(invoke, place, words, complaint):
    done = invoke("train", *SMALL, *words, "--dry-run")
    assert done.exit_code == 2
    assert complaint in done.output
    assert list(place.iterdir()) == []


def test_a_run_is_planned_as_it_goes_on(invoke, place):
    first = ("--data", "faces", "--out", "run", "--max-steps", "1", "--sample-every", "0", "--quiet")
    assert invoke("train", *first, *SMALL).exit_code == 0
    before = {path: path.read_bytes() for path in (place / "run").iterdir() if path.is_file()}
    done = invoke("train", "--resume", "run", "--max-steps", "9", "--memory", "checkpoint", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "(--memory checkpoint)" in done.output
    assert "the run: 9 steps" in done.output
    assert {path: path.read_bytes() for path in (place / "run").iterdir() if path.is_file()} == before
