"""The page in headless Chromium: real clicks, keys, drops, both colour schemes, a phone's width, two tabs at once."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from browsing import CONTRAST, DROP, LOADING, open_browser


@pytest.fixture(scope="module")
def browser():
    with open_browser() as found:
        yield found


class Site:
    """A bundle's page, served in a thread of this process."""

    def __init__(self, bundle, **settings):
        import uvicorn

        from glow_deploy.explore import ExploreSettings, create_app
        from glow_deploy.explore.serve import bind, page_url

        listening = bind("127.0.0.1", 0)
        self.url = page_url(listening)
        app = create_app(bundle, settings=ExploreSettings(draws=2, **settings))
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", lifespan="on", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()

    def close(self):
        self._server.should_exit = True
        self._thread.join(timeout=20)


@pytest.fixture(scope="module")
def site(browser, bundle, directions_file):
    found = Site(bundle, directions=directions_file, max_upload=1 << 16)
    yield found
    found.close()


@pytest.fixture(scope="module")
def data_site(browser, data_bundle):
    found = Site(data_bundle)
    yield found
    found.close()


@pytest.fixture(scope="module")
def class_site(browser, class_bundle):
    found = Site(class_bundle)
    yield found
    found.close()


@pytest.fixture
def tab(browser):
    """Open a tab and wait for its first picture; at the end nothing may have been complained of or asked elsewhere."""
    contexts, trouble = [], []

    def open_tab(site, *, width=1280, height=900, scheme="light", wait=True, **more):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True, **more
        )
        contexts.append(context)
        page = context.new_page()
        # What the browser says of answers that are errors, or of none, the page says better.
        page.on("console", lambda message: trouble.append(message.text) if LOADING not in message.text else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "request",
            lambda request: (
                trouble.append(request.url) if not request.url.startswith((site.url, "data:", "blob:")) else None
            ),
        )
        page.goto(site.url)
        if wait:
            ready(page)
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert not trouble


def ready(page):
    page.wait_for_selector("#shown:not([hidden])")


def verdict(page, text, *, timeout=10_000):
    """Wait until the verdict under the pictures says this."""
    page.wait_for_function(
        "(text) => new RegExp(text).test(document.getElementById('verdict').textContent)", arg=text, timeout=timeout
    )


def image_name(page, text):
    page.wait_for_function(
        "(text) => document.getElementById('picture-note').textContent.includes(text)", arg=text, timeout=10_000
    )


def slide(page, label, value):
    """Move a slider to a value as `input` events of a drag would."""
    page.get_by_role("slider", name=re.compile(f"^{label}")).fill(str(value))


def test_it_opens_with_an_image_that_comes_back(tab, site):
    page = tab(site)
    verdict(page, "Every value is as in the image")
    assert page.title() == "rgb: glow-deploy explore"
    assert page.get_by_role("heading", level=1).inner_text() == "rgb"
    assert page.locator("#exact").inner_text() == "100 %"
    assert page.locator("#card-exact").get_attribute("class") == "card good"
    assert re.fullmatch(r"\d+\.\d{3}", page.locator("#bits").inner_text())
    assert page.locator(".level").count() == 2
    assert "golden image 0" in page.locator("#picture-note").inner_text()
    assert page.locator("#thumbs input").count() == 6
    assert page.locator("#thumbs input").first.is_checked()
    assert page.locator("#message").is_hidden()


def test_sliders_decode_live_and_reset(tab, site):
    page = tab(site)
    before = page.locator("#shown").get_attribute("src")
    slide(page, "All levels", 0.5)
    verdict(page, "All of the change is shown")
    cooler = page.locator("#shown").get_attribute("src")
    assert cooler != before
    assert "as changed" in page.locator("#levels").inner_text()
    slide(page, "smiling", 1.25)
    page.wait_for_function("(src) => document.getElementById('shown').src !== src", arg=cooler)
    assert "decode" in page.locator("#command").inner_text()
    page.get_by_role("button", name="Reset all").click()
    verdict(page, "Every value is as in the image")
    assert page.get_by_role("slider", name=re.compile("^smiling")).input_value() == "0"
    assert page.locator("#shown").get_attribute("src") == before
    assert page.locator("#command").inner_text().startswith("glow-deploy encode")


@pytest.mark.slow
def test_attributes_alone_are_an_edit_command(tab, site):
    page = tab(site)
    slide(page, "smiling", -1.5)
    page.wait_for_function("() => document.getElementById('command').textContent.includes(' edit ')")
    assert page.locator("#command").inner_text().endswith("--attribute smiling=-1.5")


@pytest.mark.slow
def test_a_change_too_far_is_damped_and_said(tab, site):
    page = tab(site)
    slide(page, "far out", 2)
    verdict(page, "Damped to 0 % of the change")
    assert "damped" in page.locator("#verdict").get_attribute("class")
    page.wait_for_function("() => document.getElementById('announcement').textContent.includes('Damped')")


@pytest.mark.slow
def test_ranges_can_be_left_on_demand(tab, site):
    page = tab(site)
    slider = page.get_by_role("slider", name=re.compile("^smiling"))
    slide(page, "smiling", 2.5)
    assert slider.input_value() == "1.5"
    slide(page, "smiling", -3)
    assert slider.input_value() == "-2.05"
    page.get_by_label("beyond the measured ranges").check()
    slide(page, "smiling", 2.5)
    assert slider.input_value() == "2.5"
    page.wait_for_function("() => document.getElementById('command').textContent.includes('--beyond')")
    page.get_by_label("beyond the measured ranges").uncheck()
    assert slider.input_value() == "1.5"


def test_the_zeros_of_all_attributes_stand_below_each_other(tab, site):
    page = tab(site)
    places = page.eval_on_selector_all(
        "#attribute-sliders input", "(all) => all.map((one) => getComputedStyle(one).getPropertyValue('--place'))"
    )
    assert places == ["0.5", "0.5"]
    found = page.eval_on_selector_all("#attribute-sliders input", "(all) => all.map((one) => [one.min, one.max])")
    assert found == [["-3", "3"]] * 2


def test_a_reload_keeps_what_is_open_and_how_it_is_changed(tab, site, picture):
    page = tab(site)
    page.evaluate(DROP, ["mine.png", list(picture(seed=4))])
    image_name(page, "mine.png")
    slide(page, "smiling", 0.75)
    slide(page, "z1", 0.6)
    verdict(page, "All of the change is shown")
    page.wait_for_timeout(100)
    command, shown = page.locator("#command").inner_text(), page.locator("#shown").get_attribute("src")
    page.reload()
    ready(page)
    image_name(page, "mine.png")
    page.wait_for_function("(src) => document.getElementById('shown').src === src", arg=shown, timeout=10_000)
    assert page.get_by_role("slider", name=re.compile("^smiling")).input_value() == "0.75"
    assert page.get_by_role("slider", name=re.compile("^z1")).input_value() == "0.6"
    assert page.locator("#command").inner_text() == command
    fresh = tab(site)  # another tab begins anew
    assert "golden image 0" in fresh.locator("#picture-note").inner_text()


def test_bits_are_shown_against_the_golden_range(tab, site, data_site, picture):
    page = tab(site)  # golden images that are samples say nothing about pictures
    assert "samples of the model" in page.locator("#bits-familiar").inner_text()
    assert page.locator("#card-bits").get_attribute("class") == "card"

    page = tab(data_site)
    words = page.locator("#bits-familiar").inner_text()
    assert re.match(
        r"Golden images: \d+\.\d\d to \d+\.\d\d at the bin centre; this picture: \d+\.\d\d, as typical", words
    )
    assert page.locator("#card-bits").get_attribute("class") == "card good"
    page.evaluate(DROP, ["noise.png", list(picture(seed=9))])
    image_name(page, "noise.png")
    assert "foreign: far outside the range" in page.locator("#bits-familiar").inner_text()
    assert "foreign" in page.get_by_role("img", name=re.compile("^Golden images")).get_attribute("aria-label")
    assert page.locator("#card-bits").get_attribute("class") == "card bad"
    assert "good" not in page.locator("#card-exact").get_attribute("class")
    assert "good" not in page.locator("#card-error").get_attribute("class")


def test_drop_choose_and_paste_a_file(tab, site, picture):
    page = tab(site)
    page.evaluate(DROP, ["dropped.png", list(picture(seed=1))])
    image_name(page, "dropped.png")
    assert not page.locator("#thumbs input:checked").count()
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose a picture").click()
    chooser.value.set_files({"name": "chosen.png", "mimeType": "image/png", "buffer": picture(20, 10, seed=2)})
    image_name(page, "chosen.png")
    assert "cropped in the middle and resampled to 8x8" in page.locator("#picture-note").inner_text()
    page.evaluate(
        """([name, bytes]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }""",
        ["pasted.png", list(picture(seed=3))],
    )
    image_name(page, "pasted.png")
    verdict(page, "Every value is as in the image")


@pytest.mark.slow
def test_bad_files_are_told_in_one_line_and_leave_the_image(tab, site, picture):
    page = tab(site)
    before = page.locator("#shown").get_attribute("src")
    for name, data, words in (
        ("notes.png", b"hello", "Notes.png is not a picture that can be read here"),
        ("cut.png", picture(64, 64)[:2000], "is damaged"),
        ("large.png", b"\0" * ((1 << 16) + 1), "more than the 64 kB that are taken"),
        ("<img src=x onerror=alert(1)>.png", b"", "<img src=x onerror=alert(1)>.png is empty"),
    ):
        page.evaluate(DROP, [name, list(data)])
        page.wait_for_function(
            "(words) => document.getElementById('message').textContent.includes(words)", arg=words, timeout=10_000
        )
        assert page.get_by_role("alert").is_visible()
        assert page.get_by_role("alert").bounding_box()["height"] < 100
    assert page.locator("#shown").get_attribute("src") == before
    assert not page.locator("#message img").count()
    page.locator("#thumbs input").nth(2).check()
    image_name(page, "golden image 2")
    assert page.locator("#message").is_hidden()


@pytest.mark.slow
def test_something_else_dropped_is_told(tab, site):
    page = tab(site)
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.setData("text/plain", "hello");
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    assert "no picture file" in page.get_by_role("alert").inner_text()


@pytest.mark.slow
def test_interpolation_towards_a_second_image(tab, site):
    page = tab(site)
    share = page.get_by_role("slider", name="Share of the way")
    assert share.is_disabled()
    page.get_by_role("button", name="Open one").click()
    assert page.get_by_label("the second image, to go to").is_checked()
    assert page.locator("#thumbs input:checked").count() == 0
    page.locator("#thumbs input").nth(3).check()
    page.wait_for_function("() => document.getElementById('other-note').textContent === 'golden image 3'")
    assert share.input_value() == "0.5"
    verdict(page, "All of the change is shown")
    assert "interpolate" in page.locator("#command").inner_text()
    middle = page.locator("#shown").get_attribute("src")
    page.get_by_label("spherical").check()
    page.wait_for_function("(src) => document.getElementById('shown').src !== src", arg=middle)
    slide(page, "Share of the way", 1)
    page.wait_for_function("() => document.getElementById('shown').src === document.getElementById('other').src")
    page.get_by_label("the image", exact=True).check()
    assert page.locator("#thumbs input").first.is_checked()


@pytest.mark.slow
def test_a_sample_by_seed(tab, site):
    page = tab(site)
    page.get_by_label("Seed").fill("12")
    page.get_by_role("button", name="Draw a sample").click()
    image_name(page, "sample of seed 12")


def test_the_keyboard_alone(tab, site):
    page = tab(site)

    def focused():
        return page.evaluate("() => document.activeElement.id || document.activeElement.value")

    order = []
    for _ in range(13):
        page.keyboard.press("Tab")
        order.append(focused())
        outline = page.evaluate(
            """() => {
              const place = document.activeElement;
              return [place, place.nextElementSibling].some((e) => e && getComputedStyle(e).outlineStyle !== "none");
            }"""
        )
        assert outline, order
    assert order[:8] == ["image", "file", "seed", "sample-temperature", order[4], "by-level-title", "0", "reset"]
    assert order[9:13] == ["slider-0", "slider-1", "slider-2", "other-open"]
    page.locator("#thumbs input").first.focus()
    page.keyboard.press("ArrowRight")
    image_name(page, "golden image 1")
    page.locator("#slider-0").focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#slider-0").input_value() == "0.8"
    verdict(page, "All of the change is shown")
    before = page.locator("#shown").get_attribute("src")
    page.keyboard.press("Home")
    page.wait_for_function("() => document.querySelector('#slider-0 ~ output, .slider.moved output').value === '0.00'")
    # The number moves at once, the picture when it is decoded.
    page.wait_for_function("(src) => document.getElementById('shown').getAttribute('src') !== src", arg=before)
    changed = page.locator("#shown").get_attribute("src")
    page.locator("#hold").focus()
    page.keyboard.down("Space")
    verdict(page, "Every value is as in the image")
    page.keyboard.up("Space")
    page.wait_for_function("(src) => document.getElementById('shown').getAttribute('src') === src", arg=changed)
    page.locator("#reset").focus()
    page.keyboard.press("Enter")
    verdict(page, "Every value is as in the image")


@pytest.mark.slow
def test_every_control_has_a_name(tab, class_site, site):
    for where in (site, class_site):
        page = tab(where)
        nameless = page.locator("input, select, button").evaluate_all(
            "(all) => all.filter((e) => !e.labels?.length && !e.textContent.trim() && !e.ariaLabel)"
            ".map((e) => e.outerHTML)"
        )
        assert nameless == []
        assert page.locator("img:visible:not([alt])").count() == 0
        assert page.locator("[role=alert], [role=status]").count() == 2


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(tab, site, scheme):
    page = tab(site, scheme=scheme)
    slide(page, "far out", 2)
    verdict(page, "Damped")
    page.evaluate(DROP, ["notes.png", list(b"hello")])
    page.wait_for_selector("#message:not([hidden])")
    assert [entry for entry in page.evaluate(CONTRAST) if entry[0] < 4.5] == []


@pytest.mark.slow
def test_dark_shows_the_latents_on_dark(tab, site):
    shown = {}
    for scheme in ("light", "dark"):
        page = tab(site, scheme=scheme)
        shown[scheme] = page.locator(".level img").first.evaluate("(e) => e.currentSrc")
        ground = page.locator("body").evaluate("(e) => getComputedStyle(e).backgroundColor")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 21, 26)"}[scheme]
    assert shown["light"] != shown["dark"]


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_window(tab, site, width):
    page = tab(site, width=width, height=740)
    page.evaluate(DROP, ["notes-with-a-very-long-name-" + "x" * 90 + ".png", list(b"hello")])
    page.wait_for_selector("#message:not([hidden])")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    if width == 360:
        small = page.locator("button:visible, select:visible").evaluate_all(
            "(all) => all.filter((e) => e.getBoundingClientRect().height < 32).map((e) => e.id)"
        )
        assert small == []


@pytest.mark.slow
def test_the_pictures_stay_in_sight_of_the_sliders_on_a_phone(tab, site):
    page = tab(site, width=360, height=740)
    slider = page.get_by_role("slider", name=re.compile("^far out"))
    slider.scroll_into_view_if_needed()
    page.evaluate("() => window.scrollBy(0, 60)")
    assert page.locator("#shown").bounding_box()["y"] >= 0
    assert slider.bounding_box()["y"] > page.locator("#verdict").bounding_box()["y"]


def test_two_tabs_at_once(tab, site):
    first, second = tab(site), tab(site)
    second.locator("#thumbs input").nth(4).check()
    image_name(second, "golden image 4")
    for step in range(6):
        slide(first, "All levels", 0.5 + step / 20)
        slide(second, "z1", 1.4 - step / 20)
    verdict(first, "All of the change is shown")
    verdict(second, "All of the change is shown")
    assert "golden image 0" in first.locator("#picture-note").inner_text()
    assert first.get_by_role("slider", name="z1").input_value() == "1"
    for page in (first, second):
        page.get_by_role("button", name="Reset all").click()
        verdict(page, "Every value is as in the image")
    assert first.locator("#shown").get_attribute("src") != second.locator("#shown").get_attribute("src")


@pytest.mark.slow
def test_the_latest_setting_wins(tab, site):
    page = tab(site)
    page.route("**/api/decode", lambda route: (page.wait_for_timeout(60), route.continue_()))
    asked = []
    page.on("request", lambda request: asked.append(1) if request.url.endswith("/api/decode") else None)
    for value in np.linspace(1.5, 0.1, 29):
        slide(page, "All levels", f"{value:.2f}")
    slide(page, "All levels", 1)
    verdict(page, "Every value is as in the image")
    page.wait_for_timeout(300)
    assert "Every value" in page.locator("#verdict").inner_text()
    assert len(asked) < 31


@pytest.mark.slow
def test_what_the_server_forgot_is_opened_again(browser, tab, bundle):
    site = Site(bundle, kept_images=2)
    try:
        first = tab(site)
        second = tab(site)
        for index in (1, 2, 3):
            second.locator("#thumbs input").nth(index).check()
            image_name(second, f"golden image {index}")
        slide(first, "All levels", 0.5)
        verdict(first, "All of the change is shown")
        assert first.locator("#message").is_hidden()
        assert "golden image 0" in first.locator("#picture-note").inner_text()
    finally:
        site.close()


@pytest.mark.slow
def test_a_server_that_has_gone_is_told(tab, bundle):
    site = Site(bundle)
    page = tab(site)
    site.close()
    slide(page, "All levels", 0.5)
    page.wait_for_function("() => document.getElementById('message').textContent.includes('still running')")


@pytest.mark.slow
def test_saving(tab, site, tmp_path, bundle):
    from glow_deploy.engines.pair import open_pair
    from glow_deploy.images import read_picture, x_to_values
    from glow_deploy.latents import decode_latents, load_latents

    page = tab(site)
    slide(page, "smiling", 1.5)
    verdict(page, "All of the change is shown")
    saved = {}
    for name in ("Save the decoded picture", "Save its latents", "Save the image"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        saved[download.value.suggested_filename] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[download.value.suggested_filename])
    assert set(saved) == {"golden-0-changed.png", "latents.npz", "golden-0.png"}
    with open_pair(bundle) as (_, decoder):
        x = decode_latents(decoder, load_latents(saved["latents.npz"], decoder.inputs).z).x[0]
    assert np.array_equal(read_picture(saved["golden-0-changed.png"]), x_to_values(x, 5))
    assert not np.array_equal(read_picture(saved["golden-0.png"]), read_picture(saved["golden-0-changed.png"]))


@pytest.mark.slow
def test_the_command_can_be_copied(tab, site):
    page = tab(site, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    page.wait_for_function("() => document.getElementById('copy').textContent === 'Copied'")
    assert page.evaluate("() => navigator.clipboard.readText()") == page.locator("#command").inner_text()


@pytest.mark.slow
def test_classes(tab, class_site, picture):
    page = tab(class_site)
    own = page.locator("#class").inner_text()
    page.get_by_label("Decode as").select_option(str((int(own) + 1) % 3))
    verdict(page, "All of the change is shown")
    page.get_by_role("button", name="Reset all").click()
    verdict(page, "Every value is as in the image")
    page.evaluate(DROP, ["dropped.png", list(picture())])
    image_name(page, "dropped.png")
    assert "the likeliest" in page.locator("#class-note").inner_text()
    page.get_by_label("Encode and draw as class").select_option("2")
    page.wait_for_function("() => document.getElementById('class').textContent === '2'")
    verdict(page, "Every value is as in the image")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(360, 740), (640, 450), (740, 360), (768, 1024)])
def test_the_focus_is_never_behind_the_pictures(tab, site, width, height):
    page = tab(site, width=width, height=height)
    hidden = page.evaluate(
        """async () => {
          const all = [...document.querySelectorAll(".sliders :is(input, button, select)")];
          const inside = all.filter((e) => !e.disabled && e.getClientRects().length);
          const found = [];
          for (const element of [...inside, ...inside.toReversed()]) {
            element.focus();
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            const box = element.getBoundingClientRect();
            const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
            if (top !== element) found.push(element.id);
          }
          return found;
        }"""
    )
    assert hidden == []


@pytest.mark.slow
def test_controls_are_seen(tab, site):
    edges = """() => ["#seed", "#reset"].map((name) => getComputedStyle(document.querySelector(name)).borderTopColor)"""
    for scheme, wanted in (("light", "rgb(135, 145, 157)"), ("dark", "rgb(100, 112, 125)")):  # 3.2 and 3.6 to 1
        assert tab(site, scheme=scheme).evaluate(edges) == [wanted] * 2


@pytest.mark.slow
def test_high_contrast_keeps_the_sliders(tab, site):
    from glow_deploy.images import read_picture

    page = tab(site, forced_colors="active")
    picture = read_picture(page.get_by_role("slider", name=re.compile("^All levels")).screenshot())
    _, height, width = picture.shape
    ends = picture[:, height // 2, :: width - 21]  # the far left and, before its round end, the right of the track
    assert ends.max() < 128 < picture[:, 1].min()
    assert len(np.unique(picture[:, height // 2].T, axis=0)) > 2  # and a thumb of another colour
    frame = page.locator("#thumbs input:checked + img").evaluate("(e) => getComputedStyle(e).borderTopWidth")
    assert frame == "4px"


@pytest.mark.slow
def test_what_is_read_out(tab, site):
    page = tab(site)
    assert page.get_by_role("slider", name="smiling AUC 0.90", exact=True).count() == 1
    assert page.locator("output:not([aria-live=off])").count() == 0
    page.locator("#thumbs input").nth(2).check()
    page.wait_for_function(
        "() => /^golden image 2 is open, .* bits.dim. Every value/"
        ".test(document.getElementById('announcement').textContent)"
    )


@pytest.mark.slow
def test_on_a_phone_the_notes_are_under_the_pictures(tab, site, picture):
    page = tab(site, width=360, height=740)
    page.evaluate(DROP, ["wide.png", list(picture(20, 10))])
    image_name(page, "wide.png")
    assert "cropped in the middle" in page.locator("#phone-note").inner_text()
    assert tab(site).locator("#phone-note").is_hidden()


@pytest.mark.slow
def test_a_file_that_has_gone_is_still_open(tab, bundle, picture, tmp_path):
    path = tmp_path / "gone.png"
    path.write_bytes(picture())
    site = Site(bundle, kept_images=2)
    try:
        page, other = tab(site), tab(site)
        page.set_input_files("#file", path)
        image_name(page, "gone.png")
        verdict(page, "Every value is as in the image")
        path.unlink()
        for index in (1, 2, 3):
            other.locator("#thumbs input").nth(index).check()
            image_name(other, f"golden image {index}")
        with page.expect_download():
            page.get_by_role("button", name="Save its latents").click()
        slide(page, "All levels", 0.5)
        verdict(page, "All of the change is shown")
        assert page.locator("#message").is_hidden()
    finally:
        site.close()


@pytest.mark.slow
def test_what_cannot_be_read_is_told_as_that(tab, site):
    page = tab(site)
    page.evaluate("() => { File.prototype.arrayBuffer = () => Promise.reject(new DOMException('', 'NotFoundError')); }")
    page.evaluate(DROP, ["folder", []])
    page.wait_for_function("() => document.getElementById('message').textContent.startsWith('Folder cannot be read')")


@pytest.mark.slow
def test_no_picture_of_another_image_stays(tab, site):
    page = tab(site)
    page.route("**/api/decode", lambda route: route.fulfill(status=422, json={"error": "this image cannot be held"}))
    page.locator("#thumbs input").nth(3).check()
    page.wait_for_function("() => document.getElementById('message').textContent === 'This image cannot be held.'")
    assert page.locator("#shown").is_hidden()
    assert page.locator("#save-picture").is_disabled()
    assert page.locator("#verdict").inner_text() == ""
    page.unroute("**/api/decode")
    slide(page, "All levels", 0.5)
    verdict(page, "All of the change is shown")
    assert page.locator("#shown").is_visible()


@pytest.mark.slow
def test_another_bundle_under_an_open_page_is_told(tab, site):
    page = tab(site)

    def answer(route):
        found = route.fetch()
        route.fulfill(response=found, json={**found.json(), "model": "0" * 64})

    page.route("**/api/golden", answer)
    page.locator("#thumbs input").nth(1).check()
    page.wait_for_function("() => document.getElementById('message').textContent.includes('reload the page')")
    assert "golden image 0" in page.locator("#picture-note").inner_text()
    assert page.locator("#thumbs input").first.is_checked()


@pytest.mark.slow
def test_shares_are_not_rounded_to_all_or_nothing(tab, site):
    page = tab(site)

    def answer(route):
        found = route.fetch().json()
        found["error"] |= {"exact": 196607, "values": 196608}
        route.fulfill(json=found)

    page.route("**/api/golden", answer)
    page.locator("#thumbs input").nth(1).check()
    image_name(page, "golden image 1")
    assert page.locator("#exact").inner_text() == "99.99 %"


@pytest.mark.slow
def test_the_policy_is_enforced(browser, site):
    context = browser.new_context()
    page = context.new_page()
    refused = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(site.url)
    ready(page)
    assert refused == []
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.ran = true;";
          document.body.append(script);
          const image = new Image();
          image.src = "http://192.0.2.1/spy.png";
          document.body.append(image);
        }"""
    )
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.ran") is None
    assert sum("Content Security Policy" in text for text in refused) == 2
    context.close()


@pytest.mark.slow
def test_the_checks_of_looks_can_fail(tab, site):
    page = tab(site)
    page.evaluate("() => { document.getElementById('facts').style.color = '#bbbbbb'; }")
    assert [entry for entry in page.evaluate(CONTRAST) if entry[0] < 4.5]
    page.evaluate("() => { document.getElementById('facts').style.minWidth = '3000px'; }")
    assert page.evaluate("() => document.documentElement.scrollWidth") > 1280
