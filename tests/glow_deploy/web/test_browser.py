"""A site in headless Chromium, from a server that only hands out files: real clicks, keys, drops, a phone, the dark."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import re
import threading

import numpy as np
import pytest
from browsing import CONTRAST, DROP, LOADING, open_browser

pytestmark = pytest.mark.slow

GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")  # a processor that plays one


@pytest.fixture(scope="module")
def browser(runtime):
    with open_browser(*GPU) as found:
        yield found


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Python's own server of files, which sends no header of ours."""

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def serve():
    """Hand out a folder below a path, as a host of many pages does; returns its address."""
    running = []

    def start(folder, kind=Quiet):
        handler = functools.partial(kind, directory=str(folder.parent))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}/{folder.name}/"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def directions_file(bundle, tmp_path_factory):
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.directions.directions import Attribute, Directions
    from glow_deploy.directions.files import save_directions
    from glow_deploy.directions.reach import Reach
    from glow_deploy.directions.soundness import Soundness

    manifest = Bundle.open(bundle).manifest
    rng = np.random.default_rng(5)

    def attribute(name, scale):
        return Attribute(
            name=name,
            vectors=tuple((scale * rng.normal(size=shape)).astype(np.float32) for shape in manifest.latent_shapes),
            counts=(30, 30), held_out=(20, 20), auc=0.9, auc_interval=(0.8, 1.0), auc_by_level=(0.9, 0.6),
            removing=Reach(amount=2.0, median=2.0, images=20), adding=Reach(amount=2.0, median=2.0, images=20),
        )  # fmt: skip

    path = tmp_path_factory.mktemp("directions") / "toys.npz"
    both = (attribute("smiling", 0.1), attribute("far_out", 1e5))
    found = Directions(
        model_id=manifest.model_id, source="toys", attributes=both, limit=3.0, survival=0.95, soundness=Soundness()
    )
    save_directions(path, found)
    return path


@pytest.fixture(scope="module")
def site(bundle, directions_file, serve, runtime, tmp_path_factory):
    from glow_deploy.web import build_site

    return serve(
        build_site(bundle, out=tmp_path_factory.mktemp("web") / "site", draws=3, directions=directions_file).path
    )


@pytest.fixture(scope="module")
def tab(browser):
    """Open a tab and wait for its first picture; at the end no tab may have complained or asked elsewhere."""
    contexts, trouble = [], []

    def open_tab(url, *, query="?engine=wasm", width=1280, height=900, scheme="light", wait="#shown:not([hidden])"):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(message.text) if LOADING not in message.text else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "request",
            lambda asked: trouble.append(asked.url) if not asked.url.startswith((url, "data:", "blob:")) else None,
        )
        page.goto(url + query)
        page.wait_for_selector(wait, timeout=60_000)
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert not trouble


@pytest.fixture(scope="module")
def desk(tab, site):
    """One tab for tests that leave it usable: what a start costs is spent once."""
    return tab(site)


@pytest.fixture
def page(desk):
    """The same, with a golden image open and nothing changed."""
    desk.get_by_label("the image", exact=True).check()
    desk.locator("#thumbs input").first.check()
    desk.get_by_role("button", name="Reset all").click()
    desk.get_by_label("Temperature", exact=True).fill("0.7")
    says(desk, "picture-note", "golden image 0")
    says(desk, "verdict", "Every value is as in the image")
    return desk


def says(page, place, words):
    page.wait_for_function(
        "([place, words]) => new RegExp(words).test(document.getElementById(place).textContent)",
        arg=[place, words],
        timeout=20_000,
    )


def slide(page, label, value):
    page.get_by_role("slider", name=re.compile(f"^{label}")).fill(str(value))


def shown(page, name):
    """Values uint8 [C, H, W] of a picture on the page."""
    from glow_deploy.images import read_picture

    return read_picture(base64.b64decode(page.locator(f"#{name}").get_attribute("src").partition(",")[2]))


def encoded(bundle, values, *, draws=3, label=None):
    from glow_deploy.engines.pair import open_pair
    from glow_deploy.latents import EncodeSettings, encode_images

    with open_pair(bundle, device="cpu") as (encoder, _):
        settings = EncodeSettings(draws=draws, best_class=encoder.num_classes is not None and label is None)
        return encode_images(encoder, values[None], settings=settings, labels=None if label is None else [label])


def picture_bytes(width=8, height=8, *, seed=0, mode="RGB"):
    from PIL import Image

    shape = (height, width, 3) if mode == "RGB" else (height, width, 4)
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def test_it_checks_itself_and_shows_a_golden_image_as_encode_does(page, bundle):
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.images import x_to_values

    assert page.title() == "rgb: glow-deploy web"
    assert "onnxruntime-web 1.30.0 (WebAssembly, in your browser), fp32" in page.locator("#facts").inner_text()
    assert re.search(
        r"2 samples of the model: bits/dim is within \S+ of .* every value", page.locator("#checked").inner_text()
    )
    says(page, "verdict", "Every value is as in the image")
    assert page.locator("#exact").inner_text() == "100 %"
    values = x_to_values(Bundle.open(bundle).golden().x[0], 5)
    np.testing.assert_array_equal(shown(page, "picture"), values)
    found = encoded(bundle, values)
    assert float(page.locator("#bits").inner_text()) == pytest.approx(found.bits_per_dim[0], abs=6e-4)
    assert f"{found.bits_per_dim_centre[0]:.3f} at the bin centre" in page.locator("#bits-note").inner_text()


def test_its_numbers_are_those_of_encode(page, bundle):
    """Told with all their digits, by the scripts that the page runs."""
    told = page.evaluate(
        """async () => {
          const { send } = await import("./transport.js");
          const ask = async (path, body) => (await send(path, { body: JSON.stringify(body) })).json();
          const image = await ask("api/golden", { index: 1, class: null });
          const shown = await ask("api/decode", { token: image.token, other: null, change: { temperature: 0.5 } });
          return { image, shown };
        }"""
    )
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.explore.changes import Change
    from glow_deploy.explore.settings import ExploreSettings
    from glow_deploy.explore.workbench import Workbench
    from glow_deploy.images import x_to_values

    values = x_to_values(Bundle.open(bundle).golden().x[1], 5)
    with Workbench(bundle, settings=ExploreSettings(device="cpu", draws=3)) as bench:
        opened = bench.open(values, name="golden image 1")
        wanted = bench.change(opened, Change(temperature=0.5))
    image, changed = told["image"], told["shown"]
    assert image["bits_per_dim"] == pytest.approx(opened.latents.bits_per_dim[0], abs=2e-6)
    assert image["bits_per_dim_centre"] == pytest.approx(opened.latents.bits_per_dim_centre[0], abs=2e-6)
    for level, z in zip(image["levels"], opened.z, strict=True):
        assert level["mean_square"] == pytest.approx(float((z.astype(np.float64) ** 2).mean()), rel=1e-5)
    assert image["error"]["exact"] == bench.exact_pixels(opened) == image["error"]["values"]
    assert changed["overshoot_steps"] == pytest.approx(wanted.overshoot, rel=1e-4, abs=1e-4)
    assert changed["kept"] == wanted.kept == 1


def test_noise_is_numpys_to_the_last_bit(page):
    from glow_deploy.latents.noise import dequantisation, noise

    script = """async ([seed, index, size]) => {
      const { noise, dequantisation } = await import("./random.js");
      return [[...noise(seed, index, [size], 2)[0]], [...dequantisation(seed, index, size, 3)]];
    }"""
    for seed, index in ((0, 0), (2**53 - 1, 12)):
        normal, uniform = page.evaluate(script, [seed, index, 30_000])  # the tail and every layer's edge are in it
        wanted = noise(seed, [index], [(30_000, 1, 1)], attempt=2)[0].reshape(-1)
        np.testing.assert_array_equal(np.array(normal, np.float32), wanted)
        assert abs(wanted).max() > 3.66
        wanted = dequantisation(seed, [index], (30_000, 1, 1), draw=3).reshape(-1)
        np.testing.assert_array_equal(np.array(uniform, np.float32), wanted)


def test_samples_by_level_are_those_of_sample(page, bundle):
    from glow_deploy.engines import open_engine
    from glow_deploy.images import x_to_values
    from glow_deploy.latents import SampleSettings, sample

    page.get_by_text("Temperature by level").click()
    page.get_by_label("z1, the finest").fill("0.3")
    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Draw a sample").click()
    says(page, "picture-note", "sample of seed 7")
    with open_engine(bundle / "decoder.onnx", device="cpu") as decoder:
        settings = SampleSettings(seed=7, temperature=(0.3, 0.7))
        batch = next(sample(decoder, count=1, settings=settings))
    np.testing.assert_array_equal(shown(page, "picture"), x_to_values(batch.x[0], 5))
    page.get_by_label("Temperature", exact=True).fill("0")
    assert page.get_by_label("z1, the finest").input_value() == "0"
    page.get_by_role("button", name="Draw a sample").click()
    page.wait_for_function("() => document.getElementById('levels').textContent.includes('z\\u00b2 0.0')")


def test_dropped_pictures_are_read_as_the_command_line_reads_them(page, bundle):
    from glow_deploy.images import read_picture, values_to_x, x_to_values

    for name, width, height, mode in (
        ("same.png", 8, 8, "RGB"), ("wide.png", 31, 17, "RGB"), ("low.png", 9, 5, "RGB"), ("clear.png", 8, 8, "RGBA")
    ):  # fmt: skip
        data = picture_bytes(width, height, seed=1, mode=mode)
        page.evaluate(DROP, [name, list(data)])
        says(page, "picture-note", name)
        note = page.locator("#picture-note").inner_text()
        values = read_picture(data, size=(8, 8), channels=3, resize=True)
        seen = x_to_values(values_to_x(values, 5), 5)
        found = shown(page, "picture").astype(int)
        if mode == "RGB":
            np.testing.assert_array_equal(found, seen, err_msg=name)
            bits = encoded(bundle, values).bits_per_dim[0]
            assert float(page.locator("#bits").inner_text()) == pytest.approx(bits, abs=6e-4)
        else:  # browsers keep colours under transparency to within a step
            assert abs(found - seen).max() <= 9
            assert "laid over white" in note
        assert ("resampled to 8x8" in note) == ((width, height) != (8, 8))
        says(page, "verdict", "Every value is as in the image")


def test_sliders_interpolation_and_directions(page):
    before = page.locator("#shown").get_attribute("src")
    slide(page, "smiling", 1.5)
    says(page, "command", "edit .*toys.npz --attribute smiling=1.5")
    slide(page, "far out", 2)
    says(page, "verdict", "Damped to 0 % of the change")
    page.get_by_role("button", name="Reset all").click()
    says(page, "verdict", "Every value is as in the image")
    assert page.locator("#shown").get_attribute("src") == before
    page.get_by_role("button", name="Open one").click()
    page.locator("#thumbs input").nth(3).check()
    says(page, "other-note", "golden image 3")
    says(page, "command", "interpolate")
    page.get_by_label("spherical").check()
    slide(page, "Share of the way", 1)
    page.wait_for_function("() => document.getElementById('shown').src === document.getElementById('other').src")


def test_saved_latents_decode_to_the_picture_that_is_shown(page, bundle, tmp_path):
    from glow_deploy.engines import open_engine
    from glow_deploy.images import x_to_values
    from glow_deploy.latents import decode_latents, load_latents

    slide(page, "z1", 0.4)
    says(page, "verdict", "All of the change is shown")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save its latents").click()
    download.value.save_as(tmp_path / "latents.npz")
    with open_engine(bundle / "decoder.onnx", device="cpu") as decoder:
        latents = load_latents(tmp_path / "latents.npz", decoder.inputs)
        x = decode_latents(decoder, latents.z).x
    assert latents.names == ("golden-0.png",)
    # A value at the edge of a bin may fall to either side.
    assert (shown(page, "shown") == x_to_values(x[0], 5)).mean() > 0.98


def test_the_keyboard_alone_is_enough(page):
    page.get_by_label("Seed").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("11")
    page.keyboard.press("Enter")
    says(page, "picture-note", "sample of seed 11")
    page.get_by_role("slider", name=re.compile("^All levels")).focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    says(page, "verdict", "All of the change is shown")
    assert page.get_by_role("slider", name=re.compile("^All levels")).input_value() == "0.8"


def test_it_fits_a_phone_and_can_be_read(tab, site):
    page = tab(site, query="", width=360, height=740)
    # A processor that plays a graphics processor is slower than WebAssembly, and is not chosen.
    assert "(WebAssembly, in your browser)" in page.locator("#facts").inner_text()
    page.get_by_text("Temperature by level").click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
        assert not [entry for entry in page.evaluate(CONTRAST) if entry[0] < 4.5], scheme


ATTEMPT = """async (address) => {
  await new Promise((done) => setTimeout(done, 0)); // a debugger's own words may be evaluated; what comes later may not
  const attempt = async (work) => { try { return await work(); } catch { return "refused"; } };
  return [
    await attempt(async () => (await fetch(address)).status),
    await attempt(async () => { await import(`${address}module.js`); return "imported"; }),
    await attempt(async () => (0, eval)("1 + 1")),
  ];
}"""


def test_neither_page_nor_worker_reaches_another_server(browser, site, serve, tmp_path):
    class Open(Quiet):
        def end_headers(self):
            self.send_header("Access-Control-Allow-Origin", "*")
            super().end_headers()

    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "index.html").write_text("else")
    (tmp_path / "else" / "module.js").write_text("export default 1;")
    elsewhere = serve(tmp_path / "else", Open)
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(site + "?engine=wasm")
        page.wait_for_selector("#shown:not([hidden])", timeout=60_000)
        assert [worker.evaluate(ATTEMPT, elsewhere) for worker in page.workers] == [["refused"] * 3]
        assert page.evaluate(ATTEMPT, elsewhere) == ["refused"] * 3
        own = page.workers[0].evaluate("async (address) => (await fetch(address)).status", site)
        assert own == 200
        free = context.new_page()
        free.goto(elsewhere)
        assert free.evaluate(ATTEMPT, elsewhere) == [200, "imported", 2]  # what a page without a policy does
    finally:
        context.close()


def test_classes_and_rounded_weights(tab, make_bundle, serve, tmp_path, runtime):
    from glow_deploy.web import build_site

    bundle = make_bundle("classes-web", num_classes=3, width=32)
    page = tab(
        serve(build_site(bundle, out=tmp_path / "site", draws=2, weights="float16", webgpu=False).path), query=""
    )
    assert "weights in 16 bit" in page.locator("#facts").inner_text()
    assert "every value of their pixels comes back" in page.locator("#checked").inner_text()
    data = picture_bytes(seed=3)
    page.evaluate(DROP, ["mine.png", list(data)])
    says(page, "picture-note", "mine.png")
    from glow_deploy.images import read_picture

    found = encoded(bundle, read_picture(data), draws=2)
    assert page.locator("#class").inner_text() == str(found.labels[0])
    assert float(page.locator("#bits").inner_text()) == pytest.approx(found.bits_per_dim[0], abs=2e-3)
    page.locator("#encode-class").select_option("1")
    says(page, "class", "^1$")


def test_a_graphics_processor_computes_the_same(tab, browser, make_bundle, serve, runtime, tmp_path):
    from glow_deploy.web import build_site

    small = make_bundle("small", levels=1, steps=1)  # every shader takes time to compile
    address = serve(build_site(small, out=tmp_path / "site", draws=1).path)
    context = browser.new_context()
    try:
        asking = context.new_page()
        asking.goto(address + "icon.svg")
        adapter = asking.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())")
    finally:
        context.close()
    if not adapter:
        pytest.skip("this Chromium has no WebGPU, not even one that a processor plays")
    page = tab(address, query="?engine=webgpu")
    assert "(WebGPU, in your browser)" in page.locator("#facts").inner_text(), page.locator("#checked").inner_text()
    assert "every value of their pixels comes back" in page.locator("#checked").inner_text()


def test_a_browser_that_computes_it_wrong_shows_nothing_and_missing_files_are_told(
    tab, bundle, serve, runtime, tmp_path
):
    from glow_deploy.web import build_site

    site = build_site(bundle, out=tmp_path / "site", draws=1, golden=0, webgpu=False).path
    address = serve(site)
    page = tab(address, query="")
    assert "Checked in this browser with 2 samples" in page.locator("#checked").inner_text()
    described = json.loads((site / "site.json").read_text())
    first, second = described["check"]["images"]
    off = {**second, "bits_per_dim_centre": second["bits_per_dim_centre"] + 1e-4}
    for images, words in (([first, off], "off"), ([], "no pictures to check a browser with")):
        described["check"]["images"] = images
        (site / "site.json").write_text(json.dumps(described))
        page = tab(address, query="", wait="#message:not([hidden])")
        said = page.get_by_role("alert").inner_text()
        assert words in said
        assert "So nothing is shown." in said
        assert page.locator("#shown").is_hidden()
        assert not re.search(r"\d", page.locator("#bits").inner_text())
    (site / "weights.bin").unlink()
    page = tab(address, query="", wait="#message:not([hidden])")
    assert "weights.bin is not on the server (404)" in page.get_by_role("alert").inner_text()
