"""A pod's life: phases, conditions, termination messages, restarts and deletion."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.support.cluster import Cluster, ended, runs, state, terminated, waits


def test_a_pod_is_pending_then_running_then_succeeded(cluster: Cluster) -> None:
    created = cluster.create_pod("sleep 2")
    history = cluster.history(created, ended)
    phases = [pod.status.phase for pod in (created, *history)]
    assert list(dict.fromkeys(phases)) == ["Pending", "Running", "Succeeded"]
    running = {each.type: each.status for each in next(filter(runs, history)).status.conditions}
    assert running == dict.fromkeys(("PodScheduled", "Initialized", "Ready", "ContainersReady"), "True")
    last = {each.type: (each.status, each.reason) for each in history[-1].status.conditions}
    assert last["Ready"] == last["ContainersReady"] == ("False", "PodCompleted")
    end = terminated(history[-1])
    assert (end.exit_code, end.reason) == (0, "Completed")
    assert end.started_at <= end.finished_at
    assert history[-1].spec.node_name
    assert history[-1].status.start_time


def test_a_failed_pod_has_its_exit_code_in_its_status(cluster: Cluster) -> None:
    pod = cluster.finished("exit 3")
    assert pod.status.phase == "Failed"
    assert (terminated(pod).exit_code, terminated(pod).reason) == (3, "Error")


def test_a_missing_program_is_a_start_error(cluster: Cluster) -> None:
    pod = cluster.finished(container={"command": ["no-such-program"]})
    assert pod.status.phase == "Failed"
    assert (terminated(pod).exit_code, terminated(pod).reason) == (128, "StartError")
    assert "executable file not found" in terminated(pod).message


def test_the_termination_log_becomes_the_termination_message(cluster: Cluster) -> None:
    pod = cluster.finished('printf \'{"status":"ok"}\' > /dev/termination-log')
    assert terminated(pod).message == '{"status":"ok"}'


def test_the_termination_message_is_read_from_the_path_that_the_container_names(cluster: Cluster) -> None:
    path = "/result"
    extra = {"terminationMessagePath": path, "env": [{"name": "RESULT_FILE", "value": path}]}
    pod = cluster.finished('printf done > "$RESULT_FILE"', container=extra)
    assert terminated(pod).message == "done"


def test_a_termination_message_is_the_last_4096_bytes_of_its_file(cluster: Cluster) -> None:
    pod = cluster.finished(
        "i=0; while [ $i -lt 600 ]; do printf 0123456789; i=$((i+1)); done > /dev/termination-log"
    )
    assert terminated(pod).message == ("0123456789" * 600)[-4096:]


def test_the_end_of_the_log_is_the_message_of_a_failed_container_that_wrote_none(cluster: Cluster) -> None:
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    failed = cluster.finished("echo one >&2; echo two >&2; exit 4", container=policy)
    assert terminated(failed).message == "one\ntwo\n"
    assert terminated(cluster.finished("echo one", container=policy)).message is None


def test_environment_variables_come_from_values_secrets_and_fields_of_the_pod(cluster: Cluster) -> None:
    secret = cluster.secret(url="redis://here", USER_NAME="nobody")
    env = [
        {"name": "PLAIN", "value": "a b"},
        {"name": "MADE", "value": "<$(PLAIN)> $(UNKNOWN) $$(PLAIN)"},
        {"name": "URL", "valueFrom": {"secretKeyRef": {"name": secret, "key": "url"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y", "optional": True}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "SPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "UID_", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['cpu']"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    names = ["PLAIN", "MADE", "URL", "POD", "SPACE", "UID_", "LABEL", "USER_NAME", "HOSTNAME", "IP"]
    script = "; ".join(f'echo "${name}"' for name in names) + '; echo "${NONE-unset}"; echo "$0"'
    extra = {"env": env, "envFrom": [{"secretRef": {"name": secret}}], "args": ["$(PLAIN) $(UNKNOWN)"]}
    pod = cluster.finished(script, container=extra, labels={"cpu": "8"})
    name = pod.metadata.name
    assert cluster.log(name).splitlines() == [
        *("a b", "<a b> $(UNKNOWN) $(PLAIN)", "redis://here", name, cluster.namespace, pod.metadata.uid),
        *("8", "nobody", name, pod.status.pod_ip, "unset", "a b $(UNKNOWN)"),
    ]


def test_a_container_waits_for_its_secret(cluster: Cluster) -> None:
    reference = {"secretKeyRef": {"name": "late", "key": "k"}}
    name = cluster.create('echo "$K"', container={"env": [{"name": "K", "valueFrom": reference}]})
    # A busy kubelet may first report that its cache of Secrets is not up to date.
    pod = cluster.until(name, waits("CreateContainerConfigError", 'secret "late" not found'))
    assert pod.status.phase == "Pending"
    data = {"k": base64.b64encode(b"here").decode()}
    cluster.api.create_namespaced_secret(cluster.namespace, {"metadata": {"name": "late"}, "data": data})
    assert cluster.until(name, ended).status.phase == "Succeeded"
    assert cluster.log(name) == "here\n"


@pytest.mark.parametrize(
    ("image", "reason"), [("no-such-image:1", "ErrImagePull"), ("Not An Image", "InvalidImageName")]
)
def test_a_pod_whose_image_cannot_be_pulled_stays_pending(cluster: Cluster, image: str, reason: str) -> None:
    name = cluster.create(container={"image": image})
    pod = cluster.until(name, waits(reason))
    assert pod.status.phase == "Pending"
    if reason == "ErrImagePull":
        cluster.until(name, waits("ImagePullBackOff"))
    cluster.api.delete_namespaced_pod(name, cluster.namespace, grace_period_seconds=0)


def test_containers_share_a_volume_and_init_containers_run_first_in_order(cluster: Cluster) -> None:
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    inits = [
        cluster.container("echo first > /shared/file", "one", **mount),
        cluster.container("echo second >> /shared/file", "two", **mount),
    ]
    containers = [
        cluster.container(
            "cat /shared/file; while [ ! -f /shared/done ]; do sleep 0.1; done", "reader", **mount
        ),
        cluster.container("sleep 1; touch /shared/done", "writer", **mount),
    ]
    volumes = [{"name": "shared", "emptyDir": {}}]
    pod = cluster.finished(initContainers=inits, containers=containers, volumes=volumes)
    assert pod.status.phase == "Succeeded"
    assert [status.state.terminated.exit_code for status in pod.status.init_container_statuses] == [0, 0]
    assert cluster.log(pod.metadata.name, container="reader") == "first\nsecond\n"


def test_container_statuses_are_sorted_by_name_and_init_container_statuses_are_not(
    cluster: Cluster,
) -> None:
    inits = [cluster.container("true", name) for name in ("two", "one")]
    containers = [cluster.container("true", name) for name in ("main", "zipkin", "istio")]
    pod = cluster.finished(initContainers=inits, containers=containers)
    assert [one.name for one in pod.status.container_statuses] == ["istio", "main", "zipkin"]
    assert [one.name for one in pod.status.init_container_statuses] == ["two", "one"]


def test_a_failed_init_container_fails_the_pod_and_no_other_container_starts(cluster: Cluster) -> None:
    pod = cluster.finished(initContainers=[cluster.container("exit 5", "first")])
    assert pod.status.phase == "Failed"
    assert pod.status.init_container_statuses[0].state.terminated.exit_code == 5
    assert state(pod).waiting.reason == "PodInitializing"


def test_a_secret_volume_holds_its_keys_as_files(cluster: Cluster) -> None:
    secret = cluster.secret(url="redis://here")
    pod = cluster.finished(
        "cat /etc/redis/url",
        container={"volumeMounts": [{"name": "redis", "mountPath": "/etc/redis"}]},
        volumes=[{"name": "redis", "secret": {"secretName": secret}}],
    )
    assert cluster.log(pod.metadata.name) == "redis://here"


def test_a_failed_container_is_restarted_under_restart_policy_on_failure(cluster: Cluster) -> None:
    created = cluster.create_pod(
        "test -f /kept/seen || { touch /kept/seen; exit 1; }",
        restartPolicy="OnFailure",
        container={"volumeMounts": [{"name": "kept", "mountPath": "/kept"}]},
        volumes=[{"name": "kept", "emptyDir": {}}],
    )
    history = cluster.history(created, ended)
    assert history[-1].status.phase == "Succeeded"
    statuses = [status for pod in history for status in pod.status.container_statuses or []]
    assert statuses[-1].restart_count == 1
    # A real kubelet may have removed the first container by the end, and forgotten how that one ended.
    ends = [state.terminated for status in statuses for state in (status.state, status.last_state)]
    assert {end.exit_code for end in ends if end} == {0, 1}


def test_a_container_that_keeps_failing_is_restarted_with_a_back_off(cluster: Cluster) -> None:
    name = cluster.create("exit 1", restartPolicy="Always")
    pod = cluster.until(name, waits("CrashLoopBackOff"))
    assert pod.status.phase == "Running"
    assert "back-off 10s restarting failed container" in state(pod).waiting.message
    cluster.api.delete_namespaced_pod(name, cluster.namespace)
    cluster.until_gone(name)


def test_a_pod_that_exceeds_its_active_deadline_fails(cluster: Cluster) -> None:
    pod = cluster.finished("sleep 60", activeDeadlineSeconds=2)
    assert (pod.status.phase, pod.status.reason) == ("Failed", "DeadlineExceeded")


def test_a_deleted_pod_gets_a_signal_and_is_gone_once_it_has_ended(cluster: Cluster) -> None:
    name = cluster.running("trap 'echo asked; exit 7' TERM; echo ready; while true; do sleep 0.1; done")
    cluster.until_said(name)
    answer = cluster.api.delete_namespaced_pod(name, cluster.namespace, grace_period_seconds=20)
    assert answer.metadata.deletion_timestamp
    assert answer.metadata.deletion_grace_period_seconds == 20
    assert terminated(cluster.history(answer, ended)[-1]).exit_code == 7
    cluster.until_gone(name)


def test_a_pod_that_ignores_the_signal_is_killed_after_its_grace_period(cluster: Cluster) -> None:
    name = cluster.running("trap '' TERM; echo deaf; while true; do sleep 0.1; done")
    cluster.until_said(name)
    answer = cluster.api.delete_namespaced_pod(name, cluster.namespace, grace_period_seconds=1)
    assert terminated(cluster.history(answer, ended)[-1]).exit_code == 137
    cluster.until_gone(name)


def test_events_record_how_a_pod_was_started(cluster: Cluster) -> None:
    pod = cluster.finished()
    about = f"involvedObject.name={pod.metadata.name},involvedObject.uid={pod.metadata.uid}"

    def events(selector: str) -> list[Any]:
        return list(cluster.api.list_namespaced_event(cluster.namespace, field_selector=selector).items)

    assert [event.reason for event in events(about)] == ["Scheduled", "Pulled", "Created", "Started"]
    started = events(f"{about},reason=Started")[0]
    assert started.involved_object.field_path == "spec.containers{main}"
    assert (started.type, started.source.component) == ("Normal", "kubelet")
