"""A page as a test reads it, and reports whose words or figures were replaced."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Tags with their attributes, the visible text, and the text of style and script."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.words, self.raw = [], [], {"style": "", "script": ""}
        self._stack = []
        self.figures = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._stack.append(tag)
        if tag == "figure":
            self.figures.append([])
        for figure in self.figures[-1:]:
            if "figure" in self._stack:
                figure.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in self._stack:
            while self._stack.pop() != tag:
                pass

    def handle_data(self, data):
        if self._stack and self._stack[-1] in self.raw:
            self.raw[self._stack[-1]] += data
        else:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def replaced(value, text):
    """The same JSON with every string that is no key of ours replaced."""
    if isinstance(value, dict):
        return {
            key: item if key in ("schema", "verdict", "verdicts", "statistic", "direction") else replaced(item, text)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [replaced(item, text) for item in value]
    return text if isinstance(value, str) else value


def nulled(value):
    """The same JSON with every measured figure null, as for what is not finite."""
    if isinstance(value, dict):
        return {key: item if key == "histogram" else nulled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [nulled(item) for item in value]
    return None if isinstance(value, float) else value
