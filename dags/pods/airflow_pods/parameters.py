"""The parameters by which `PodOperator` shapes its pod: each is short for a field of the pod's definition.

They are named as in the stock ``KubernetesPodOperator``, and take what it takes: objects of the Kubernetes
client, or dicts in the fields of the Kubernetes API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, XComArg

from airflow_pods.definition import Definition, literal, plain, read_definition

SPEC_FIELDS = {
    "affinity": "affinity",
    "image_pull_secrets": "imagePullSecrets",
    "init_containers": "initContainers",
    "node_selector": "nodeSelector",
    "priority_class_name": "priorityClassName",
    "security_context": "securityContext",
    "service_account_name": "serviceAccountName",
    "tolerations": "tolerations",
    "volumes": "volumes",
}
"""Parameter → field of the pod's spec."""
CONTAINER_FIELDS = {
    "container_resources": "resources",
    "container_security_context": "securityContext",
    "env_from": "envFrom",
    "image_pull_policy": "imagePullPolicy",
    "volume_mounts": "volumeMounts",
}
"""Parameter → field of the main container."""
WHOLE_PODS = ("pod", "full_pod_spec", "pod_template_dict", "pod_template_file")
"""The parameters that give a whole pod, of which only one may be given."""
ADDED = {"env_from", "init_containers", "volume_mounts", "volumes"}
"""Parameters that add to what the whole pod has; the others replace it."""
TEMPLATED = {
    "container_resources",
    "env_from",
    "env_vars",
    "node_selector",
    "pod",
    "pod_template_dict",
    "volume_mounts",
    "volumes",
}
"""Parameters whose texts are templates: `pod`, and those of which the stock operator renders the texts."""


class ShapedPod(BaseOperator):
    """The part of `PodOperator` that turns parameters into the definition of a pod, once, for all its tries.

    Which of them are templated is in `TEMPLATED`.

    :param pod: a whole pod: a dict, a ``V1Pod``, or the path of a YAML file beside the DAG file. It wins over
        the restricted defaults, and all other parameters win over it
    :param full_pod_spec, pod_template_dict, pod_template_file: other names of `pod`, two of them without
        templates
    :param env_vars: environment variables: name → value, or a list of ``V1EnvVar``
    :param env_from, volume_mounts, container_resources, container_security_context, image_pull_policy: fields
        of the main container
    :param volumes, init_containers, affinity, tolerations, node_selector, service_account_name,
        image_pull_secrets, security_context, priority_class_name: fields of the pod's spec
    """

    def __init__(
        self,
        *,
        pod: Any = None,
        full_pod_spec: Any = None,
        pod_template_dict: Mapping[str, Any] | None = None,
        pod_template_file: str | None = None,
        env_vars: Mapping[str, str] | Sequence[Any] | None = None,
        env_from: Sequence[Any] | None = None,
        volumes: Sequence[Any] | None = None,
        volume_mounts: Sequence[Any] | None = None,
        container_resources: Any = None,
        container_security_context: Any = None,
        image_pull_policy: str | None = None,
        init_containers: Sequence[Any] | None = None,
        affinity: Any = None,
        tolerations: Sequence[Any] | None = None,
        node_selector: Mapping[str, str] | None = None,
        service_account_name: str | None = None,
        image_pull_secrets: Sequence[Any] | None = None,
        security_context: Any = None,
        priority_class_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.env_vars, from_elsewhere = variables_of(env_vars)
        shape = {
            "pod": pod,
            "full_pod_spec": full_pod_spec,
            "pod_template_dict": pod_template_dict,
            "pod_template_file": pod_template_file,
            "env_from": env_from,
            "volumes": volumes,
            "volume_mounts": volume_mounts,
            "container_resources": container_resources,
            "container_security_context": container_security_context,
            "image_pull_policy": image_pull_policy,
            "init_containers": init_containers,
            "affinity": affinity,
            "tolerations": tolerations,
            "node_selector": node_selector,
            "service_account_name": service_account_name,
            "image_pull_secrets": image_pull_secrets,
            "security_context": security_context,
            "priority_class_name": priority_class_name,
        }
        self.pod = definition_of(self._folder(), from_elsewhere, **shape)
        # By their ids Airflow tells which parameters of a mapped task come from an XCom, which has no texts
        # that are templates.
        shaping = {**shape, "env_vars": env_vars if from_elsewhere else None}
        self._templated_shapes = {
            id(value): name for name, value in shaping.items() if name in TEMPLATED and value
        }
        self._env_vars_id = id(env_vars)

    def _folder(self) -> Path:
        """Return the folder of the DAG file."""
        dag: Any = self.get_dag()
        return Path(dag.fileloc).parent if dag else Path()


def definition_of(
    folder: str | PathLike[str], variables: Sequence[Mapping[str, Any]] = (), **parameters: Any
) -> Definition | None:
    """Return the pod's definition by those of the parameters above that are given; None if none is.

    ``variables`` are environment variables as the Kubernetes API takes them. A file's relative path is one
    from ``folder``. The texts are templates; those that are not to be rendered become templates that render
    to themselves. Raises ValueError, which names the field or the parameter, for what cannot be a pod.
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    whole = [name for name in WHOLE_PODS if name in given]
    if len(whole) > 1:
        raise ValueError(f"{' and '.join(whole)}: give only one of them")
    if not given and not variables:
        return None
    definition = read_definition(given[whole[0]] if whole else {}, folder)
    if whole and whole[0] not in TEMPLATED:
        definition = literal(definition)
    spec = definition["spec"]
    main = spec["containers"][0]
    for fields, holder in ((SPEC_FIELDS, spec), (CONTAINER_FIELDS, main)):
        for name in fields.keys() & given.keys():
            value = plain(given[name], name)
            value = value if name in TEMPLATED else literal(value)
            holder[fields[name]] = _value(name, value, holder.get(fields[name]))
    if variables:
        names = {variable["name"] for variable in variables}
        kept = [variable for variable in main.get("env") or [] if variable["name"] not in names]
        main["env"] = [*kept, *variables]
    return read_definition(definition)


def variables_of(env_vars: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Split environment variables into name → value, and those that take their value from elsewhere.

    ``env_vars`` is a dict, or a list of ``V1EnvVar``. A value is a text, or the output of another task.
    Raises ValueError for anything else.
    """
    if isinstance(env_vars, Mapping):
        variables: Any = [{"name": name, "value": value} for name, value in env_vars.items()]
    else:
        variables = plain(env_vars or [], "env_vars")
    values: dict[str, Any] = {}
    sources: list[dict[str, Any]] = []
    if not isinstance(variables, list):
        raise ValueError(f"env_vars: give it a dict or a list of V1EnvVar, not {type(env_vars).__name__}")
    for index, variable in enumerate(variables):
        if not isinstance(variable, dict) or not isinstance(variable.get("name"), str):
            raise ValueError(f"env_vars[{index}]: it must be a V1EnvVar or a dict with a name")
        value = variable.get("value", "")
        if "valueFrom" in variable or "value_from" in variable:
            sources.append(variable)
        elif isinstance(value, (str, XComArg)):
            values[variable["name"]] = value
        else:
            raise ValueError(f"env_vars: {variable['name']} is {value!r}; write it as text")
    return values, sources


def _value(name: str, value: Any, before: Any) -> Any:
    if name not in ADDED:
        return value
    if not isinstance(value, list):
        raise ValueError(f"{name}: it must be a list, not {type(value).__name__}")
    return [*(before or []), *value]
