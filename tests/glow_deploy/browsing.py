"""A headless Chromium, and what tests of pages do in it."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import pytest

VARIABLE = "GLOW_DEPLOY_TEST_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

LOADING = "Failed to load resource"

# Text that can be seen, and the contrast ratio (WCAG 2) of its colour with what lies behind it.
CONTRAST = """() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] ?? 1]; };
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const own = parse(getComputedStyle(element).backgroundColor);
    return own[3] > 0.99 || !element.parentElement ? own : behind(element.parentElement);
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.getClientRects().length || element.matches(":disabled, option")) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), element.tagName + "." + element.className, element.textContent]);
  }
  return found;
}"""

# Drop a file on the page as a hand does.
DROP = """([name, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}"""


def executable():
    """A browser of this machine, or None."""
    return os.environ.get(VARIABLE) or next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def open_browser(*flags):
    """Start the browser; the test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    path = executable()
    if path is None:
        pytest.skip(f"no Chromium here: install one (Debian: apt-get install chromium) or name it in {VARIABLE}")
    with sync_api.sync_playwright() as playwright:
        # Chromium's own sandbox does not start as root, as in a container; the page is ours.
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *flags])
        try:
            yield found
        finally:
            found.close()
