from __future__ import annotations

import dataclasses

import pytest

from glow_deploy.artifact.metadata import GraphMetadata
from glow_deploy.errors import BundleError

FACTS = GraphMetadata(
    role="decoder",
    n_bits=5,
    image_size=(48, 64),
    channels=3,
    levels=4,
    steps=0,
    coupling="affine",
    precision="mixed",
    num_classes=None,
    model_id="a" * 64,
)


@pytest.mark.parametrize("classes", [None, 1, 10])
def test_facts_survive_as_strings_beside_those_of_others(classes):
    facts = dataclasses.replace(FACTS, num_classes=classes)
    props = facts.to_props()
    assert all(isinstance(value, str) for value in props.values())
    assert props["glow_deploy.image_size"] == "48x64"
    assert GraphMetadata.from_props({**props, "author": "x", "other.role": "y"}, source="g") == facts


def test_a_graph_of_another_tool_or_release_is_told():
    with pytest.raises(BundleError, match=r"g\.onnx: not a graph of glow-deploy"):
        GraphMetadata.from_props({"author": "x"}, source="g.onnx")
    with pytest.raises(BundleError, match="g: graph format '2'; this release reads 1"):
        GraphMetadata.from_props({**FACTS.to_props(), "glow_deploy.format_version": "2"}, source="g")


@pytest.mark.parametrize("key", sorted(FACTS.to_props()))
def test_a_missing_key_is_named(key):
    props = FACTS.to_props()
    del props[key]
    with pytest.raises(BundleError, match="not a graph" if key.endswith("version") else f"damaged .*{key}"):
        GraphMetadata.from_props(props, source="g")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("role", "both"),
        ("n_bits", "0"),
        ("n_bits", "9"),
        ("n_bits", "many"),
        ("image_size", "48"),
        ("image_size", "48x0"),
        ("image_size", "1x2x3"),
        ("channels", "-3"),
        ("levels", "0"),
        ("levels", "17"),
        ("steps", "-1"),
        ("num_classes", "0"),
        ("num_classes", "x"),
    ],
)
def test_values_out_of_range_are_damage(key, value):
    with pytest.raises(BundleError, match="g: its glow_deploy metadata is damaged"):
        GraphMetadata.from_props({**FACTS.to_props(), f"glow_deploy.{key}": value}, source="g")
