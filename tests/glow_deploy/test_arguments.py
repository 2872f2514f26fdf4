"""Arguments of the wrong kind, in every place that takes options: told, never rounded, guessed at or raised raw."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from glow_deploy import arguments
from glow_deploy.arguments import (
    as_choice,
    as_flag,
    as_instance,
    as_path,
    as_real,
    as_seed,
    as_several,
    as_text,
    as_whole,
)
from glow_deploy.errors import UsageError

ROOT = Path(__file__).parents[2]


def every_settings_class() -> dict[str, type]:
    found = {}
    for path in sorted((ROOT / "glow_deploy").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and (node.name.endswith("Settings") or node.name == "Soundness"):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found[node.name] = getattr(importlib.import_module(module), node.name)
    return found


SETTINGS = every_settings_class()
FIELDS = [(name, field.name) for name, kind in SETTINGS.items() for field in dataclasses.fields(kind)]
WRONG = {
    "int": ["3", b"3", 1.5, 2.0, True, np.True_, np.float32(2), np.array(2.0), {}, object(), math.nan],
    "float": ["0.7", b"1", True, np.True_, {}, object(), math.nan, math.inf, np.float32("inf"), 1j, 10**400],
    "bool": [1, 0, "yes", 1.0, np.int64(1), [], object()],
    "str": [1, b"cpu", "", 1.5, True, [], object()],
    "Path": [1, b"x", "", "a\0b", True, [], object()],
    "Soundness": ["strict", 1, object()],
    "Reading": ["strict", {}, object()],
    "Mapping[str": [1, "smiling", [("smiling", 1.0)], object(), {1: 1.0}, {"": 1.0}],
    "ImportOptions": ["strict", {}, object()],
}
NEEDED = {"SignSettings": {"sigstore": True}, "HubSettings": {"license": "mit"}}  # without which there are no settings
# What a field of this spelling holds; a list of them may be one of them alone.
KINDS = dict.fromkeys(
    ("Flavor", "Format", "Io", "Native", "PairFlavor", "Precision", "Role", "TritonBackend", "WeightFormat", "Weights"),
    "str",
)


def kind_of(annotation: str) -> tuple[str, bool, bool]:
    """The type of a field, whether it may be None, and whether it may be a list."""
    parts = [part.strip() for part in annotation.split("|")]
    optional = "None" in parts
    several = any(part.startswith(("tuple", "Sequence")) for part in parts)
    first = next(part for part in parts if part != "None").removeprefix("tuple[").removeprefix("Sequence[")
    first = first.split(",")[0].rstrip("]")
    if first.startswith(("Literal", "InterpolationMode")):
        first = "str"
    return KINDS.get(first, first), optional, several


def test_every_settings_class_is_found():
    assert len(SETTINGS) >= 16
    assert {"ExportSettings", "VerifySettings", "SampleSettings", "ScoreSettings", "InpaintSettings"} <= set(SETTINGS)


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_value_of_the_wrong_kind_is_told_by_the_name_of_its_option(name, field):
    kind = SETTINGS[name]
    annotation = next(item.type for item in dataclasses.fields(kind) if item.name == field)
    of, optional, several = kind_of(annotation)
    wrong = list(WRONG[of]) + ([] if optional else [None])
    wrong = [value for value in wrong if not (several and isinstance(value, list))]
    for value in wrong:
        with pytest.raises(UsageError, match=field) as caught:
            kind(**{**NEEDED.get(name, {}), field: value})
        assert "__init__" not in str(caught.value)
        assert "\n" not in str(caught.value)
        if several:
            with pytest.raises(UsageError, match=field):
                kind(**{**NEEDED.get(name, {}), field: [value]})


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_numpys_scalars_are_as_good_as_pythons(name, field):
    kind = SETTINGS[name]
    needed = NEEDED.get(name, {})
    default = getattr(kind(**needed), field)
    if isinstance(default, bool):
        same = [np.bool_(default), np.array(default)]
    elif isinstance(default, int):
        same = [np.int64(default), np.array(default), np.uint64(default)]
    elif isinstance(default, float):
        same = [np.float64(default), np.array(default)]
    elif isinstance(default, tuple) and default and not isinstance(default[0], str):
        same = [np.array(default), list(default), [np.array(value) for value in default]]
    else:
        same = [default]
    for value in same:
        found = getattr(kind(**{**needed, field: value}), field)
        assert found == default
        assert type(found) is type(default)
        if isinstance(found, tuple):
            assert [type(item) for item in found] == [type(item) for item in default]


@pytest.mark.parametrize("name", [name for name, field in FIELDS if field == "device" and name != "TritonSettings"])
def test_a_device_that_does_not_exist_is_refused_at_once(name):
    """That of a model repository is on another machine, and is `gpu` there."""
    for device in ("gpu", "cuda:", "cuda:x", "cpu:0"):
        with pytest.raises(UsageError, match=f"unknown device '{device}'"):
            SETTINGS[name](device=device)


def test_doctests():
    assert doctest.testmod(arguments).failed == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: as_whole("n", "3"), "n must be a whole number, not '3'"),
        (lambda: as_whole("n", 0, least=1), "n must be a whole number of at least 1, not 0"),
        (lambda: as_whole("steps", 1, least=2, most=1000), "steps must be a whole number from 2 to 1000, not 1"),
        (lambda: as_whole("n", None), "n must be a whole number, not None"),
        (lambda: as_whole("n", np.array([3])), "n must be a whole number, not array([3])"),
        (lambda: as_real("t", True, least=0), "t must be a number of at least 0, not True"),
        (lambda: as_real("t", 0, above=0, most=2), "t must be a number above 0 and at most 2, not 0"),
        (lambda: as_real("t", [0.5]), "t must be a number, not [0.5]"),
        (lambda: as_seed("seed", -1), "seed must be a whole number from 0 to 2^64-1, not -1"),
        (lambda: as_flag("force", 1), "force must be True or False, not 1"),
        (lambda: as_text("device", 0, such_as="cpu"), "device must be a string such as 'cpu', not 0"),
        (lambda: as_choice("mode", None, ("a", "b")), "mode is None; choose from a, b"),
        (lambda: as_path("bundle", None), "bundle must be a path (a string or a pathlib.Path), not None"),
        (lambda: as_path("out", "x" * 5000), "out is a longer name than there can be: '" + "x" * 59 + "..."),
        (lambda: as_instance("options", {}, Path), "options must be of class Path, not {}"),
        (lambda: as_several("gpus", [1], as_text), "each of gpus must be a string, not 1"),
        (lambda: as_whole("n", "x\n" * 99), "n must be a whole number, not '" + "x\\n" * 19 + "x\\..."),
    ],
)
def test_the_message_says_what_it_may_be(call, said):
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value) == said


def test_numbers_of_every_kind():
    for value in (3, np.int8(3), np.uint64(3), np.array(3)):
        assert type(as_whole("n", value)) is int
        assert as_whole("n", value) == 3
    for value in (
        0.5,
        np.float16(0.5),
        np.float32(0.5),
        np.longdouble(0.5),
        np.array(0.5),
        Fraction(1, 2),
        Decimal("0.5"),
    ):
        assert type(as_real("t", value)) is float
        assert as_real("t", value) == 0.5
    assert as_real("t", 1) == as_real("t", np.int32(1)) == 1.0
    assert as_seed("seed", np.uint64(2**64 - 1)) == 2**64 - 1


def test_one_is_a_list_of_one():
    assert as_several("gpus", "sm86", as_text) == ("sm86",)
    assert as_several("batches", np.array(4), as_whole) == as_several("batches", (4,), as_whole) == (4,)
    assert as_several("batches", range(2), as_whole) == as_several("batches", np.arange(2), as_whole) == (0, 1)
