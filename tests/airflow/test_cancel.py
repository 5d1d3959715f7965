"""A start run that is cancelled."""

from __future__ import annotations

from scripts.local.services import kubernetes
from scripts.waiting import wait_until
from tests.support.programs import a_loop
from tests.support.stack import PATIENCE_SECONDS, Stack

LONG = a_loop(400)


def test_cancelled_start_run_stops_its_cpus_deletes_its_pods_and_posts_no_answer(stack: Stack) -> None:
    run = stack.start(program=LONG)
    start = stack.wait_until_started(run)
    assert wait_until(lambda: stack.is_loaded(start, 0), PATIENCE_SECONDS)

    cancel = stack.api.trigger("cpu_cancel", {"start": start})["dag_run_id"]
    over = ("success", "failed")
    assert wait_until(lambda: stack.api.run("cpu_cancel", cancel)["state"] in over, PATIENCE_SECONDS)
    assert stack.api.run("cpu_cancel", cancel)["state"] == "success"
    assert stack.finish(run)[0] == "failed"
    assert wait_until(lambda: stack.count(start, "queued", "running") == 0, PATIENCE_SECONDS)
    assert {one["state"] for one in stack.runs(start)} == {"success"}
    assert [stack.registers(start, cpu).status for cpu in (0, 401)] == ["stopped", "stopped"]
    assert stack.answers(start) == []
    pods = kubernetes.core_api(stack.settings).list_namespaced_pod
    ours = {"namespace": stack.settings.namespace, "label_selector": f"start={start}"}
    # A node takes a moment to delete a pod.
    assert wait_until(lambda: pods(**ours).items == [], PATIENCE_SECONDS)


def test_cancelling_an_unknown_start_run_fails_and_names_it(stack: Stack) -> None:
    cancel = stack.api.trigger("cpu_cancel", {"start": "nobody"})["dag_run_id"]
    assert wait_until(
        lambda: stack.api.run("cpu_cancel", cancel)["state"] in ("success", "failed"), PATIENCE_SECONDS
    )
    assert stack.api.run("cpu_cancel", cancel)["state"] == "failed"
    log = "\n".join(stack.api.log("cpu_cancel", cancel, "cancel", 1))
    assert "start run nobody is not stored, or has expired" in log
