"""`make audit` asks about every package in the lock file and fails for one with a known vulnerability."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts.local.ports import free_ports
from tests.deploy.test_gitlab_ci import PIPELINE
from tests.support.chart import ROOT

ADVISORY = {
    "id": "TEST-1",
    "modified": "2026-01-01T00:00:00Z",
    "summary": "anybody may do anything",
    "affected": [
        {
            "package": {"name": "redis", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
        }
    ],
}


class Osv(ThreadingHTTPServer):
    """A stand-in for https://google.github.io/osv.dev/api that may report one vulnerable package."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: set[tuple[str, str]] = set()
        self.bad = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Answers(BaseHTTPRequestHandler):
    server: Osv

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        self.server.asked |= {(query["package"]["name"], query["version"]) for query in queries}
        vulnerability = {"id": ADVISORY["id"], "modified": ADVISORY["modified"]}
        bad = [query["package"]["name"] == self.server.bad for query in queries]
        self.answer({"results": [{"vulns": [vulnerability]} if one else {} for one in bad]})

    def do_GET(self) -> None:
        self.answer(ADVISORY)

    def answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def osv() -> Iterator[Osv]:
    with Osv() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def audit(url: str) -> subprocess.CompletedProcess[str]:
    # Keep uv from asking the package index whether projects are archived.
    nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
    alone = {"UV_HTTP_RETRIES": "0", "HTTPS_PROXY": nowhere, "https_proxy": nowhere, "NO_PROXY": "127.0.0.1"}
    command = ["make", "--assume-old=.venv/ready", "audit", f"ADVISORIES={url}"]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **alone}, capture_output=True, text=True, check=False
    )


def test_audit_asks_about_every_locked_package(osv: Osv) -> None:
    done = audit(osv.url)
    assert done.returncode == 0, done.stderr
    lock = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    assert osv.asked == {(one["name"], one["version"]) for one in lock if "registry" in one["source"]}
    image = re.findall(r"^(\S+)==(\S+)", (ROOT / "cpu_image" / "requirements.txt").read_text(), re.MULTILINE)
    assert set(image) <= osv.asked


def test_audit_fails_and_names_a_package_with_a_known_vulnerability(osv: Osv) -> None:
    osv.bad = "redis"
    done = audit(osv.url)
    assert done.returncode != 0
    assert re.search(r"redis \S+ has 1 known vulnerability:\s+- TEST-1: anybody may do anything", done.stdout)


def test_audit_fails_when_the_vulnerability_service_does_not_answer() -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}/"
    done = audit(url)
    assert done.returncode != 0
    assert f"error sending request for url ({url}" in done.stderr


def test_the_pipeline_requires_the_audit() -> None:
    job = PIPELINE["audit"]
    assert job["script"] == ["make audit"]
    assert not {"allow_failure", "rules", "when"} & job.keys()
