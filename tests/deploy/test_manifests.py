"""What the manifests say, held against what the DAGs do."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from kubernetes.utils import parse_quantity
from kubernetes_asyncio.client import ApiException

import airflow_pods as pods
from airflow_pods import PodOperator, requests
from airflow_pods.errors import api_error
from dags import cpu, cpu_answers, cpu_cancel, cpu_start, cpu_watch, settings
from tests.support.manifests import FOLDER, kustomization, manifest

# As the Kubernetes clients name a call → as a Role names it.
VERBS = {"create": "create", "read": "get", "patch": "patch", "replace": "update", "delete": "delete"}
VERBS["delete_collection"] = "deletecollection"
MOST_CPUS = 400


def pod_operators() -> list[PodOperator]:
    dags = (cpu, cpu_answers, cpu_cancel, cpu_start, cpu_watch)
    return [task for dag in dags for task in dag.dag.tasks if isinstance(task, PodOperator)]


def a_pod(**changes: Any) -> pods.Manifest:
    arguments = {
        "name": "cpu-1",
        "arguments": ["exec"],
        "labels": pod_operators()[0].labels,
        "active_deadline_seconds": 600,
        **{name: settings.POD[name] for name in ("namespace", "image", "env_vars", "secret_env_vars")},
    }
    return pods.manifest_of(**{**arguments, **changes})


def test_kustomization_lists_every_manifest_of_the_folder() -> None:
    files = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization()["resources"]) == files


def test_the_namespace_is_the_default_of_the_dags() -> None:
    assert kustomization()["namespace"] == manifest("Namespace")["metadata"]["name"] == "cpu-jobs"
    assert 'os.environ.get("CPU_NAMESPACE", "cpu-jobs")' in Path(settings.__file__).read_text()


def test_the_role_grants_exactly_the_verbs_that_the_operator_calls() -> None:
    source = Path(requests.__file__).read_text()
    calls = re.findall(r"\bapi\.([a-z_]+)_namespaced_(\w+)", source)
    # A watch is a list with a parameter.
    listed = source.count("api.list_namespaced_pod")
    watched = len(re.findall(r"api\.list_namespaced_pod\(\s*namespace,\s*watch=True", source))
    lists = {"list"} if listed > watched else set[str]()
    watches = {"watch"} if watched else set[str]()
    needed = {VERBS[call] for call, _ in calls if call != "list"} | lists | watches
    assert {kind for _, kind in calls} == {"pod"}
    [rule] = manifest("Role")["rules"]
    assert (rule["apiGroups"], rule["resources"], set(rule["verbs"])) == ([""], ["pods"], needed)


def test_the_operator_s_error_names_the_rights_that_the_role_grants() -> None:
    *verbs, last = manifest("Role")["rules"][0]["verbs"]
    forbidden = ApiException(status=403, reason="Forbidden")
    assert f"needs {', '.join(verbs)} and {last} on pods" in str(api_error(a_pod(), forbidden))


def test_the_network_policy_applies_to_every_pod_of_the_namespace() -> None:
    """A pod without the right labels would otherwise be free to talk to anybody."""
    assert manifest("NetworkPolicy")["spec"]["podSelector"] == {}


def test_the_network_policy_allows_only_redis_and_dns() -> None:
    spec = manifest("NetworkPolicy")["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in spec
    redis, names = spec["egress"]
    assert [port["port"] for port in redis["ports"]] == [6379]
    assert {port["port"] for port in names["ports"]} == {53}
    for peer in (*redis["to"], *names["to"]):
        if "ipBlock" in peer:
            assert peer == {"ipBlock": {"cidr": "169.254.20.10/32"}}, "the node's own name service"
        else:
            # In a namespace that is named: a pod of any other may call itself Redis.
            assert list(peer["namespaceSelector"]["matchLabels"]) == ["kubernetes.io/metadata.name"]
            assert peer["podSelector"]


def test_the_quota_equals_the_requests_of_the_most_pods_at_once() -> None:
    hard = manifest("ResourceQuota")["spec"]["hard"]
    at_once = settings.cpus_at_once(str(MOST_CPUS)) + cpu_start.STORES_AT_ONCE
    assert cpu_start.dag.get_task("store").max_active_tis_per_dag == cpu_start.STORES_AT_ONCE
    with pytest.raises(ValueError, match="CPUS_AT_ONCE"):
        settings.cpus_at_once(str(MOST_CPUS + 1))
    [container] = a_pod()["spec"]["containers"]
    asked = {
        f"{bound}.{what}": parse_quantity(amount) * at_once
        for bound, amounts in container["resources"].items()
        for what, amount in amounts.items()
    }
    assert {name: parse_quantity(amount) for name, amount in hard.items()} == {
        "pods": Decimal(at_once),
        **asked,
    }


def test_the_limit_range_defaults_to_the_resources_of_a_cycle() -> None:
    [limits] = manifest("LimitRange")["spec"]["limits"]
    [container] = a_pod()["spec"]["containers"]
    assert limits["defaultRequest"] == container["resources"]["requests"]
    assert limits["default"] == limits["max"] == container["resources"]["limits"]


def test_pods_meet_the_restricted_pod_security_standard() -> None:
    """The standard's demands, from the Kubernetes documentation (Pod Security Standards, Restricted)."""
    labels = manifest("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    spec = a_pod()["spec"]
    [container] = spec["containers"]
    security = container["securityContext"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"} & spec.keys()
    assert not {"privileged", "procMount", "runAsUser", "seccompProfile"} & security.keys()
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("said", ["exceeded quota: cpus", "status unknown for quota: cpus"])
def test_a_pod_refused_by_a_quota_is_tried_again(said: str) -> None:
    error = ApiException(status=403, reason="Forbidden")
    error.body = f'{{"message": "pods \\"cpu-1\\" is forbidden: {said}, resources: pods"}}'.encode()
    trouble = api_error(a_pod(), error)
    assert isinstance(trouble, pods.PodFailed)
    assert said in str(trouble)
    assert "raise the quota" in str(trouble)
