"""Who may ask for the page, and what it may load."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from glow_deploy.explore.guard import allowed_host, host_of


@pytest.mark.parametrize(
    "path", ["/", "/page.css", "/page.js", "/transport.js", "/icon.svg", "/api/model", "/golden/0.png", "/nothing"]
)
def test_every_answer_carries_the_headers(client, path):
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


def test_the_files_are_served_as_what_they_are(client):
    kinds = {path: client.get(path).headers["content-type"] for path in ("/", "/page.css", "/page.js", "/icon.svg")}
    assert kinds["/"] == "text/html; charset=utf-8"
    assert kinds["/page.js"] == "text/javascript; charset=utf-8"
    assert kinds["/page.css"] == "text/css; charset=utf-8"
    assert kinds["/icon.svg"].startswith("image/svg+xml")


def page_files():
    return {
        entry.name: entry.read_text(encoding="utf-8")
        for folder in (resources.files("glow_deploy.page"), resources.files("glow_deploy.explore").joinpath("page"))
        for entry in folder.iterdir()
        if entry.name.endswith((".html", ".css", ".js", ".svg"))
    }


def test_the_page_needs_nothing_from_elsewhere():
    for name, text in page_files().items():
        addresses = re.findall(r"(?:https?:)?//[a-z][^\s\"'<>)]*", text.replace("http://www.w3.org/2000/svg", ""))
        assert not [found for found in addresses if not found.startswith("// ")], name
        assert not re.search(r"@import|url\((?!#)", text), name


def test_the_page_has_nothing_inline():
    html = page_files()["index.html"]
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", html)
    assert re.findall(r"<script([^>]*)>(.*?)</script>", html) == [(' src="page.js" type="module"', "")]
    script = page_files()["page.js"]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script)


def test_nothing_on_the_page_moves_by_itself():
    files = page_files()
    assert not re.search(r"transition|animation|@keyframes|scroll-behavior", files["page.css"])
    assert "smooth" not in files["page.js"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8421", "localhost:9", "LOCALHOST", "[::1]:8421", "127.3.2.1"])
def test_this_machine_may_ask(client, host):
    assert client.get("/api/model", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8421",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.0.2.7",
        "0.0.0.0",
        "[::1",
        "[::1]x",
        "127.0.0.1:x",
        "127.0.0.1:8421:1",
        "user@127.0.0.1",
        "2130706433",
        "",
    ],
)
def test_other_names_are_refused(client, host):
    for method, path in (("GET", "/"), ("GET", "/golden/0.png"), ("POST", "/api/golden")):
        answer = client.request(method, path, headers={"host": host})
        assert answer.status_code == 403
        assert "--host" in answer.json()["error"]


def test_two_host_headers_are_refused(client):
    answer = client.get("/", headers=[("host", "127.0.0.1"), ("host", "evil.example")])
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8421", 200),
        (None, 200),
        ("http://127.0.0.1:9999", 403),
        ("http://evil.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_other_pages_may_not_ask(client, origin, status):
    headers = {} if origin is None else {"origin": origin}
    assert client.post("/api/golden", json={"index": 0}, headers=headers).status_code == status


def test_a_page_for_others_answers_under_addresses_and_its_own_name(visit, bundle):
    client = visit(bundle, hosts=("*", "studio.example"))
    for host, status in (("192.0.2.7:80", 200), ("Studio.Example", 200), ("evil.example", 403), ("*", 403)):
        assert client.get("/api/model", headers={"host": host}).status_code == status


def test_hosts():
    assert host_of("A.example:1") == "a.example"
    assert host_of("[2001:db8::1]") == "2001:db8::1"
    assert not allowed_host("", ("",))
    assert allowed_host("::ffff:127.0.0.1", ()) in (True, False)  # a matter of Python's release, and harmless


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/decode"), ("PUT", "/"), ("GET", "/../../etc/passwd")])
def test_what_is_not_there_is_one_line(client, method, path):
    answer = client.request(method, path)
    assert answer.status_code == 404
    assert "there is no" in answer.json()["error"]


@pytest.mark.parametrize("index", ["9" * 5000, "-1", "x", "\u0663"])
def test_a_golden_picture_that_there_is_not_is_one_line(client, index):
    answer = client.get(f"/golden/{index}.png")
    assert answer.status_code == 400
    assert "content-security-policy" in answer.headers
    assert answer.json()["error"]


def test_a_bug_outside_the_endpoints_has_the_headers_too(visit, bundle, monkeypatch):
    from starlette.routing import Router

    client = visit(bundle)
    monkeypatch.setattr(Router, "__call__", lambda *_: 1 / 0)
    answer = client.get("/")
    assert answer.status_code == 500
    assert answer.json() == {"error": "a bug in glow-deploy, please report it: ZeroDivisionError"}
    assert "content-security-policy" in answer.headers
