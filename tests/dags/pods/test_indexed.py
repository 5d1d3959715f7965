"""Sets of pods on the project's endpoint without its node: the test is the cluster that runs the pods."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from airflow_pods import (
    PodFailed,
    PodRefused,
    Result,
    errors,
    in_flight,
    pace,
    progress,
    requests,
    set_run,
    task_pods,
)
from airflow_pods import client as client_module
from airflow_pods.indexed import delete_live, indexed_result
from airflow_pods.informer import Informer
from airflow_pods.pod_set import ATTEMPT, INDEX, SET, IndexedPods, pod_manifest
from airflow_pods.progress import Progress
from airflow_pods.runner import pod_result
from scripts.kube.objects import PODS
from tests.support.kubernetes_api import finished, rejection, statuses, terminated
from tests.support.nodeless import NAMESPACE, RUNNING, Nodeless
from tests.support.pod_sets import (
    FAILED,
    REFUSED,
    Node,
    add_index,
    all_succeed,
    attempt_of,
    index_of,
    is_ended,
    manifest,
    once_each,
    succeeded,
)

CONNECTION = "kubernetes_default"
NO_NODE = {
    "phase": "Pending",
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    ],
}
NO_IMAGE = {
    "phase": "Pending",
    "containerStatuses": statuses(main={"waiting": {"reason": "ErrImagePull", "message": "no such image"}}),
}


@pytest_asyncio.fixture
async def node(endpoint: Nodeless) -> AsyncIterator[Node]:
    """A node on which each pod succeeds with its index, until the test changes its fate."""
    node = Node(endpoint, all_succeed)
    yield node
    node.stop()


async def run(pods: IndexedPods, **options: Any) -> Result:
    async with asyncio.timeout(60), indexed_result(CONNECTION, manifest(), pods, **options) as result:
        return result


async def kept(endpoint: Nodeless, pods: IndexedPods) -> dict[str, Any]:
    """Run a set whose outcome is never committed; return the pods that it keeps."""
    with pytest.raises(RuntimeError, match="not committed"):
        async with asyncio.timeout(60), indexed_result(CONNECTION, manifest(), pods):
            raise RuntimeError("not committed")
    return endpoint.pods()


async def test_each_index_is_reduced_once_and_all_pods_are_deleted_by_one_request(
    endpoint: Nodeless, node: Node
) -> None:
    result = await run(IndexedPods(20, 4, reduce=add_index))
    assert result == {
        "count": 20,
        "succeeded": 20,
        "failed": "",
        "total": once_each(20),
        "sentence": "20 of 20 pods of set items succeeded",
    }
    assert node.most_in_flight <= 4
    assert endpoint.pods() == {}
    assert endpoint.seen == {"GET": 1, "POST": 20, "WATCH": 1, "DELETE": 1}


async def test_a_pod_is_told_its_index_the_count_and_its_attempt(endpoint: Nodeless, node: Node) -> None:
    node.fate = lambda pod: FAILED if (index_of(pod), attempt_of(pod)) == (1, 0) else succeeded(index_of(pod))
    pods = await kept(endpoint, IndexedPods(2, 2, retries_per_pod=1))
    assert sorted(pods) == ["items-0", "items-1", "items-1-1"]
    metadata, [container] = pods["items-1-1"]["metadata"], pods["items-1-1"]["spec"]["containers"]
    assert metadata["labels"] == {**manifest()["metadata"]["labels"], SET: "items", INDEX: "1", ATTEMPT: "1"}
    assert metadata["annotations"] == {"batch.kubernetes.io/job-completion-index": "1"}
    env = {each["name"]: each["value"] for each in container["env"]}
    assert env == {"JOB_COMPLETION_INDEX": "1", "JOB_COMPLETIONS": "2", "JOB_ATTEMPT": "1", "A": "1"}


async def test_pods_are_kept_when_the_outcome_is_not_committed_and_the_next_try_creates_none(
    endpoint: Nodeless, node: Node
) -> None:
    pods = IndexedPods(10, 3, reduce=add_index)
    assert len(await kept(endpoint, pods)) == 10
    assert (await run(pods))["total"] == once_each(10)
    assert endpoint.seen["POST"] == 10
    assert endpoint.pods() == {}


async def test_a_list_in_many_pages_is_taken_over(
    endpoint: Nodeless, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.list_pods, "__defaults__", (3,))
    pods = IndexedPods(10, 3, reduce=add_index)
    await kept(endpoint, pods)
    endpoint.seen.clear()
    assert (await run(pods))["total"] == once_each(10)
    assert endpoint.seen["GET"] == 4


async def test_a_set_without_pods_succeeds(endpoint: Nodeless) -> None:
    assert (await run(IndexedPods(0, 1)))["sentence"] == "0 of 0 pods of set items succeeded"


async def test_pods_of_other_sets_are_left_alone(endpoint: Nodeless, node: Node) -> None:
    endpoint.create(pod_manifest(manifest("items-other"), 1, 0, 0))
    endpoint.create(manifest("single"))
    await run(IndexedPods(3, 3))
    assert list(endpoint.pods()) == ["items-other-0", "single"]


async def test_a_pod_of_that_name_that_is_not_of_the_set_is_refused(endpoint: Nodeless, node: Node) -> None:
    endpoint.create(manifest("items-1"))
    with pytest.raises(PodRefused, match="pod items-1 in namespace pods exists, and is not of this set"):
        await run(IndexedPods(3, 1))


async def test_a_name_that_is_too_long_is_refused_before_anything_is_created(endpoint: Nodeless) -> None:
    name = "a" * 58
    IndexedPods(1000, 1).check(manifest(name))
    with pytest.raises(PodRefused, match=rf"{name}-999-3 would have 64 characters, .* of at most 57\)"):
        async with indexed_result(CONNECTION, manifest(name), IndexedPods(1000, 1, 3)):
            pass
    assert not endpoint.seen


@pytest.mark.parametrize("pods", [IndexedPods(-1, 1), IndexedPods(1, 0), IndexedPods(1, 1, -1)])
async def test_numbers_that_make_no_sense_are_refused(pods: IndexedPods) -> None:
    with pytest.raises(PodRefused, match=r"(count|parallelism|retries_per_pod) is (-1|0) \(give a whole"):
        pods.check(manifest())


async def test_an_index_that_fails_gets_as_many_attempts_as_it_may(endpoint: Nodeless, node: Node) -> None:
    node.fate = lambda pod: FAILED if index_of(pod) == 3 and attempt_of(pod) < 2 else succeeded(index_of(pod))
    result = await run(IndexedPods(5, 2, retries_per_pod=2, reduce=add_index))
    assert result["total"] == once_each(5)
    assert [name for name in node.created if name.startswith("items-3")] == [
        "items-3",
        "items-3-1",
        "items-3-2",
    ]


async def test_a_set_succeeds_with_as_many_failed_indices_as_may_fail(endpoint: Nodeless, node: Node) -> None:
    bad = (1, 3, 4, 5)
    node.fate = lambda pod: FAILED if index_of(pod) in bad else succeeded(index_of(pod))
    result = await run(IndexedPods(8, 4, max_failed=4))
    assert (result["succeeded"], result["failed"]) == (4, "1,3-5")
    assert result["sentence"] == "4 of 8 pods of set items succeeded; 4 failed: 1,3-5"
    assert endpoint.pods() == {}


async def test_more_failed_indices_than_may_fail_end_the_set_and_delete_only_the_live_pods(
    endpoint: Nodeless, node: Node
) -> None:
    def fate(pod: Any) -> dict[str, Any] | None:
        index = index_of(pod)
        if index < 2:
            return succeeded(index)
        pods = endpoint.pods()
        is_next = all(name in pods and is_ended(pods[name]) for name in ("items-0", "items-1"))
        return FAILED if index < 4 and is_next else None

    node.fate = fate
    with pytest.raises(
        PodFailed,
        match=r"^2 of the 100 pods of set items in namespace pods failed, and 1 may: 2-3\. The first one: "
        r"pod items-[23] .*exit code 1\): broken \(correct the cause, then clear the task: it keeps the 2 ",
    ):
        await run(IndexedPods(100, 4, max_failed=1))
    assert sorted(endpoint.pods()) == ["items-0", "items-1", "items-2", "items-3"]


@pytest.mark.parametrize(
    "status", [REFUSED, finished(main=terminated("no JSON")), finished(main=terminated("[1]"))]
)
async def test_an_index_whose_pod_cannot_succeed_gets_no_further_attempt(
    endpoint: Nodeless, node: Node, status: dict[str, Any]
) -> None:
    node.fate = lambda pod: status if index_of(pod) == 1 else succeeded(index_of(pod))
    result = await run(IndexedPods(3, 1, retries_per_pod=5, max_failed=1))
    assert result["failed"] == "1"
    assert node.created == ["items-0", "items-1", "items-2"]


async def test_clearing_a_failed_set_runs_only_what_failed(endpoint: Nodeless, node: Node) -> None:
    node.fate = lambda pod: FAILED if index_of(pod) in (2, 7) else succeeded(index_of(pod))
    pods = IndexedPods(10, 10, retries_per_pod=1, max_failed=1, reduce=add_index)
    with pytest.raises(PodFailed, match="and 1 may: 2,7"):
        await run(pods)
    node.fate, node.created = all_succeed, []
    result = await run(pods)
    assert result["total"] == once_each(10)
    assert sorted(node.created) == ["items-2", "items-7"]


async def test_attempts_of_an_earlier_try_count(endpoint: Nodeless, node: Node) -> None:
    """Killed after the first attempt of index 0 has failed, it goes on with the second."""
    node.fate = lambda pod: FAILED if attempt_of(pod) == 0 else None
    first = asyncio.create_task(run(IndexedPods(1, 1, retries_per_pod=1)))
    await endpoint.until(lambda: "items-0-1" in endpoint.pods())
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    endpoint.delete("items-0-1")
    node.created = []
    node.fate = all_succeed
    assert (await run(IndexedPods(1, 1, retries_per_pod=1)))["succeeded"] == 1
    assert node.created == ["items-0-1"]


async def test_live_pods_of_an_earlier_try_are_waited_for(endpoint: Nodeless, node: Node) -> None:
    node.fate = lambda pod: None
    first = asyncio.create_task(run(IndexedPods(4, 2)))
    await endpoint.until(lambda: len(endpoint.pods()) == 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = asyncio.create_task(run(IndexedPods(4, 2, reduce=add_index)))
    await endpoint.until(lambda: len(endpoint.watches) == 1)
    node.fate = all_succeed
    assert (await second)["total"] == once_each(4)
    assert len(node.created) == 4


async def test_a_pod_that_is_deleted_by_somebody_is_a_failed_attempt(endpoint: Nodeless, node: Node) -> None:
    node.fate = lambda pod: RUNNING if attempt_of(pod) == 0 else succeeded(0)
    running = asyncio.create_task(run(IndexedPods(1, 1, retries_per_pod=1)))
    await endpoint.until(lambda: node.created)
    endpoint.delete("items-0")
    assert (await running)["succeeded"] == 1
    assert node.created == ["items-0", "items-0-1"]


async def test_an_error_of_reduce_ends_the_set_and_keeps_its_pods(endpoint: Nodeless, node: Node) -> None:
    def broken(total: Any, result: Result) -> Any:
        return total + 1

    with pytest.raises(PodRefused, match=r"reduce failed on the result of pod items-\d: TypeError: "):
        await run(IndexedPods(3, 3, reduce=broken))
    assert any(is_ended(pod) for pod in endpoint.pods().values())


@pytest.mark.parametrize(
    ("total", "why"),
    [
        ({1, 2}, "not JSON serializable"),
        ("x" * 4000, "the summary has .* bytes"),
        (2**70, "too large"),
        ({"__a": 1}, "reserves keys"),
    ],
)
async def test_a_total_that_airflow_cannot_keep_is_refused(
    endpoint: Nodeless, node: Node, total: Any, why: str
) -> None:
    with pytest.raises(PodRefused, match=f"reduce gave .*{why}"):
        await run(IndexedPods(1, 1, reduce=lambda _, __: total))
    assert len(endpoint.pods()) == 1


async def test_the_summary_stays_small_whatever_fails(endpoint: Nodeless, node: Node) -> None:
    node.fate = lambda pod: REFUSED if index_of(pod) % 2 else succeeded(0)
    result = await run(IndexedPods(1000, 100, max_failed=1000))
    assert len(json.dumps(result)) < 2000
    assert result["failed"].startswith("1,3,5,")
    assert result["failed"].endswith(" more")


async def test_a_task_that_has_ended_without_its_set_deletes_only_the_live_pods(
    endpoint: Nodeless, node: Node
) -> None:
    node.fate = lambda pod: (None, REFUSED, succeeded(2))[index_of(pod)]
    two_have_ended = asyncio.Event()

    def report(progress: Progress) -> None:
        if progress.succeeded and progress.failed:
            two_have_ended.set()

    running = asyncio.create_task(run(IndexedPods(3, 3, max_failed=1), on_progress=report))
    await two_have_ended.wait()
    running.cancel()
    await delete_live(CONNECTION, manifest())
    assert set(endpoint.pods()) == {"items-1", "items-2"}


def refuse_some(
    endpoint: Nodeless, answers: list[Callable[[], int | web.Response]], method: str = "POST"
) -> None:
    """Refuse as many requests of that method with these answers, the first ones."""
    endpoint.refuses = lambda seen: answers.pop(0)() if seen == method and answers else 0


def refusal(code: int, message: str, **headers: str) -> web.Response:
    """Return the API's refusal."""
    answer = rejection(code, message)
    answer.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return answer


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses after refusals be short."""
    monkeypatch.setattr(pace, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(pace, "LONGEST_PAUSE", 0.01)


@pytest.mark.usefixtures("short_pauses")
async def test_pods_that_the_api_refuses_for_now_are_created_later(endpoint: Nodeless, node: Node) -> None:
    refuse_some(
        endpoint,
        [
            lambda: refusal(429, "too many requests", Retry_After="0"),
            lambda: 500,
            lambda: 503,
            lambda: refusal(403, "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"),
        ],
    )
    assert (await run(IndexedPods(10, 5, reduce=add_index)))["total"] == {
        str(index): 1 for index in range(10)
    }
    assert endpoint.seen["POST"] == 14


@pytest.mark.usefixtures("short_pauses")
async def test_no_more_pods_are_in_flight_than_a_full_quota_has_room_for(
    endpoint: Nodeless, node: Node
) -> None:
    def quota(method: str) -> int | web.Response:
        running = sum(not is_ended(pod) for pod in endpoint.pods().values())
        if method != "POST" or running < 2:
            return 0
        return refusal(403, "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2")

    endpoint.refuses = quota
    assert (await run(IndexedPods(30, 10)))["succeeded"] == 30
    assert node.most_in_flight == 2
    assert endpoint.seen["POST"] <= 3 * 30  # with list, watch and deletion at most four requests per pod


@pytest.mark.usefixtures("short_pauses")
async def test_a_set_gets_through_a_small_quota_on_an_overloaded_server(
    endpoint: Nodeless, node: Node
) -> None:
    refused: Counter[str] = Counter()

    def overloaded_and_full(method: str) -> int | web.Response:
        if sum(endpoint.seen.values()) % 3 == 0:
            refused[method] += 1
            return refusal(429, "too many requests", Retry_After="0")
        if method == "POST" and sum(not is_ended(pod) for pod in endpoint.pods().values()) >= 3:
            return refusal(403, "exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3")
        return 0

    endpoint.refuses = overloaded_and_full
    assert (await run(IndexedPods(12, 8, reduce=add_index)))["total"] == once_each(12)
    assert len(node.created) == 12
    assert node.most_in_flight <= 3
    assert refused["POST"]
    assert endpoint.pods() == {}


@pytest.mark.usefixtures("short_pauses")
async def test_a_quota_that_counts_finished_pods_is_named_with_the_remedy_in_the_log_and_the_error(
    endpoint: Nodeless, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quota(method: str) -> int | web.Response:
        if method != "POST" or len(endpoint.pods()) < 3:
            return 0
        counts = "requested: count/pods=1, used: count/pods=3, limited: count/pods=3"
        return refusal(403, f'pods "x" is forbidden: exceeded quota: few, {counts}')

    endpoint.refuses = quota
    monkeypatch.setattr(client_module, "RETRY_SECONDS", 0.3)
    monkeypatch.setattr(task_pods, "LINE_SECONDS", 0)
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0)
    lines: list[str] = []
    cause = r"exceeded quota: few, .*\(this quota counts finished pods too, .*instead of count/pods"
    with pytest.raises(PodFailed, match=cause):
        await run(IndexedPods(10, 5), on_progress=task_pods.progress_lines(lines.append))
    assert len(endpoint.pods()) == 3
    assert any(re.search(f"^No further pod for now: .*{cause}", line) for line in lines)
    # With the remedy, the next try goes on with what is missing, and says nothing of a quota that has room.
    endpoint.refuses = lambda _: 0
    lines.clear()
    assert (await run(IndexedPods(10, 5), on_progress=task_pods.progress_lines(lines.append)))[
        "succeeded"
    ] == 10
    assert endpoint.seen["POST"] > 10
    assert not any("quota" in line for line in lines)


async def test_a_set_gives_up_when_the_api_refuses_each_pod_for_longer_than_a_single_pod_may_wait(
    endpoint: Nodeless, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "RETRY_SECONDS", 0)
    endpoint.refuses = lambda method: 429 if method == "POST" else 0
    with pytest.raises(PodFailed, match=r"refused pod items-\d .*: 429 .*overloaded: run fewer at once"):
        await run(IndexedPods(10, 5))


async def test_a_refusal_for_good_ends_the_set_at_once_and_deletes_the_live_pods(
    endpoint: Nodeless, node: Node
) -> None:
    node.fate = lambda _: None
    endpoint.refuses = lambda method: (
        refusal(403, "pods is forbidden: user cannot create") if method == "POST" and endpoint.pods() else 0
    )
    with pytest.raises(PodRefused, match=r"refused pod items-\d .* cannot create .*account needs create"):
        await run(IndexedPods(10, 5))
    assert endpoint.pods() == {}


async def test_a_creation_whose_answer_is_lost_is_taken_over(
    endpoint: Nodeless, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "SHORTEST_PAUSE", 0.001)
    create, lost = requests.create_pod_once, list[Any]()

    async def lose_answers(*args: Any) -> Any:
        answer = await create(*args)
        if len(lost) < 3:
            lost.append(answer)
            raise aiohttp.ServerDisconnectedError
        return answer

    monkeypatch.setattr(set_run, "create_pod_once", lose_answers)
    assert (await run(IndexedPods(10, 5, reduce=add_index)))["total"] == {
        str(index): 1 for index in range(10)
    }
    assert len(node.created) == 10


async def test_no_more_pods_are_created_while_one_waits_for_a_node(endpoint: Nodeless, node: Node) -> None:
    room = 3
    node.fate = lambda pod: RUNNING if index_of(pod) < room else NO_NODE
    seen: list[Progress] = []
    running = asyncio.create_task(run(IndexedPods(20, 5), on_progress=seen.append))
    await endpoint.until(lambda: len(node.created) == 5)
    node.fate = lambda pod: succeeded(0) if index_of(pod) < room else NO_NODE
    await endpoint.until(lambda: seen and seen[-1].succeeded == room)
    assert len(node.created) == 5
    node.fate = all_succeed
    assert (await running)["succeeded"] == 20


async def test_a_set_gives_up_once_none_of_its_pods_can_start_and_creates_few_until_then(
    endpoint: Nodeless, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(errors.WAITING_REASONS, "ErrImagePull", errors.WaitingReason(0, "push the image"))
    node.fate = lambda _: NO_IMAGE
    with pytest.raises(
        PodRefused, match=r"pod items-\d+ .*can't start: ErrImagePull: no such image \(push the image\)"
    ):
        await run(IndexedPods(1000, 500))
    assert endpoint.pods() == {}
    assert endpoint.seen["POST"] < 100


async def test_a_pod_may_wait_for_a_node_as_long_as_others_of_the_set_run(
    endpoint: Nodeless, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "NO_NODE", errors.WaitingReason(0, "add nodes"))
    monkeypatch.setattr(in_flight, "NO_NODE", errors.NO_NODE)
    monkeypatch.setitem(errors.WAITING_REASONS, "Unschedulable", errors.NO_NODE)
    node.fate = lambda pod: NO_NODE if index_of(pod) else RUNNING
    seen: list[Progress] = []
    running = asyncio.create_task(run(IndexedPods(3, 2), on_progress=seen.append))
    await endpoint.until(lambda: len(node.created) == 2)
    node.fate = lambda pod: NO_NODE if index_of(pod) else None
    await asyncio.sleep(0.1)  # beyond the limit
    assert not running.done()
    node.fate = all_succeed
    assert (await running)["succeeded"] == 3


async def test_a_pod_that_should_have_ended_long_ago_is_a_failed_attempt(
    endpoint: Nodeless, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_run, "GRACE_SECONDS", -59.8)
    node.fate = lambda pod: None if index_of(pod) == 1 and not attempt_of(pod) else succeeded(index_of(pod))
    assert (await run(IndexedPods(3, 1, retries_per_pod=1)))["succeeded"] == 3
    assert node.created == ["items-0", "items-1", "items-1-1", "items-2"]


@pytest.mark.parametrize("change", ["ends", "is deleted"])
async def test_the_pods_are_listed_once_again_where_the_api_has_forgotten_the_last_version(
    endpoint: Nodeless, node: Node, change: str
) -> None:
    node.fate = lambda _: RUNNING
    running = asyncio.create_task(run(IndexedPods(3, 3, retries_per_pod=1, reduce=add_index)))
    await endpoint.until(lambda: len(node.created) == 3 and endpoint.watches)
    node.fate = lambda _: None
    endpoint.break_watches()
    await endpoint.until(lambda: not endpoint.watches)
    if change == "ends":
        endpoint.report("items-1", succeeded(1))
    else:
        endpoint.delete("items-1")
    endpoint.forget()
    await endpoint.until(lambda: endpoint.watches)
    node.fate = all_succeed
    assert (await running)["total"] == {"0": 1, "1": 1, "2": 1}
    assert endpoint.seen["GET"] == 3  # the list at first, then the newest version, and the list from there
    assert len(node.created) == (3 if change == "ends" else 4)


async def test_a_watch_that_is_forbidden_ends_the_set(endpoint: Nodeless, node: Node) -> None:
    node.fate = lambda _: None
    endpoint.refuses = lambda method: 403 if method == "WATCH" else 0
    with pytest.raises(PodRefused, match="403"):
        await run(IndexedPods(3, 3))
    assert endpoint.pods() == {}


async def test_a_pod_that_an_earlier_try_gave_up_is_created_again_once_it_is_gone(
    endpoint: Nodeless, node: Node
) -> None:
    node.fate = lambda _: None
    endpoint.create(pod_manifest(manifest(), 2, 0, 0))
    leaving = endpoint.pods()["items-0"]
    stamped = {**leaving["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    endpoint.store.update(PODS, {**leaving, "metadata": stamped})
    running = asyncio.create_task(run(IndexedPods(2, 2, reduce=add_index)))
    await endpoint.until(lambda: "items-1" in endpoint.pods() and endpoint.watches)
    endpoint.delete("items-0")
    node.fate = all_succeed
    assert (await running)["total"] == {"0": 1, "1": 1}
    assert node.created == ["items-0", "items-1", "items-0"]


async def test_the_progress_is_reported_at_most_once_per_interval_and_at_the_end(
    endpoint: Nodeless, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 1000)
    seen: list[Progress] = []
    node.fate = lambda pod: REFUSED if index_of(pod) == 4 else succeeded(0)
    await run(IndexedPods(20, 2, max_failed=1), on_progress=seen.append)
    assert len(seen) == 2
    assert (seen[0].count, seen[0].remaining) == (20, 20)
    last = seen[-1]
    assert (last.created, last.running, last.succeeded, last.failed, last.remaining) == (20, 0, 19, 1, 0)
    assert last.failed_indices == "4"
    assert "not my data" in last.last_failure


async def test_sets_and_single_pods_share_one_watch_which_keeps_no_pods_of_sets(
    endpoint: Nodeless, node: Node
) -> None:
    informer = Informer(CONNECTION, NAMESPACE)
    single = asyncio.create_task(single_result(informer))
    await endpoint.until(lambda: endpoint.watches)
    pods = IndexedPods(10, 5, reduce=add_index)
    async with (
        indexed_result(CONNECTION, manifest("a"), pods, informer) as first,
        indexed_result(CONNECTION, manifest("b"), pods, informer) as second,
    ):
        assert first["total"] == second["total"] == once_each(10)
        assert set(informer._latest) <= {"single"}
    endpoint.report("single", finished())
    assert await single == {"acc": 5}
    await informer.close()
    assert endpoint.seen["WATCH"] == 1


async def single_result(informer: Informer) -> Result | None:
    async with pod_result(CONNECTION, manifest("single"), informer.watch_until) as result:
        return result
