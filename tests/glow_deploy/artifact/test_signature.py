from __future__ import annotations

import dataclasses

import pytest

from glow_deploy.artifact.metadata import GraphMetadata
from glow_deploy.artifact.signature import check_signature, tensor_names
from glow_deploy.errors import BundleError
from glow_deploy.protocol import TensorSpec

FACTS = GraphMetadata(
    role="encoder",
    n_bits=5,
    image_size=(4, 8),
    channels=3,
    levels=2,
    steps=1,
    coupling="affine",
    precision="fp32",
    num_classes=7,
    model_id="0" * 64,
)
SPECS = {
    "x": TensorSpec(name="x", dtype="float32", shape=(3, 4, 8)),
    "y": TensorSpec(name="y", dtype="int64", shape=()),
    "z1": TensorSpec(name="z1", dtype="float32", shape=(6, 2, 4)),
    "z2": TensorSpec(name="z2", dtype="float32", shape=(24, 1, 2)),
    "log_prob": TensorSpec(name="log_prob", dtype="float32", shape=()),
}


def check(facts=FACTS, **changes):
    specs = {**SPECS, **changes}
    inputs, outputs = tensor_names(facts)
    check_signature(facts, [specs[name] for name in inputs], [specs[name] for name in outputs], source="e")


def test_names_are_in_the_order_of_the_exported_graphs():
    assert tensor_names(FACTS) == (["x", "y"], ["z1", "z2", "log_prob"])
    decoder = dataclasses.replace(FACTS, role="decoder")
    assert tensor_names(decoder) == (["z1", "z2", "y"], ["x"])
    assert tensor_names(dataclasses.replace(decoder, num_classes=None, levels=1)) == (["z1"], ["x"])


@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.parametrize("classes", [7, None])
def test_what_the_facts_describe_passes_in_any_order(role, classes):
    facts = dataclasses.replace(FACTS, role=role, num_classes=classes)
    check(facts)
    inputs, outputs = tensor_names(facts)
    check_signature(facts, [SPECS[n] for n in inputs[::-1]], [SPECS[n] for n in outputs[::-1]], source="e")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("x", {"shape": (1, 4, 8)}, r"e: x is float32 \[1, 4, 8\], not what its metadata says"),
        ("x", {"shape": (3, 8, 4)}, "e: x is"),
        ("x", {"dtype": "float64"}, "e: x is float64"),
        ("y", {"dtype": "float32"}, "e: y is float32"),
        ("log_prob", {"shape": (1,)}, r"e: log_prob is float32 \[1\]"),
        ("z2", {"dtype": "float16"}, "e: z2 is float16"),
        ("z2", {"shape": (24, 1, 1)}, "e: the latents hold 72 numbers, the picture 96"),
    ],
)
def test_another_size_or_type_is_told(name, changes, message):
    with pytest.raises(BundleError, match=message):
        check(**{name: dataclasses.replace(SPECS[name], **changes)})


def test_other_tensors_are_told():
    with pytest.raises(BundleError, match="e calls itself a encoder of 2 levels but maps x, y to z1, log_prob"):
        check_signature(FACTS, [SPECS["x"], SPECS["y"]], [SPECS["z1"], SPECS["log_prob"]], source="e")
    with pytest.raises(BundleError, match="damaged or not a glow-deploy graph"):
        check_signature(FACTS, [], [], source="e")
