from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import typing

import pytest

import glow_deploy
from glow_deploy.errors import UsageError
from glow_deploy.settings import settings_of

PAIRS = [
    ("glow_deploy.export.settings", "ExportSettings", "ExportOptions"),
    ("glow_deploy.compile.settings", "CompileSettings", "CompileOptions"),
    ("glow_deploy.verify.settings", "VerifySettings", "VerifyOptions"),
    ("glow_deploy.bench.settings", "BenchSettings", "BenchOptions"),
    ("glow_deploy.latents.sampling", "SampleSettings", "SampleOptions"),
]


@pytest.mark.parametrize(("module", "settings", "options"), PAIRS)
def test_the_keywords_are_the_fields_of_the_settings(module, settings, options):
    found = importlib.import_module(module)
    fields = {field.name for field in dataclasses.fields(getattr(found, settings))}
    names = dict.fromkeys(("ImportOptions", "Reading", "Weights"), object)
    assert set(typing.get_type_hints(getattr(found, options), localns=names)) == fields


FUNCTIONS = {
    "export": ("ExportSettings", {"out", "progress", "settings"}),
    "verify": ("VerifySettings", {"on_left_out", "progress", "settings"}),
    "compile": ("CompileSettings", {"force", "progress", "settings"}),
    "bench": ("BenchSettings", {"ckpt", "progress", "settings"}),
    "sample": ("SampleSettings", {"count", "start", "progress", "settings"}),
}


def options_section(text: str) -> dict[str, str]:
    """Name and default of each entry below `Options:` in a docstring."""
    section = text.partition("Options:\n")[2].split("\n\n")[0]
    return dict(re.findall(r"^ {4}(\w+)=(.+?): ", section, re.MULTILINE))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_lists_every_option_with_its_default(name):
    function = getattr(glow_deploy, name)
    settings = getattr(glow_deploy, FUNCTIONS[name][0])
    listed = options_section(inspect.getdoc(function) or "")
    assert {option: ast.literal_eval(value) for option, value in listed.items()} == {
        field.name: field.default for field in dataclasses.fields(settings)
    }
    assert list(listed) == [field.name for field in dataclasses.fields(settings)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_unknown_keyword_is_told_by_the_name_of_the_function(name):
    function, (settings, own) = getattr(glow_deploy, name), FUNCTIONS[name]
    keywords = inspect.signature(function).parameters.values()
    assert {item.name for item in keywords if item.kind is item.KEYWORD_ONLY} == own
    given = {"count": 1} if name == "sample" else {}
    fields = [field.name for field in dataclasses.fields(getattr(glow_deploy, settings))]
    with pytest.raises(UsageError) as caught:
        function("nowhere", **given, qqqq=1)
    assert str(caught.value) == f"{name}() takes no qqqq=; its options are {', '.join(f'{field}=' for field in fields)}"
    for option in [*fields, *own - {"settings"}]:
        with pytest.raises(UsageError, match=rf"^{name}\(\) takes no {option}x=; did you mean .*{option}=") as caught:
            function("nowhere", **given, **{f"{option}x": 1})
        assert "__init__" not in str(caught.value)


def test_a_value_of_the_wrong_kind_is_no_unknown_keyword():
    with pytest.raises(UsageError, match=r"^batch must be a whole number of at least 1, not 'x'$"):
        glow_deploy.verify("nowhere", batch="x")
    with pytest.raises(UsageError, match=r"^settings must be of class VerifySettings, not ExportSettings"):
        glow_deploy.verify("nowhere", settings=glow_deploy.ExportSettings())
    with pytest.raises(UsageError, match=r"^settings must be of class BenchSettings"):
        glow_deploy.bench("nowhere", settings={"batches": 1})


def test_one_name_is_a_list_of_one():
    assert glow_deploy.VerifySettings(backends="onnxruntime-cpu").backends == ("onnxruntime-cpu",)
    with pytest.raises(UsageError, match="backends: onnxruntime; name each once, of "):
        glow_deploy.VerifySettings(backends="onnxruntime")
    assert glow_deploy.CompileSettings(gpus="sm86").gpus == ("sm86",)
    assert glow_deploy.BenchSettings(batches=4, roles="decoder").roles == ("decoder",)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda value: glow_deploy.export(value), "checkpoint"),
        (lambda value: glow_deploy.export("c.pt", out=value or 0), "out"),
        (lambda value: glow_deploy.verify(value), "bundle"),
        (lambda value: glow_deploy.compile(value), "bundle"),
        (lambda value: glow_deploy.bench(value), "path"),
        (lambda value: glow_deploy.bench("b", ckpt=value or 0), "ckpt"),
        (lambda value: glow_deploy.inspect(value), "path"),
        (lambda value: glow_deploy.load(value), "bundle"),
        (lambda value: glow_deploy.open_engine(value), "path"),
        (lambda value: glow_deploy.load_latents(value, ()), "path"),
        (lambda value: glow_deploy.Bundle.open(value), "bundle"),
    ],
)
def test_what_is_no_path_is_told_by_the_name_of_the_argument(call, argument):
    for value in (None, 1.5, b"x", ["a"], "", "a\0b"):
        with pytest.raises(UsageError, match=rf"^{argument} must be a path \(a string or a pathlib.Path\), not "):
            call(value)


def test_either_way_but_not_both():
    from glow_deploy.latents import SampleSettings

    assert settings_of(None, {"seed": 3}, SampleSettings, caller="sample") == SampleSettings(seed=3)
    assert settings_of(SampleSettings(seed=4), {}, SampleSettings, caller="sample").seed == 4
    with pytest.raises(UsageError, match="either settings= or seed=, not both"):
        settings_of(SampleSettings(), {"seed": 3}, SampleSettings, caller="sample")
    with pytest.raises(UsageError, match=r"^sample\(\) takes no sead=; did you mean seed=\?$"):
        settings_of(None, {"sead": 3}, SampleSettings, caller="sample")


def test_the_front_door_takes_keywords(tmp_path, perturbed_glow):
    from glow_core import GlowConfig, save_checkpoint

    save_checkpoint(perturbed_glow(GlowConfig(image_size=(8, 8), levels=1, steps=1, width=4)), tmp_path / "c.pt")
    bundle = glow_deploy.export(tmp_path / "c.pt", out=tmp_path / "b", golden=4, precision="mixed")
    assert bundle.manifest.precision == "mixed"
    report = glow_deploy.verify(bundle, backends=["onnxruntime-cpu"], random_draws=0, ckpt=str(tmp_path / "c.pt"))
    assert [backend.name for backend in report.backends if backend.used] == ["onnxruntime-cpu"]
    with pytest.raises(UsageError, match="flavor is 'other'; choose from tensorrt, rtx"):
        glow_deploy.compile(bundle.path, flavor="other")
