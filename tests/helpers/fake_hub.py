"""A hub over HTTP on loopback: private places, commits, revisions, cards with a header of YAML.

`with fake_hub() as hub:` and a process with `hub.env` talks to it; `hub.places` is what it holds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml


@dataclass
class Place:
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return list(self.commits)[-1]


@dataclass
class Hub:
    url: str = ""
    places: dict[str, Place] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)

    @property
    def env(self) -> dict[str, str]:
        return {"HF_ENDPOINT": self.url, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": "0"}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        given = {"Content-Length": str(len(data)), "Content-Type": "application/json"}
        for name, value in {**given, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _lost(self, code: str) -> None:
        self._send(404, {"error": code}, {"X-Error-Code": code})

    def do_POST(self) -> None:
        self.hub.keys.add(self.headers.get("Authorization", ""))
        size = self.headers.get("Content-Length")
        body = self.rfile.read(int(size)) if size else self._chunks()
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            kind = asked.get("type") or "model"
            owner = asked.get("organization") or "me"
            name = f"{owner}/{asked['name']}"
            known = f"{kind}s/{name}" in self.hub.places
            private = asked.get("visibility") == "private" or asked.get("private", False)
            place = Place(private, {"0" * 40: {}})
            self.hub.places.setdefault(f"{kind}s/{name}", place)
            url = f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
            return self._send(409 if known else 200, {"url": url})
        if self.path == "/api/validate-yaml":
            card = json.loads(body)["content"]
            head = re.match(r"---\n(.*?)\n---\n", card, re.S)
            try:
                found = yaml.safe_load(head[1]) if head else None
                wrong = "" if isinstance(found, dict) else "no header"
            except yaml.YAMLError as error:
                wrong = str(error)
            errors = [{"message": wrong}] if wrong else []
            return self._send(400 if errors else 200, {"errors": errors, "warnings": []})
        found = re.match(r"/api/(models|datasets)/([^/]+/[^/]+)/(preupload|commit)/", self.path)
        assert found, self.path
        place = self.hub.places[f"{found[1]}/{found[2]}"]
        if found[3] == "preupload":
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            return self._send(200, {"files": files})
        files = dict(place.commits[place.head])
        for line in body.splitlines():
            said = json.loads(line)
            if said["key"] == "file":
                value = said["value"]
                files[value["path"]] = base64.b64decode(value["content"])
        commit = hashlib.sha1(repr((len(place.commits), sorted(files))).encode()).hexdigest()
        place.commits[commit] = files
        url = f"{self.hub.url}/{'datasets/' if found[1] == 'datasets' else ''}{found[2]}"
        made = {"commitUrl": f"{url}/commit/{commit}", "commitOid": commit, "success": True}
        return self._send(200, made)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.keys.add(self.headers.get("Authorization", ""))
        path = self.path.split("?")[0]
        if path == "/api/whoami-v2":
            return self._send(200, {"name": "me", "type": "user", "orgs": []})
        api = re.match(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?$", path)
        file = re.match(r"/((?:datasets/)?)([^/]+/[^/]+)/resolve/([^/]+)/(.+)$", path)
        kind, name, revision = (
            (api[1], api[2], api[4])
            if api
            else ("datasets" if file[1] else "models", file[2], file[3])
            if file
            else ("", "", None)
        )
        place = self.hub.places.get(f"{kind}/{name}")
        if place is None:
            return self._lost("RepoNotFound")
        commit = place.head if revision in (None, "main") else revision
        if commit not in place.commits:
            return self._lost("RevisionNotFound")
        files = place.commits[commit]
        if api and api[3] == "tree":
            return self._send(
                200,
                [
                    {"type": "file", "path": p, "size": len(d), "oid": hashlib.sha1(d).hexdigest()}
                    for p, d in files.items()
                ],
            )
        if api:
            told = {"id": name, "private": place.private, "sha": commit, "tags": []}
            return self._send(200, {**told, "siblings": [{"rfilename": p} for p in files]})
        if file is None or file[4] not in files:
            return self._lost("EntryNotFound")
        data = files[file[4]]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit}
        return self._send(200, data, headers)


@contextmanager
def fake_hub() -> Iterator[Hub]:
    """Run one in a thread."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
