"""The page in headless Chromium: layout, colours, the toggle, and that it asks for nothing from anywhere."""

from __future__ import annotations

import os
import shutil

import pytest

from glow_deploy.verify.html import render_report

VARIABLE = "GLOW_DEPLOY_TEST_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
LONG = "/data/" + "averylongfoldernamewithoutanyplacetobreakit" * 6 + "/bundle"

# Text that can be seen, and the contrast ratio (WCAG 2) of its colour with what lies behind it.
CONTRAST = """() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] ?? 1]; };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat([1]);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const known = new Map([[null, [255, 255, 255, 1]]]);
  const behind = (element) => {
    if (!known.has(element)) {
      known.set(element, over(parse(getComputedStyle(element).backgroundColor), behind(element.parentElement)));
    }
    return known.get(element);
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.getClientRects().length || ["SCRIPT", "title", "desc"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const ink = over(parse(element.closest("svg") ? style.fill : style.color), ground);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), element.tagName + "." + element.getAttribute("class"), element.textContent]);
  }
  return found;
}"""


def executable():
    """A browser of this machine, or None."""
    return os.environ.get(VARIABLE) or next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    path = executable()
    if path is None:
        pytest.skip(f"no Chromium here: install one (Debian: apt-get install chromium) or name it in {VARIABLE}")
    with sync_api.sync_playwright() as playwright:
        # Chromium's own sandbox does not start as root, as in a container; the page is ours.
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def pages(make_report, make_worst, all_backends, tmp_path_factory):
    """Files: one backend, six backends of two image sets that fail, and next to nothing."""
    folder = tmp_path_factory.mktemp("pages")
    one = make_report(failing=False)
    six = make_report(all_backends, failing=True, sets=("golden", "data"))
    six["bundle"]["path"] = six["backends"][0]["encoder"]["provider"] = LONG
    six["command"] = f"glow-deploy verify {LONG}"
    six["failures"][0]["text"] = f"{LONG}: broken"
    absent = make_report(all_backends[2:3], full=False)
    for backend in absent["backends"]:
        if not backend["used"]:
            backend["reason"] = f"{LONG} is not there"
    worst = [make_worst("golden", index=index, lost=index) for index in range(3)]
    worst += [make_worst("data", index=4, size=(1, 256, 256), error=1e-3)]
    contents = {
        "one": render_report(one, pictures=worst[:1]),
        "six": render_report(six, pictures=worst),
        "absent": render_report(absent),
        "minimal": render_report({"schema": "glow_deploy.verify", "verdicts": {}}),
    }
    for name, html in contents.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return folder


class Visitor:
    """Opens each page once and keeps it, since starting one takes most of the time of a test."""

    def __init__(self, browser, folder):
        self._browser, self._folder = browser, folder
        self._pages = {}
        self.trouble = []

    def __call__(self, name, *, width=1280, scheme="light", unfolded=False, scripts=True):
        """Show a page as somebody would who has just opened it."""
        page = self._pages.get((name, scripts)) or self._open(name, scripts)
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(media="screen", color_scheme=scheme)
        page.get_by_label("Auto").check()
        page.locator("body").evaluate(
            "(e, open) => { e.querySelectorAll('details').forEach((d) => { d.open = open; }); }", unfolded
        )
        return page

    def _open(self, name, scripts):
        page = self._browser.new_context(java_script_enabled=scripts).new_page()
        page.on("console", lambda message: self.trouble.append(message.text))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("request", lambda request: self.trouble.append(request.url) if foreign(request.url) else None)
        page.goto((self._folder / f"{name}.html").as_uri())
        self._pages[name, scripts] = page
        return page


@pytest.fixture(scope="module")
def visitor(browser, pages):
    """Pages that are open."""
    return Visitor(browser, pages)


@pytest.fixture
def visit(visitor):
    """Look at a page; at the end it must have asked for nothing and complained of nothing."""
    yield visitor
    assert not visitor.trouble


def foreign(url):
    return not url.startswith(("file:", "data:"))


def ground(page):
    return page.locator("body").evaluate("(e) => getComputedStyle(e).backgroundColor")


@pytest.mark.parametrize("unfolded", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["one", "six", "absent", "minimal"])
def test_the_page_never_scrolls_sideways(visit, name, width, unfolded):
    page = visit(name, width=width, unfolded=unfolded)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Nothing hides at the edge either: what is wider than the page sits in a box that scrolls.
    outside = page.evaluate(
        """(width) => [...document.body.querySelectorAll("*")].filter((e) =>
            e.getBoundingClientRect().right > width + 1 && !e.closest(".scroll") && !e.closest("svg")
        ).map((e) => e.outerHTML.slice(0, 120))""",
        width,
    )
    assert not outside


def test_the_check_for_sideways_scrolling_can_fail(visit):
    page = visit("minimal", width=360)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<table id=wide><td>' + 'w'.repeat(400))")
    page.evaluate("document.querySelector('#wide td').setAttribute('nowrap', '')")
    page.evaluate("document.querySelector('#wide').setAttribute('width', '2000')")
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.evaluate("document.querySelector('#wide').remove()")
    assert wide > 360


def test_the_page_cannot_reach_the_network_and_an_attempt_is_noticed(browser, pages):
    visitor = Visitor(browser, pages)
    page = visitor("minimal")
    assert not visitor.trouble
    page.evaluate("() => { document.body.appendChild(new Image()).src = 'http://127.0.0.1:9/picture.png'; }")
    page.evaluate("() => fetch('http://127.0.0.1:9/').catch(() => null)")
    page.wait_for_timeout(200)
    assert any("Content Security Policy" in line for line in visitor.trouble)
    assert page.evaluate("document.images[document.images.length - 1].naturalWidth") == 0


def test_thirty_six_cells_scroll_inside_their_own_box(visit):
    page = visit("six", width=360)
    boxes = page.evaluate(
        "[...document.querySelectorAll('figure.heat .scroll')].map((e) => [e.clientWidth, e.scrollWidth])"
    )
    assert len(boxes) == 2
    assert all(inner > 2 * outer for outer, inner in boxes)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["one", "six"])
def test_all_text_has_contrast(visit, name, width, scheme):
    page = visit(name, width=width, scheme=scheme, unfolded=True)
    found = page.evaluate(CONTRAST)
    assert len(found) > 200
    weak = [entry for entry in found if entry[0] < 4.5]
    assert not weak, weak[:5]


def test_the_contrast_check_can_fail(visit):
    page = visit("one")
    page.evaluate("document.querySelector('.lead').style.setProperty('color', '#bbbbbb')")
    weak = [entry for entry in page.evaluate(CONTRAST) if entry[0] < 4.5]
    page.evaluate("document.querySelector('.lead').style.removeProperty('color')")
    assert len(weak) == 1


def test_light_and_dark_follow_the_system(visit):
    assert ground(visit("one", scheme="light")) == "rgb(255, 255, 255)"
    assert ground(visit("one", scheme="dark")) == "rgb(17, 21, 26)"


@pytest.mark.parametrize("scripts", [True, False])
def test_the_toggle_overrides_the_system_and_gives_it_back(visit, scripts):
    for scheme in ("light", "dark"):
        page = visit("one", scheme=scheme, scripts=scripts)
        system = ground(page)
        page.get_by_label("Dark").check()
        assert ground(page) == "rgb(17, 21, 26)"
        page.get_by_label("Light").check()
        assert ground(page) == "rgb(255, 255, 255)"
        page.get_by_label("Auto").check()
        assert ground(page) == system


def test_without_scripts_only_the_copy_buttons_are_missing(visit):
    page, bare = visit("one", unfolded=True), visit("one", unfolded=True, scripts=False)
    assert bare.locator("button").count() == 0
    assert page.locator("button.copy").count() == page.locator("pre.command").count() > 10
    with_buttons = page.locator("body").inner_text().splitlines()
    without = bare.locator("body").inner_text().splitlines()
    assert [line for line in with_buttons if line.strip() not in ("", "Copy")] == [
        line for line in without if line.strip()
    ]


def test_copying_gives_the_exact_command(visit):
    page = visit("six", width=360)
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.locator("#reproduce button.copy").click()
    assert page.evaluate("window.copied") == f"glow-deploy verify {LONG} --json report.json --report report.html"


def test_text_in_charts_can_be_read_on_a_phone(visit):
    page = visit("one", width=360)
    sizes = page.evaluate(
        """[...document.querySelectorAll("svg.chart text")].map((e) =>
            parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a)"""
    )
    assert min(sizes) >= 10.0


def test_labels_of_a_chart_stay_inside_it(visit):
    for width in (360, 1280):
        page = visit("six", width=width)
        outside = page.evaluate(
            """[...document.querySelectorAll("svg.chart text")].filter((e) => {
                const [a, b] = [e.getBoundingClientRect(), e.ownerSVGElement.getBoundingClientRect()];
                return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 2 || a.bottom > b.bottom + 2;
            }).map((e) => e.textContent)"""
        )
        assert not outside


def test_print_is_light_and_shows_what_was_folded(visit):
    page = visit("one", scheme="dark")
    folded = page.locator("#budget td").last
    page.emulate_media(media="print", color_scheme="dark")
    assert ground(page) == "rgb(255, 255, 255)"
    page.locator("#theme-dark").evaluate("(e) => { e.checked = true; }")
    assert ground(page) == "rgb(255, 255, 255)"
    assert folded.bounding_box()["height"] > 5
