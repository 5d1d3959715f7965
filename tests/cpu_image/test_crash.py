"""A pod may be lost at any point: the next pod for the same cycle gives the same result."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest
import redis

from cpu.result import Result, to_line
from tests.support.redis_server import Server
from tests.support.start_run_client import StartRunClient


class PodLostError(Exception):
    """The pod is lost."""


class FailingConnection(redis.UnixDomainSocketConnection):
    """A connection that loses the pod after Redis has sent a number of replies: the last one is not read."""

    remaining = 0

    def read_response(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        response = super().read_response(*args, **kwargs)
        FailingConnection.remaining -= 1
        if FailingConnection.remaining == 0:
            raise PodLostError
        return response


@contextmanager
def failing_client(server: Server, replies: int) -> Iterator[redis.Redis]:
    path = str(server.directory / "socket")
    pool = redis.ConnectionPool(connection_class=FailingConnection, path=path, protocol=2)
    with redis.Redis(connection_pool=pool) as client:
        FailingConnection.remaining = 0
        client.ping()
        FailingConnection.remaining = replies
        yield client
    pool.disconnect()


Step = Callable[[StartRunClient], Result]


def stored(start_run: StartRunClient) -> Result:
    return start_run.store_text()


STEPS: dict[str, tuple[list[Step], Step]] = {
    "store": ([], stored),
    "load": ([stored], lambda t: t.load(8, once=True)),
    "load invalid": ([lambda t: t.store_text("acc +1")], lambda t: t.load(1, once=True)),
    "exec": ([stored, lambda t: t.load(8)], lambda t: t.execute(8, 1)),
    "exec to the end": ([stored, lambda t: t.load(8)], lambda t: t.execute(8, 1, 99)),
    "exec to the last loop": (
        [lambda t: t.store_text("jmp +0\njmp -1"), lambda t: t.run(2), lambda t: t.load(1)],
        lambda t: t.execute(1, 1, 9),
    ),
    "stopped": ([stored, lambda t: t.run(8), lambda t: t.load(3)], lambda t: t.execute(3, 1)),
}


@pytest.mark.parametrize(("before", "step"), STEPS.values(), ids=STEPS)
def test_a_repeated_command_makes_up_for_a_pod_that_was_lost_after_any_of_its_steps(
    client: redis.Redis, server: Server, before: list[Step], step: Step
) -> None:
    undisturbed = StartRunClient(client, "s")
    for earlier in before:
        earlier(undisturbed)
    expected, contents = to_line(step(undisturbed)), undisturbed.dump()

    for replies in count(1):
        client.flushdb()
        client.script_flush()
        start_run = StartRunClient(client, "s")
        for earlier in before:
            earlier(start_run)
        lost = False
        with failing_client(server, replies) as failing:
            try:
                step(StartRunClient(failing, "s"))
            except PodLostError:
                lost = True
        assert to_line(step(start_run)) == expected
        assert start_run.dump() == contents
        if not lost:
            break
    assert replies > 2
