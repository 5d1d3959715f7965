"""Sets of pods on the project's endpoint without its node: the test is the cluster that runs the pods."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from airflow_pods import Manifest, PodFailed, PodRefused, Result, manifest_of, requests
from airflow_pods.indexed import delete_set, indexed_result
from airflow_pods.pod_set import ATTEMPT, INDEX, SET, IndexedPods, pod_manifest
from tests.support.kubernetes_api import finished, kubeconfig, statuses, terminated
from tests.support.nodeless import NAMESPACE, RUNNING, Nodeless, serving

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
FAILED = {**finished(main=terminated("broken", 1)), "phase": "Failed"}
REFUSED = {**finished(main=terminated("not my data", 2)), "phase": "Failed"}


def manifest(name: str = "items") -> Manifest:
    return manifest_of(name, NAMESPACE, "items:1", ["work"], {"app": "items"}, {"A": "1"}, {}, 60)


def add_index(total: Any, result: Result) -> Any:
    """A reduce that counts each index."""
    counts = Counter(total or {})
    counts[str(result["index"])] += 1
    return dict(counts)


def succeeded(index: int) -> dict[str, Any]:
    return finished(main=terminated(json.dumps({"index": index})))


def index_of(pod: Any) -> int:
    return int(pod["metadata"]["labels"][INDEX])


def attempt_of(pod: Any) -> int:
    return int(pod["metadata"]["labels"][ATTEMPT])


def is_ended(pod: Any) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


@pytest_asyncio.fixture
async def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodeless]:
    """An endpoint that the connection leads to."""
    async with serving(tmp_path) as (endpoint, url):
        connection = {"conn_type": "kubernetes", "extra": {"kube_config": kubeconfig(url)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        yield endpoint


Fate = Callable[[Any], "dict[str, Any] | None"]
"""The status that a pod takes; None while it stays as it is."""


def all_succeed(pod: Any) -> dict[str, Any]:
    return succeeded(index_of(pod))


class Node:
    """Gives each new pod the status that its fate says, one turn of the event loop after its creation."""

    def __init__(self, endpoint: Nodeless, fate: Fate) -> None:
        self.fate = fate
        self.created: list[str] = []
        self.most_in_flight = 0
        self._endpoint = endpoint
        self._running = asyncio.create_task(self._run())

    def stop(self) -> None:
        self._running.cancel()

    async def _run(self) -> None:
        seen: set[str] = set()
        while True:
            pods = [pod for pod in self._endpoint.pods().values() if SET in pod["metadata"]["labels"]]
            self.most_in_flight = max(self.most_in_flight, sum(not is_ended(pod) for pod in pods))
            for pod in pods:
                uid = pod["metadata"]["uid"]
                if uid not in seen:
                    seen.add(uid)
                    self.created.append(pod["metadata"]["name"])
                if not is_ended(pod) and (status := self.fate(pod)):
                    self._endpoint.report(pod["metadata"]["name"], status)
            await asyncio.sleep(0.001)


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
        "total": {str(index): 1 for index in range(20)},
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
    assert (await run(pods))["total"] == {str(index): 1 for index in range(10)}
    assert endpoint.seen["POST"] == 10
    assert endpoint.pods() == {}


async def test_a_list_in_many_pages_is_taken_over(
    endpoint: Nodeless, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.list_pods, "__defaults__", (3,))
    pods = IndexedPods(10, 3, reduce=add_index)
    await kept(endpoint, pods)
    endpoint.seen.clear()
    assert (await run(pods))["total"] == {str(index): 1 for index in range(10)}
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
    assert result["total"] == {str(index): 1 for index in range(5)}
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
        return succeeded(index) if index < 2 else FAILED if index < 4 else None

    node.fate = fate
    with pytest.raises(
        PodFailed,
        match=r"^2 of the 100 pods of set items in namespace pods failed, and 1 may: 2-3\. The first one: "
        r"pod items-2 .*exit code 1\): broken \(correct the cause, then clear the task: it keeps the 2 ",
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
    assert result["total"] == {str(index): 1 for index in range(10)}
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
    assert (await second)["total"] == {str(index): 1 for index in range(4)}
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


async def test_delete_set_deletes_all_pods_of_a_set(endpoint: Nodeless, node: Node) -> None:
    await kept(endpoint, IndexedPods(3, 3))
    await delete_set(CONNECTION, manifest())
    assert endpoint.pods() == {}
