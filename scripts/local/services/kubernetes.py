"""What the stack puts on the cluster, the local endpoint or a real one: a namespace and Redis' address."""

from __future__ import annotations

from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from scripts.local.errors import StackError
from scripts.local.settings import SECRET, Settings


def core_api(settings: Settings) -> Any:
    """A client of the cluster's core/v1 API; raises StackError when the kubeconfig does not do."""
    try:
        return client.CoreV1Api(
            config.new_client_from_config(
                config_file=str(settings.cluster_config), context=settings.context, persist_config=False
            )
        )
    except ConfigException as error:
        raise StackError(f"{settings.cluster_config} is no kubeconfig to use: {error}") from error


def is_ready(settings: Settings) -> bool:
    """Whether the cluster answers."""
    if not settings.cluster_config.exists():
        if settings.kubeconfig:
            raise StackError(f"there is no kubeconfig {settings.kubeconfig}: give another with --kubeconfig")
        return False
    try:
        core_api(settings).list_namespace(limit=1, _request_timeout=5)
    except ApiException as error:
        if settings.kubeconfig and error.status in {401, 403}:
            raise StackError(
                f"{settings.cluster_config} may not list the cluster's namespaces ({error.reason}): "
                f"use one that is"
            ) from error
        return False
    except HTTPError:
        return False
    return True


def prepare(settings: Settings, redis_url: str) -> None:
    """Make sure of the namespace, and of the Secret with Redis' address in it."""
    api = core_api(settings)
    namespace = client.V1Namespace(metadata=client.V1ObjectMeta(name=settings.namespace))
    secret = client.V1Secret(metadata=client.V1ObjectMeta(name=SECRET), string_data={"url": redis_url})
    try:
        create_or(lambda: api.create_namespace(namespace), lambda: None)
        create_or(
            lambda: api.create_namespaced_secret(settings.namespace, secret),
            lambda: api.replace_namespaced_secret(SECRET, settings.namespace, secret),
        )
    except ApiException as error:
        raise StackError(
            f"the cluster refuses namespace {settings.namespace!r} or Secret {SECRET!r} in it: {error.reason}"
        ) from error


def create_or(create: Any, otherwise: Any) -> None:
    """Create; where it exists already, do the other thing."""
    try:
        create()
    except ApiException as error:
        if error.status != 409:
            raise
        otherwise()
