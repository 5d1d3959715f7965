"""The command `store`, and the keys in Redis: names, TTL, slots."""

from collections.abc import Callable

import pytest
import redis

from cpu.errors import PreconditionError
from cpu.keys import Keys
from cpu.program import parse
from cpu.redis_client import Client
from tests.support.solver import EXAMPLE
from tests.support.start_run_client import StartRunClient


def test_store_returns_the_length_of_the_program_and_the_candidates(start_run: StartRunClient) -> None:
    assert start_run.store_text() == {
        "status": "stored",
        "start": start_run.start,
        "instructions": 9,
        "candidates": "0x12a",
    }


def test_storing_the_same_again_returns_the_same_and_changes_nothing(
    start_run: StartRunClient, client: redis.Redis
) -> None:
    stored = start_run.store_text()
    start_run.run(8)
    before = start_run.dump(), client.hget(Keys(start_run.start).facts, "stored")
    assert start_run.store_text(EXAMPLE.replace("\n", "\r\n")) == stored
    assert (start_run.dump(), client.hget(Keys(start_run.start).facts, "stored")) == before


@pytest.mark.parametrize(
    ("text", "parts", "keep_going"),
    [
        (EXAMPLE + "acc +1", "12", False),
        ("\n" + EXAMPLE, "12", False),
        (EXAMPLE, "1", False),
        (EXAMPLE, "12", True),
    ],
    ids=["another program", "other lines", "other parts", "keep going"],
)
def test_storing_another_program_or_settings_under_the_same_name_fails(
    start_run: StartRunClient, text: str, parts: str, keep_going: bool
) -> None:
    start_run.store_text()
    before = start_run.dump()
    with pytest.raises(
        PreconditionError, match=f"start run {start_run.start} holds another program or other"
    ):
        start_run.store_text(text, parts, keep_going=keep_going)
    assert start_run.dump() == before


def test_ten_thousand_instructions_are_stored_and_their_result_is_small_enough(client: redis.Redis) -> None:
    start_run = StartRunClient(client, "x" * 32)
    text = "jmp -9223372036854775808\n" * 10_000
    stored = start_run.store_text(text)
    assert len(str(stored)) < 3_000
    assert stored["candidates"] == hex((1 << 10_001) - 2)
    assert client.llen(Keys(start_run.start).program) == 10_000
    assert start_run.run(10_000)["status"] == "fault"
    assert parse(text).instructions[-1].line == 10_000


def test_every_key_is_named_after_its_start_run_and_cpu_and_expires(
    start_run: StartRunClient, client: redis.Redis
) -> None:
    start_run.store_text()
    start_run.run(8)
    keys = Keys(start_run.start, 8)
    expected = {*keys.of_start, *keys.of_cpu}
    assert set(client.scan_iter()) == {key.encode() for key in expected}
    assert all(0 < client.ttl(key) <= 60 for key in expected)


@pytest.mark.parametrize("once", [False, True])
def test_loading_again_keeps_the_time_of_the_first_load(
    start_run: StartRunClient, client: redis.Redis, once: bool
) -> None:
    start_run.store_text()
    start_run.run(8)
    registers = Keys(start_run.start, 8).registers
    loaded = client.hget(registers, "loaded")
    assert loaded is not None
    assert float(loaded) > 0
    start_run.load(8, once=once)
    assert client.hget(registers, "loaded") == loaded


def test_each_command_refreshes_the_ttl_of_all_its_keys(
    start_run: StartRunClient, client: redis.Redis
) -> None:
    start_run.store_text()
    start_run.load(8)
    start_run.run(3)
    keys = Keys(start_run.start, 8)
    uses: list[Callable[[], object]] = [
        lambda: start_run.load(8, once=True),
        lambda: start_run.load(8),
        lambda: start_run.execute(8, 1),
        lambda: start_run.read(8),
        lambda: start_run.execute(8, 2, 100),
        lambda: start_run.execute(8, 2, 100),
    ]
    for use in uses:
        for key in client.scan_iter():
            client.expire(key, 5)
        use()
        present = [key for key in [*keys.of_start, *keys.of_cpu] if client.exists(key)]
        assert all(client.ttl(key) > 50 for key in present)


def test_the_keys_of_a_start_run_share_a_slot_and_those_of_a_cpu_too(redis_cluster: Client) -> None:
    assert isinstance(redis_cluster, redis.RedisCluster)

    def slots(names: list[str]) -> set[int]:
        return {redis_cluster.cluster_keyslot(name) for name in names}

    keys = [Keys("s-1", cpu) for cpu in range(1, 9)]
    assert len(slots(keys[0].of_start)) == 1
    assert all(len(slots(key.of_cpu)) == 1 for key in keys)
    assert len(slots([key.registers for key in keys])) > 4


def test_the_example_has_its_answers_on_a_redis_cluster(redis_cluster: Client) -> None:
    start_run = StartRunClient(redis_cluster)
    start_run.store_text()
    start_run.store_text()
    results = [start_run.run(cpu) for cpu in (0, 1, 8, 3)]
    assert [(result["status"], result["acc"], result.get("verdict")) for result in results] == [
        ("loop", "5", "part1"),
        ("loop", "0", None),
        ("end", "8", "part2"),
        ("stopped", "0", None),
    ]
    assert start_run.execute(8, 1) == results[2]
    assert start_run.read(8)["stopped"] == 3
    start_run.load(5)
    assert start_run.read(5)["seconds"] >= 0
    with pytest.raises(PreconditionError):
        start_run.execute(8, 2)
