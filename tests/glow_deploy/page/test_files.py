"""The files of the page."""

from __future__ import annotations

from glow_deploy.page import INDEX, page_files


def test_the_page_names_its_own_files_alone_and_where_they_lie_beside_it():
    files = page_files()
    html = files[INDEX].decode()
    for name in files.keys() - {INDEX}:
        assert f'"{name}"' in html, name
    assert 'from "./transport.js"' in files["page.js"].decode()
    for text in (html, files["page.js"].decode()):
        assert '"/' not in text
        assert "`/" not in text
