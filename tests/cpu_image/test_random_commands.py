"""Commands with any numbers in any order: a result of one line, or an error and nothing changed."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpu.__main__ import main
from tests.support.redis_server import Server
from tests.support.start_run_client import StartRunClient

near = st.integers(0, 10)
numbers = near | near | near | st.integers(-2, 10**13) | st.sampled_from([10_000, 10**6, 10**12, 10**30])
calls = st.tuples(
    st.sampled_from(["load", "exec", "exec", "exec", "read"]), numbers, numbers, numbers, st.booleans()
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(calls, min_size=1, max_size=8))
def test_any_sequence_of_commands_gives_results_or_errors_that_change_nothing(
    server: Server, client: redis.Redis, tmp_path: Path, sequence: list[tuple[str, int, int, int, bool]]
) -> None:
    client.flushall()
    start_run = StartRunClient(client)
    start_run.store_text()
    start_run.load(8)
    for command, cpu, cycle, cycles, once in sequence:
        own = {"exec": [f"--cycle={cycle}", f"--cycles={cycles}"], "load": ["--once"] * once, "read": []}
        before, out, errors = start_run.dump(), io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as environment, redirect_stdout(out), redirect_stderr(errors):
            environment.setenv("REDIS_URL", server.url)
            environment.setenv("RESULT_FILE", str(tmp_path / "result"))
            code = main([command, f"--start={start_run.start}", f"--cpu={cpu}", *own[command]])
        if code == 0:
            result = json.loads((tmp_path / "result").read_text())
            assert (result["start"], result["cpu"]) == (start_run.start, cpu)
            assert errors.getvalue() == f"{result['sentence']}\n"
            assert errors.getvalue().startswith(f"CPU {cpu}")
            assert json.loads(out.getvalue()) == result
        else:
            assert (code, out.getvalue(), errors.getvalue().count("\n")) == (2, "", 1)
            assert start_run.dump() == before
