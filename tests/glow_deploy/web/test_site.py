"""What a site holds: everything by relative addresses, under a policy, with sizes that are true."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from glow_deploy.errors import DataError, UsageError
from glow_deploy.web import build_site


@pytest.fixture
def made(bundle, stand_in, tmp_path):
    return build_site(bundle, out=tmp_path / "site", draws=3)


def described(site):
    return json.loads((site.path / "site.json").read_text())


def test_every_file_that_is_named_is_there(made):
    site = described(made)
    for part in (site["encoder"], site["decoder"], site["weights"], site["runtimes"]["wasm"]["binary"]):
        name = part["address"].partition("?")[0]
        assert (made.path / name).stat().st_size == part["bytes"] == made.files[name]
    assert (made.path / site["runtimes"]["webgpu"]["module"]).is_file()
    assert site["draws"] == 3
    assert len(site["golden"]) == site["model"]["golden"] == len(list((made.path / "golden").iterdir())) == 6
    scripts = [path for path in made.path.iterdir() if path.suffix == ".js"]
    for script in scripts:
        for name in re.findall(r'from "\./([^"]+)"', script.read_text()):
            assert (made.path / name).is_file(), (script.name, name)
    assert "MIT License" in (made.path / "runtime" / "LICENSE.txt").read_text()


def test_the_page_has_a_policy_and_loads_nothing_from_elsewhere(made):
    html = (made.path / "index.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1]
    assert html.index("Content-Security-Policy") < html.index("<link")
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy
    assert "'unsafe-eval'" not in policy
    # Only a worker out of a blob is under the page's policy; there, addresses mean nothing that are not made whole.
    scripts = {path.name: path.read_text() for path in made.path.glob("*.js")}
    assert re.findall(r"new Worker\((\w+)", "".join(scripts.values())) == ["start"]
    assert "const start = URL.createObjectURL(" in scripts["transport.js"]
    assert {name: text.count("fetch(") for name, text in scripts.items() if "fetch(" in text} == {"engine.js": 1}
    for path in made.path.iterdir():
        if path.suffix in (".html", ".css", ".js"):
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"(https?:)//", text), path.name
            assert not re.search(r"innerHTML|document\.write|\beval\(|new Function", text), path.name


def test_sizes_are_those_on_the_disk(made):
    on_disk = sum(path.stat().st_size for path in made.path.rglob("*") if path.is_file())
    assert made.total == on_disk - (made.path / "files.txt").stat().st_size
    assert made.model < made.wasm < made.total
    assert made.webgpu > made.model


def test_addresses_change_with_what_is_there(bundle, stand_in, tmp_path):
    first = described(build_site(bundle, out=tmp_path / "a"))
    same = described(build_site(bundle, out=tmp_path / "b"))
    small = described(build_site(bundle, out=tmp_path / "c", weights="float16"))
    assert first == same
    assert first["weights"]["address"] != small["weights"]["address"]
    assert small["precision"] == "fp32, weights in 16 bit"
    assert small["check"]["images"] != first["check"]["images"]  # each is what its own weights compute


def test_without_webgpu_nothing_of_it_is_written(bundle, stand_in, tmp_path):
    site = build_site(bundle, out=tmp_path / "site", webgpu=False, golden=2, title="Faces")
    assert site.webgpu is None
    assert not [name for name in site.files if "webgpu" in name or "asyncify" in name]
    assert described(site)["runtimes"]["webgpu"] is None
    assert described(site)["model"]["name"] == "Faces"
    assert described(site)["model"]["golden"] == site.golden == 2


def test_the_page_has_pictures_to_check_itself_with_whatever_it_shows(made, bundle, stand_in, tmp_path):
    bare = build_site(bundle, out=tmp_path / "bare", golden=0)
    assert [name for name in bare.files if name.startswith("golden")] == []
    assert (bare.golden, bare.golden_source) == (0, "samples")
    for site in (made, bare):
        assert sorted(name for name in site.files if name.startswith("check/")) == ["check/0.png", "check/1.png"]
    assert described(bare)["check"] == described(made)["check"]
    shown = {data for name in made.files if name.startswith("golden/") for data in [(made.path / name).read_bytes()]}
    assert shown.isdisjoint((made.path / f"check/{i}.png").read_bytes() for i in range(2))


def test_a_bundle_without_golden_images_makes_a_site(make_bundle, stand_in, tmp_path):
    bare = make_bundle("bare", golden=None)
    site = build_site(bare, out=tmp_path / "site", weights="float16")
    assert site.cost is None
    assert described(site)["golden"] == []
    assert len(described(site)["check"]["images"]) == 2


def test_what_cannot_run_or_be_written_is_refused_before_any_work(make_bundle, bundle, stand_in, tmp_path):
    with pytest.raises(UsageError, match="onnxruntime-web does not compute"):
        build_site(make_bundle("bf16", precision="bf16-mixed"), out=tmp_path / "site")
    with pytest.raises(UsageError, match="a page cannot show them"):
        build_site(make_bundle("exact", precision="exact", coupling="additive"), out=tmp_path / "site")
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UsageError, match="holds other files"):
        build_site(bundle, out=tmp_path, force=True)
    (tmp_path / "wrong.npz").write_bytes(b"no")
    with pytest.raises(DataError, match=r"wrong\.npz"):
        build_site(bundle, out=tmp_path / "site", directions=tmp_path / "wrong.npz")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("kind", ["title", "folder", "directions"])
def test_names_that_are_not_text_are_refused(kind, bundle, stand_in, tmp_path):
    strange = "faces-\udcff"
    options = {"title": {"title": strange}, "directions": {"directions": tmp_path / strange}}.get(kind, {})
    source = bundle
    if kind == "folder":
        source = tmp_path / strange
        shutil.copytree(bundle, source)
    with pytest.raises(UsageError, match=r"faces-.udcff, which is not UTF-8"):
        build_site(source, out=tmp_path / "site", **options)
    assert not (tmp_path / "site").exists()
    assert build_site(bundle, out=tmp_path / "site", title="Gesichter \u2013 \u9854").path.is_dir()
