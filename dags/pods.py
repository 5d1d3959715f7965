"""Run one pod and take its result: create, watch, read the termination message, clean up.

This file knows nothing of CPUs. Take it along for any container that ends by leaving one JSON
object in its termination message (``/dev/termination-log``, at most 4,096 bytes): no sidecar, no
shared volume, no exec.

A pod's name is its identity. A task that is tried again finds the pod of the first try and waits for
it or takes its result; only a pod that failed is replaced. So a job must stand being run again, which
is what the guard of a CPU cycle is for.

Exit codes: 0, the result is in the termination message; 2, trying again can't help, and the task fails
at once; any other, the task is tried again.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BranchMixIn
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from airflow.sdk import Context
    from kubernetes_asyncio.client import ApiException, CoreV1Api, V1ContainerStatus, V1Pod

# As the Kubernetes API takes it; Any, for the client's types ask for its own classes.
Manifest = Any
Result = dict[str, Any]

PERMANENT_EXIT_CODE = 2
# A container waiting for one of these is not going to start without somebody's help.
STUCK = {
    "CreateContainerConfigError": "the Secret or ConfigMap it names must exist in the namespace",
    "CreateContainerError": "the image's command or the pod's settings must be put right",
    "ErrImageNeverPull": "the image must be on the node, or imagePullPolicy must allow pulling it",
    "ImagePullBackOff": "the image must exist under that name, and the node must be allowed to pull it",
    "InvalidImageName": "the image's name must be put right",
}
# Beyond the pod's own deadline: time to be scheduled, to have its image pulled, to be told of.
GRACE_SECONDS = 120
# For how long a call to the Kubernetes API is made again while its trouble is temporary.
PATIENCE_SECONDS = 30


class PodFailed(AirflowException):
    """The pod gave no result; trying again may help."""


class PodRefused(AirflowFailException):
    """The pod gave no result, and trying again can't help."""


# ------------------------------------------------------------------ what a pod says of itself


def container(pod: V1Pod) -> V1ContainerStatus | None:
    """The status of the pod's one container, once there is one."""
    return pod.status.container_statuses[0] if pod.status.container_statuses else None


def is_finished(pod: V1Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def why_stuck(pod: V1Pod) -> str | None:
    """Why the container will not start by itself, with the remedy; None when it may yet."""
    status = container(pod)
    waiting = status.state.waiting if status and status.state else None
    if waiting is None or waiting.reason not in STUCK:
        return None
    return f"{waiting.reason}: {waiting.message or 'no further word'} ({STUCK[waiting.reason]})"


def result_of(pod: V1Pod) -> Result:
    """The JSON object a finished pod left.

    Raises PodFailed or PodRefused with the pod's own words when it failed, PodRefused when what it
    left is no JSON object.
    """
    name = pod.metadata.name
    status = container(pod)
    end = status.state.terminated if status and status.state else None
    if pod.status.phase == "Succeeded" and end is not None:
        try:
            result = json.loads(end.message or "")
        except ValueError:
            result = None
        if isinstance(result, dict):
            return result
        if pod.metadata.deletion_timestamp is not None:
            raise PodFailed(f"pod {name} was deleted before it left a result")
        raise PodRefused(f"pod {name} ended well but left no JSON object as its result: {end.message!r}")
    said = (end.message if end else None) or pod.status.message or "it left no message"
    reason = pod.status.reason or (end.reason if end else None) or pod.status.phase
    code = f", exit code {end.exit_code}" if end else ""
    refused = end is not None and end.exit_code == PERMANENT_EXIT_CODE
    raise (PodRefused if refused else PodFailed)(f"pod {name} failed ({reason}{code}): {said.strip()}")


# ------------------------------------------------------------------ one pod, from create to clean-up


@asynccontextmanager
async def core_v1(conn_id: str) -> AsyncIterator[CoreV1Api]:
    """The Kubernetes API that the Airflow connection leads to."""
    # Imported here: a DAG file that imports the provider at top level costs every task seconds.
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
    from kubernetes_asyncio.client import CoreV1Api

    async with AsyncKubernetesHook(conn_id=conn_id).get_conn() as client:
        yield CoreV1Api(client)


async def run_pod(conn_id: str, manifest: Manifest) -> Result:
    """Run the pod to its end, whoever created it, and delete it once its result is taken.

    Raises PodRefused or PodFailed. A pod that failed is left for people to look at.
    """
    import aiohttp
    from kubernetes_asyncio.client import ApiException

    seconds = manifest["spec"]["activeDeadlineSeconds"] + GRACE_SECONDS
    name = manifest["metadata"]["name"]
    try:
        async with asyncio.timeout(seconds) as deadline, core_v1(conn_id) as api:
            first = await created(api, manifest)
            pod = await watched(api, first, lambda pod: is_finished(pod) or why_stuck(pod) is not None)
            if pod is None:
                raise PodFailed(f"pod {name} was deleted before it ended")
            if not is_finished(pod):
                await delete(api, pod)
                raise PodFailed(f"pod {name} can't start: {why_stuck(pod)}")
            result = result_of(pod)
            await delete(api, pod)
            return result
    except ApiException as error:
        raise api_trouble(manifest, error) from error
    except (aiohttp.ClientError, OSError) as error:
        if deadline.expired():
            raise PodFailed(f"pod {name} did not end within {seconds} s") from error
        raise PodFailed(f"the Kubernetes API does not answer: {error or type(error).__name__}") from error


async def created(api: CoreV1Api, manifest: Manifest) -> V1Pod:
    """Create the pod, or find the one an earlier try created; one that failed is replaced."""
    from kubernetes_asyncio.client import ApiException

    namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    while True:
        try:
            return await patiently(lambda: api.create_namespaced_pod(namespace, manifest))
        except ApiException as error:
            if error.status != 409:
                raise
        try:
            pod = await patiently(lambda: api.read_namespaced_pod(name, namespace))
        except ApiException as error:
            if error.status != 404:
                raise
            continue  # gone between the two calls
        if pod.metadata.deletion_timestamp is None and pod.status.phase != "Failed":
            return pod
        await delete(api, pod)
        await watched(api, pod, lambda _: False)


async def watched(api: CoreV1Api, pod: V1Pod, done: Callable[[V1Pod], bool]) -> V1Pod | None:
    """Watch from the pod as it is known until it is done; None once it is deleted."""
    from kubernetes_asyncio.client import ApiException
    from kubernetes_asyncio.watch import Watch

    namespace, name, uid = pod.metadata.namespace, pod.metadata.name, pod.metadata.uid
    while not done(pod):
        try:
            async with Watch().stream(
                api.list_namespaced_pod,
                namespace,
                field_selector=f"metadata.name={name}",
                resource_version=pod.metadata.resource_version,
                timeout_seconds=60,
                _request_timeout=90,
            ) as events:
                async for event in events:
                    pod = event["object"]
                    if event["type"] == "DELETED" or pod.metadata.uid != uid:
                        return None
                    if done(pod):
                        return pod
        except Exception as error:
            if not is_temporary(error) and getattr(error, "status", None) != 410:
                raise
        # The stream has ended, broke or began too long ago: look again, then watch from there.
        try:
            pod = await patiently(lambda: api.read_namespaced_pod(name, namespace))
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        if pod.metadata.uid != uid:
            return None
    return pod


async def delete(api: CoreV1Api, pod: V1Pod) -> None:
    """Delete this very pod, not a later one of its name."""
    from kubernetes_asyncio.client import ApiException

    options: Any = {"preconditions": {"uid": pod.metadata.uid}, "gracePeriodSeconds": 1}
    name, namespace = pod.metadata.name, pod.metadata.namespace
    try:
        await patiently(lambda: api.delete_namespaced_pod(name, namespace, body=options))
    except ApiException as error:
        if error.status not in (404, 409):
            raise


def is_temporary(error: BaseException) -> bool:
    """Whether a call to the Kubernetes API that failed so may be made again."""
    import aiohttp
    from kubernetes_asyncio.client import ApiException

    if isinstance(error, ApiException):
        return error.status == 429 or error.status >= 500
    return isinstance(error, (aiohttp.ClientError, OSError))


async def patiently(call: Callable[[], Awaitable[V1Pod]]) -> V1Pod:
    """Make a call to the Kubernetes API, again for some time while its trouble is temporary."""
    from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

    async for attempt in AsyncRetrying(
        retry=retry_if_exception(is_temporary),
        wait=wait_exponential_jitter(multiplier=0.2, max=5),
        stop=stop_after_delay(PATIENCE_SECONDS),
        reraise=True,
    ):
        with attempt:
            return await call()
    raise AssertionError("the last attempt raises what it met")


def api_trouble(manifest: Manifest, error: ApiException) -> PodFailed | PodRefused:
    """What the Kubernetes API would not do, in one sentence with the remedy."""
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    try:
        said = json.loads(error.body or "")["message"]
    except (TypeError, ValueError, KeyError):
        said = error.reason
    what = f"the Kubernetes API refused pod {name} in namespace {namespace}: {error.status} {said}"
    if error.status == 403 and "exceeded quota" in said:
        return PodFailed(f"{what} (wait for pods to end, raise the quota, or run fewer at once)")
    if is_temporary(error):
        return PodFailed(what)
    remedies = {
        401: "the connection's credentials are not accepted: renew them",
        403: "the connection's account needs create, get, list, watch and delete on pods there",
        404: "create the namespace first",
    }
    remedy = remedies.get(error.status, "the pod's definition must be put right")
    return PodRefused(f"{what} ({remedy})")


# ------------------------------------------------------------------ the operator and its trigger


def manifest_of(
    name: str,
    namespace: str,
    image: str,
    args: Sequence[str],
    labels: Mapping[str, str],
    env: Mapping[str, str],
    secret_env: Mapping[str, tuple[str, str]],
    deadline_seconds: int,
) -> Manifest:
    """A pod with one container that meets the ``restricted`` Pod Security Standard.

    ``secret_env`` maps a variable to (Secret's name, key). Kubernetes expands ``$(NAME)`` in arguments;
    ``$$`` stands for a literal ``$``, so that nothing in them is taken for a variable.
    """
    plain = [{"name": key, "value": value} for key, value in env.items()]
    secret = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": name_, "key": key}}}
        for variable, (name_, key) in secret_env.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "activeDeadlineSeconds": deadline_seconds,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": [arg.replace("$", "$$") for arg in args],
                    "env": plain + secret,
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"cpu": "1", "memory": "256Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                }
            ],
        },
    }


class PodTrigger(BaseTrigger):
    """Runs the pod in the triggerer: 400 pods in flight need no workers.

    Its one event is ``{"result": …}``, or ``{"error": sentence, "refused": bool}``.
    """

    def __init__(self, conn_id: str, manifest: Manifest) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.manifest = manifest

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "dags.pods.PodTrigger", {"conn_id": self.conn_id, "manifest": self.manifest}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        event: dict[str, Any]
        try:
            event = {"result": await run_pod(self.conn_id, self.manifest)}
        except (PodFailed, PodRefused) as error:
            event = {"error": str(error), "refused": isinstance(error, PodRefused)}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        await delete_by_name(self.conn_id, self.manifest)


async def delete_by_name(conn_id: str, manifest: Manifest) -> None:
    """Delete the pod of a task that somebody ended; it may be gone already."""
    from kubernetes_asyncio.client import ApiException

    async with core_v1(conn_id) as api:
        try:
            await api.delete_namespaced_pod(manifest["metadata"]["name"], manifest["metadata"]["namespace"])
        except ApiException as error:
            if error.status != 404:
                raise


class PodOperator(BaseOperator, BranchMixIn):
    """Runs one pod; its result is the task's XCom.

    :param name: the pod's name, a DNS label that is the same in every try (templated)
    :param args: arguments for the image's entrypoint (templated; or a callable that makes them)
    :param branch: given the result, says which downstream task to follow; without it all are
    :param deferrable: wait in the triggerer rather than in a worker

    For the other parameters see :func:`manifest_of`.
    """

    # The scheduler reads what a task chose from its XCom, for classes that say so. The branch is taken
    # here, not in a task of its own, because every task of a cycle costs as much as the pod does.
    inherits_from_skipmixin = True
    template_fields: Sequence[str] = ("pod_name", "args", "labels")

    def __init__(
        self,
        *,
        name: str,
        namespace: str,
        image: str,
        args: Sequence[str] | Callable[..., Sequence[str]],
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        secret_env: Mapping[str, tuple[str, str]] | None = None,
        deadline_seconds: int = 600,
        branch: Callable[[Result], str] | None = None,
        deferrable: bool = False,
        conn_id: str = "kubernetes_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pod_name = name
        self.namespace = namespace
        self.image = image
        self.args = args
        self.labels = labels or {}
        self.env = env or {}
        self.secret_env = secret_env or {}
        self.deadline_seconds = deadline_seconds
        self.branch = branch
        self.deferrable = deferrable
        self.conn_id = conn_id

    def manifest(self) -> Manifest:
        if callable(self.args):
            raise TypeError("args are made when the task's templates are rendered")
        return manifest_of(
            self.pod_name,
            self.namespace,
            self.image,
            self.args,
            self.labels,
            self.env,
            self.secret_env,
            self.deadline_seconds,
        )

    def execute(self, context: Context) -> Result:
        manifest = self.manifest()
        self.log.info("Pod %s in namespace %s", self.pod_name, self.namespace)
        if self.deferrable:
            self.defer(trigger=PodTrigger(self.conn_id, manifest), method_name="resume")
        return self.take(context, asyncio.run(run_pod(self.conn_id, manifest)))

    def resume(self, context: Context, event: dict[str, Any]) -> Result:
        """Go on where the trigger ended."""
        if "error" in event:
            raise (PodRefused if event["refused"] else PodFailed)(event["error"])
        return self.take(context, event["result"])

    def take(self, context: Context, result: Result) -> Result:
        """Log the result, which is the pod's output, and follow the branch it leads to."""
        self.log.info("%s", json.dumps(result, ensure_ascii=False))
        if self.branch is None:
            return result
        # Pushed before the branch: choosing ends the task by an exception when it skips others.
        context["ti"].xcom_push(key="return_value", value=result)
        self.do_branch(context, self.branch(result))
        return result

    def on_kill(self) -> None:
        # Called from a signal handler, in the thread whose event loop is at work: so another thread's.
        killer = threading.Thread(
            target=lambda: asyncio.run(delete_by_name(self.conn_id, self.manifest())), daemon=True
        )
        killer.start()
        killer.join(timeout=15)
