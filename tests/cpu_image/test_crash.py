"""A pod may be lost at any point: the next one for the same cycle comes to the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest
import redis

from cpu.result import Result, to_line
from tests.support.redis_server import Server
from tests.support.start_run_client import StartRunClient


class LostError(Exception):
    """The pod is gone."""


class Mortal(redis.UnixDomainSocketConnection):
    """A connection on which a pod dies right after Redis has done its nth step, the answer unread."""

    lives = 0

    def read_response(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        response = super().read_response(*args, **kwargs)
        Mortal.lives -= 1
        if Mortal.lives == 0:
            raise LostError
        return response


@contextmanager
def mortal_client(server: Server, lives: int) -> Iterator[redis.Redis]:
    path = str(server.directory / "socket")
    pool = redis.ConnectionPool(connection_class=Mortal, path=path, protocol=2)
    with redis.Redis(connection_pool=pool) as client:
        Mortal.lives = 0
        client.ping()
        Mortal.lives = lives
        yield client
    pool.disconnect()


Step = Callable[[StartRunClient], Result]


def stored(start_run: StartRunClient) -> Result:
    return start_run.store()


STEPS: dict[str, tuple[list[Step], Step]] = {
    "store": ([], stored),
    "load": ([stored], lambda t: t.load(8, once=True)),
    "load invalid": ([lambda t: t.store("acc +1")], lambda t: t.load(1, once=True)),
    "exec": ([stored, lambda t: t.load(8)], lambda t: t.execute(8, 1)),
    "exec to the end": ([stored, lambda t: t.load(8)], lambda t: t.execute(8, 1, 99)),
    "exec to the last loop": (
        [lambda t: t.store("jmp +0\njmp -1"), lambda t: t.run(2), lambda t: t.load(1)],
        lambda t: t.execute(1, 1, 9),
    ),
    "told to stop": ([stored, lambda t: t.run(8), lambda t: t.load(3)], lambda t: t.execute(3, 1)),
}


@pytest.mark.parametrize(("before", "step"), STEPS.values(), ids=STEPS)
def test_a_repeated_command_makes_up_for_a_pod_that_was_lost_after_any_of_its_steps(
    client: redis.Redis, server: Server, before: list[Step], step: Step
) -> None:
    undisturbed = StartRunClient(client, "s")
    for earlier in before:
        earlier(undisturbed)
    expected, contents = to_line(step(undisturbed)), undisturbed.dump()

    for lives in count(1):
        client.flushdb()
        client.script_flush()
        start_run = StartRunClient(client, "s")
        for earlier in before:
            earlier(start_run)
        lost = False
        with mortal_client(server, lives) as mortal:
            try:
                step(StartRunClient(mortal, "s"))
            except LostError:
                lost = True
        assert to_line(step(start_run)) == expected
        assert start_run.dump() == contents
        if not lost:
            break
    assert lives > 2
