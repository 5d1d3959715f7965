"""Pasted text is shown unchanged: nothing in it is fetched, or becomes a link or markup."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.browser.ui import Ui
from tests.support.stack import Stack

LINES = [
    "![x](http://{host}/pixel)",
    "[a](http://{host}/a) **bold**",
    "<img src=http://{host}/pixel>",
    "` ``` ` ~~a~~ http://{host}/",
    "www.example.org a@example.org &amp; `",
]


class OtherHost:
    """An HTTP server that records requests, of which there must be none."""

    def __init__(self, server: ThreadingHTTPServer, requests: list[str]) -> None:
        self.requests = requests
        self.host = f"127.0.0.1:{server.server_port}"


@pytest.fixture
def other_host() -> Iterator[OtherHost]:
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield OtherHost(server, requests)
        server.shutdown()
        thread.join()


def test_a_refused_line_is_shown_unchanged_and_nothing_in_it_is_fetched(
    ui: Ui, stack: Stack, other_host: OtherHost
) -> None:
    lines = [line.format(host=other_host.host) for line in LINES]
    runs = [stack.start(program=f"nop +0\n{line}\n") for line in lines]
    for run, line in zip(runs, lines, strict=True):
        assert stack.finish(run)[0] == "failed"
        ui.go(f"/dags/cpu_start/runs/{run}")
        ui.find("body", f"line 2: '{line}'")
        for tag in ("img", "a"):
            elements = ui.run(f"return [...document.querySelectorAll('{tag}')].map((one) => one.outerHTML)")
            assert not [one for one in elements if other_host.host in one or "example.org" in one]
    ui.screenshot("literal")
    for page in ("/dags/cpu_start/runs", f"/dags/cpu_start/runs/{runs[0]}/details"):
        ui.go(page)
        ui.find("body", runs[0])
    for page in ("", "/xcom"):
        ui.go(f"/dags/cpu_start/runs/{runs[0]}/tasks/store{page}")
        ui.find("body", lines[0])
    assert other_host.requests == []
