"""The stack's objects on the cluster, local endpoint or real: a namespace, and a Secret with Redis' URL."""

from __future__ import annotations

from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from scripts.local.errors import StackError
from scripts.local.settings import SECRET, Settings


def core_api(settings: Settings) -> Any:
    """Return a client of the cluster's core/v1 API. Raises StackError if the kubeconfig is not valid."""
    try:
        return client.CoreV1Api(
            config.new_client_from_config(
                config_file=str(settings.cluster_config), context=settings.context, persist_config=False
            )
        )
    except ConfigException as error:
        raise StackError(f"{settings.cluster_config} is not a valid kubeconfig: {error}") from error


def is_ready(settings: Settings) -> bool:
    """Return whether the cluster answers.

    Raises StackError if it never will: the kubeconfig given does not exist or has too few rights.
    """
    if not settings.cluster_config.exists():
        if settings.kubeconfig:
            raise StackError(
                f"the kubeconfig {settings.kubeconfig} does not exist: give another with --kubeconfig"
            )
        return False
    try:
        core_api(settings).list_namespace(limit=1, _request_timeout=5)
    except ApiException as error:
        if settings.kubeconfig and error.status in {401, 403}:
            raise StackError(
                f"{settings.cluster_config} has no right to list the cluster's namespaces ({error.reason}): "
                f"use a kubeconfig that has it"
            ) from error
        return False
    except HTTPError:
        return False
    return True


def prepare(settings: Settings, redis_url: str) -> None:
    """Create the namespace if it does not exist, and create or replace the Secret with Redis' URL."""
    api = core_api(settings)
    namespace = client.V1Namespace(metadata=client.V1ObjectMeta(name=settings.namespace))
    secret = client.V1Secret(metadata=client.V1ObjectMeta(name=SECRET), string_data={"url": redis_url})
    try:
        _create(api.create_namespace, namespace)
        if not _create(api.create_namespaced_secret, settings.namespace, secret):
            api.replace_namespaced_secret(SECRET, settings.namespace, secret)
    except ApiException as error:
        raise StackError(
            f"the cluster refuses namespace {settings.namespace!r} or Secret {SECRET!r} in it: {error.reason}"
        ) from error


def _create(create: Any, *arguments: Any) -> bool:
    """Create an object; return False if it exists already."""
    try:
        create(*arguments)
    except ApiException as error:
        if error.status != 409:
            raise
        return False
    return True
