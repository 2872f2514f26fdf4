"""`glow-deploy web`: it writes a site, says what a visitor loads, and refuses in one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).parents[3] / "docs" / "schemas" / "web.schema.json"


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """Files with no runtime in them: nothing runs the site here."""
    from glow_deploy.engines.web_runtime import WASM
    from glow_deploy.web import site

    def files(source=None, *, files=WASM, fetch=True):
        return {file.name: hashlib.sha256(file.name.encode()).digest() for file in files}

    monkeypatch.setattr(site, "web_runtime", files)


def test_it_writes_a_site_and_says_what_a_visitor_loads(model, invoke, place):
    result = invoke("web", model.bundle, "--out", "site")
    assert result.exit_code == 0, result.output
    assert "a visitor loads" in result.output
    assert "on WebGPU" in result.output
    assert "http.server --directory site" in result.output
    assert "every visitor can load 8 " in result.output
    assert "--golden 0 leaves them out" in result.output
    assert (place / "site" / "index.html").is_file()
    again = invoke("web", model.bundle, "--out", "site")
    assert again.exit_code == 2
    assert "give --force to replace the site in it, or another --out" in again.output
    assert invoke("web", model.bundle, "--out", "site", "--force", "--title", "Mine").exit_code == 0


def test_rounded_weights_tell_what_they_cost_and_the_document_fits_its_schema(model, invoke, place):
    words = ("web", model.bundle, "--out", "site", "--weights", "float16", "--no-webgpu", "--golden", "0")
    result = invoke(*words, "--json", "told.json")
    assert result.exit_code == 0, result.output
    assert "16-bit weights:" in result.output
    assert "8 of 8 come back exactly, of the bundle's own graphs 8" in result.output
    found = json.loads((place / "told.json").read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(found)
    assert found["loads"]["webgpu"] is None
    assert found["cost"]["n"] == 8
    assert found["golden"] == 0
    assert "every visitor" not in result.output
    assert found["bytes"] == sum(
        path.stat().st_size for path in (place / "site").rglob("*") if path.is_file() and path.name != "files.txt"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "--out", "site"], "nowhere"),
        (["B", "--out", "B"], "exists already"),
        (["B", "--out", "site", "--directions", "none.npz"], "none.npz"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(words, said, model, invoke, place):
    result = invoke("web", *(model.bundle if word == "B" else word for word in words))
    assert result.exit_code == 2
    assert said in result.output
    assert not (place / "site").exists()
