from __future__ import annotations

import re

import pytest
import torch

from glow_core.errors import CheckpointError
from glow_core.readers import READERS, read_checkpoint, read_tensors
from glow_core.readers.nearest import nearest_layout


@pytest.mark.parametrize("project", ["rosinality", "chaiyujin", "corenel", "y0ast", "normflows", "openai"])
def test_every_layout_is_nearest_to_itself_whatever_its_outer_modules(project, other_projects):
    (file,) = [
        path
        for path in sorted(other_projects.glob(f"{project}_affine*"))[0].iterdir()
        if path.suffix in (".pt", ".pth", ".pkg", ".npz") and path.name != "reference.npz"
    ]
    names = list(read_tensors(file))
    said = nearest_layout([f"renamed.{name}" for name in names], READERS)
    wanted = next(reader.project for reader in READERS if project in reader.project)
    assert said.startswith(f"nearest is {wanted}, with ")


def test_what_is_missing_and_what_is_unknown_is_said():
    layout = next(reader.layout for reader in READERS if "rosinality" in reader.project)
    names = [re.sub("#", "0", name) for name in layout if not name.endswith(".w_s")]
    said = nearest_layout([*names, "blocks.0.flows.0.attention.query"], READERS)
    assert "with 17 of its 18 kinds of tensors" in said
    assert "missing: blocks.#.flows.#.invconv.w_s" in said
    assert "attention.query" in said


def test_nothing_is_near_to_another_model():
    assert nearest_layout(["encoder.layer.0.attention.self.query.weight"], READERS) == ""


def test_the_refusal_links_to_the_page(tmp_path):
    torch.save({"trunk.0.actnorm.loc": torch.zeros(3), "trunk.0.actnorm.scale": torch.zeros(3)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"docs/bring-your-own-glow\.md"):
        read_checkpoint(tmp_path / "x.pt")
