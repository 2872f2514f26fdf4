"""A stand-in for the Hub: as much of its HTTP API as the client uses to make, fill, list and read a repository."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager, suppress


class Hub:
    """Repositories in memory: commits of whole sets of files, by the names of the repositories."""

    def __init__(self):
        self.repos, self.asked, self.spoil = {}, [], {}

    def commit(self, repo, files):
        """Add a commit that changes files; returns its number."""
        held = dict(self.repos[repo][-1][1]) if self.repos.get(repo) else {}
        held.update(files)
        number = hashlib.sha1(repr(sorted((k, len(v)) for k, v in held.items())).encode()).hexdigest()
        self.repos.setdefault(repo, []).append((number, held))
        return number

    def at(self, repo, revision):
        for number, files in reversed(self.repos.get(repo, [])):
            if revision in ("main", number):
                return number, files
        return None, None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def answer(self, status, body=b"", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def no_repo(self):
        self.answer(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})

    def do_GET(self):
        self.hub.asked.append((self.command, self.path))
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            number, files = self.hub.at(found[1], found[2] or "main")
            if found[1] not in self.hub.repos:
                return self.no_repo()
            if files is None:
                return self.answer(404, {"error": "no revision"}, **{"X-Error-Code": "RevisionNotFound"})
            siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
            return self.answer(200, {"id": found[1], "sha": number, "siblings": siblings, "private": True})
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            number, files = self.hub.at(found[1], found[2])
            if files is None:
                return self.no_repo()
            if found[3] not in files:
                headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": number}
                return self.answer(404, {"error": "no entry"}, **headers)
            data = self.hub.spoil.get(found[3], files[found[3]])
            etag = hashlib.sha256(data).hexdigest()
            return self.answer(200, data, ETag=f'"{etag}"', **{"X-Repo-Commit": number})
        return self.answer(404, {"error": f"nothing at {path}"})

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        self.hub.asked.append((self.command, self.path))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != "Bearer hf_secret":
            return self.answer(401, {"error": "Invalid credentials"})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.hub.repos.setdefault(repo, [])
            self.hub.created = asked
            return self.answer(200, {"url": f"http://{self.headers['Host']}/{repo}", "name": repo, "id": repo})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", self.path.partition("?")[0]):
            files = [
                {"path": entry["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for entry in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path.partition("?")[0]):
            lines = [json.loads(line) for line in body.splitlines()]
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            number = self.hub.commit(found[1], files)
            url = f"http://{self.headers['Host']}/{found[1]}/commit/{number}"
            return self.answer(200, {"commitUrl": url, "commitOid": number, "hookOutput": "", "success": True})
        return self.answer(404, {"error": f"nothing at {self.path}"})

    def log_message(self, *_):
        pass

    def handle(self):
        with suppress(OSError):
            super().handle()


@contextmanager
def hub_server():
    """Run one on this machine; yields it and its address."""
    hub = Hub()
    handler = type("OfOneHub", (Handler,), {"hub": hub})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
