"""`interpolate` and `score` on a class-conditional model."""

import csv
import json

import numpy as np
import pytest

CLASSES = 3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, perturbed_glow):
    import torch

    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.export import ExportSettings, export

    folder = tmp_path_factory.mktemp("classes")
    glow = perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5, num_classes=CLASSES))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in glow.named_parameters():
            if name.endswith("class_offset"):
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    save_checkpoint(glow, folder / "ckpt.pt")
    return export(folder / "ckpt.pt", out=folder / "bundle", settings=ExportSettings(golden=4)).path


def labelled(tmp_path):
    values = np.random.default_rng(2).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(9) % CLASSES
    np.savez(tmp_path / "labelled.npz", images=values, labels=labels)
    return tmp_path / "labelled.npz", labels


def test_each_end_has_its_class_and_comes_back_exactly(invoke, bundle, place, pictures):
    result = invoke("interpolate", bundle, *pictures[:2], "--class", "2,0", "--steps", 5, "--json", "f.json")
    assert result.exit_code == 0, result.output
    found = json.loads((place / "f.json").read_text())
    assert found["classes"] == [2, 2, 2, 0, 0]
    assert found["ends_exact"] == [True, True]
    assert "a step half way" in result.output


def test_one_class_for_all_has_no_step(invoke, bundle, place, pictures):
    result = invoke("interpolate", bundle, *pictures[:2], "--class", 1, "--json", "f.json")
    assert result.exit_code == 0, result.output
    assert set(json.loads((place / "f.json").read_text())["classes"]) == {1}
    assert "a step half way" not in result.output


def test_the_best_class_of_each_end(invoke, bundle, place, pictures):
    assert invoke("interpolate", bundle, *pictures[:2], "--class", "best", "--json", "f.json").exit_code == 0
    assert json.loads((place / "f.json").read_text())["ends_exact"] == [True, True]


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_scores_of_labels_one_class_and_the_best(invoke, bundle, place, tmp_path):
    data, labels = labelled(tmp_path)
    found = {}
    for choice in ("0", "1", "2", "best", "labels"):
        result = invoke("score", bundle, "--data", data, "--class", choice, "--out", f"{choice}.csv")
        assert result.exit_code == 0, result.output
        table = rows(place / f"{choice}.csv")
        found[choice] = np.array([float(row["bits_per_dim"]) for row in table])
        if choice == "labels":
            assert [int(row["class"]) for row in table] == labels.tolist()
    each = np.stack([found[str(label)] for label in range(CLASSES)], axis=1)
    np.testing.assert_allclose(found["best"], each.min(axis=1))
    np.testing.assert_allclose(found["labels"], each[np.arange(9), labels])
    assert len(np.unique(each.argmin(axis=1))) > 1, "no class is the best for every picture"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["interpolate", "B", "P", "P"], "say which class"),
        (["interpolate", "B", "P", "P", "--class", "7"], "no class 7"),
        (["score", "B", "P"], "say which class"),
        (["score", "B", "P", "--class", "7"], "no class 7"),
        (["score", "B", "P", "--class", "labels"], "no class labels"),
    ],
)
def test_a_class_is_asked_for(invoke, bundle, place, pictures, arguments, words):
    names = {"B": bundle, "P": pictures[0]}
    result = invoke(*(names.get(part, part) for part in arguments))
    assert (result.exit_code, words in result.stderr) == (2, True), result.stderr
    assert list(place.iterdir()) == []
