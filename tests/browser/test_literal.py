"""What people paste is shown as they wrote it: none of it is fetched, or becomes a link or markup."""

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


class Elsewhere:
    """A server that nobody is to ask."""

    def __init__(self, server: ThreadingHTTPServer, asked: list[str]) -> None:
        self.asked = asked
        self.host = f"127.0.0.1:{server.server_port}"


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield Elsewhere(server, asked)
        server.shutdown()
        thread.join()


def test_a_refused_line_is_shown_as_it_is_and_nothing_in_it_is_fetched(
    ui: Ui, stack: Stack, elsewhere: Elsewhere
) -> None:
    lines = [line.format(host=elsewhere.host) for line in LINES]
    runs = [stack.start(program=f"nop +0\n{line}\n") for line in lines]
    for run, line in zip(runs, lines, strict=True):
        assert stack.finish(run)[0] == "failed"
        ui.go(f"/dags/cpu_start/runs/{run}")
        ui.find("body", f"line 2: '{line}'")
        for made in ("img", "a"):
            found = ui.run(f"return [...document.querySelectorAll('{made}')].map((one) => one.outerHTML)")
            assert not [one for one in found if elsewhere.host in one or "example.org" in one]
    ui.picture("literal")
    for page in ("/dags/cpu_start/runs", f"/dags/cpu_start/runs/{runs[0]}/details"):
        ui.go(page)
        ui.find("body", runs[0])
    for page in ("", "/xcom"):
        ui.go(f"/dags/cpu_start/runs/{runs[0]}/tasks/store{page}")
        ui.find("body", lines[0])
    assert elsewhere.asked == []
