"""The objects that clients write: their types, rules and defaults.

A model has the fields that matter to this endpoint. All other fields that Kubernetes has, by the models of
its Python client, are kept as they are.
"""

from __future__ import annotations

import base64
import random
from typing import Annotated, Any, Literal, Self

from kubernetes_asyncio.client import models
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""The characters that end a generated name: no vowels, so that they form no words."""


def _error(type_: str, message: str, field: str = "") -> PydanticCustomError:
    """Return an error of a value, or of the field below it that `field` names."""
    return PydanticCustomError(type_, "{message}", {"message": message, "field": field})


def _base64(text: str) -> str:
    try:
        # Line breaks are allowed, as the program base64 writes them.
        content = base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except ValueError:
        raise _error("base64", "it must be base64") from None
    return base64.b64encode(content).decode()


def _inner_path(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise _error("Invalid", "Invalid value: a path must be relative and must not contain '..'")
    return path


def _no_stdin(stdin: bool) -> bool:
    if stdin:
        why = "this endpoint connects no stdin to containers: use kubectl exec -i"
        raise _error("Forbidden", f"Forbidden: {why}")
    return stdin


_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_FIELD_PATHS = (
    r"metadata\.(name|namespace|uid|(labels|annotations)\['[^']+'\])"
    r"|spec\.(nodeName|serviceAccountName)|status\.(hostIP|podIP)"
)

_Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
_Given = Annotated[str, Field(min_length=1)]
_DnsName = Annotated[str, Field(max_length=253, pattern=rf"^{_DNS_SUBDOMAIN}$")]
_DnsLabel = Annotated[str, Field(max_length=63, pattern=rf"^{_DNS_LABEL}$")]
_LabelKey = Annotated[str, Field(max_length=317, pattern=rf"^({_DNS_SUBDOMAIN}/)?{_WORD}$")]
_LabelValue = Annotated[_Text, Field(pattern=rf"^({_WORD})?$")]
_Variable = Annotated[str, Field(pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")]
_SecretKey = Annotated[str, Field(max_length=253, pattern=r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")]
_Path = Annotated[str, AfterValidator(_inner_path)]
_Mode = Annotated[int, Field(ge=0, le=0o777)]
_FieldPath = Annotated[str, Field(pattern=rf"^({_FIELD_PATHS})$")]


class _Object(BaseModel):
    model_config = {"strict": True, "extra": "allow"}

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, value: Any, info: ValidationInfo) -> Any:
        """Leave out nulls, and fields that Kubernetes does not have unless they are to be refused."""
        if not isinstance(value, dict):
            return value
        known = set(getattr(models, f"V1{cls.__name__}").attribute_map.values())
        if info.context and (unknown := sorted(value.keys() - known)):
            raise _error("unknown", "unknown field", f".{unknown[0]}")
        return {name: each for name, each in value.items() if name in known and each is not None}


class _Sourced(_Object):
    """An object that has at most one field besides its name: where its content comes from."""

    @model_validator(mode="after")
    def _check_only_one_source(self) -> Self:
        sources = sorted(self.model_fields_set - {"name"})
        if len(sources) > 1:
            raise _error("Forbidden", "Forbidden: may not specify more than one source", f".{sources[1]}")
        return self


class ObjectMeta(_Object):
    name: _DnsName
    generateName: _Text | None = None
    namespace: _Text | None = None
    labels: dict[_LabelKey, _LabelValue] | None = None
    annotations: dict[_LabelKey, _Text] | None = None

    @model_validator(mode="before")
    @classmethod
    def _generate_name(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("name"):
            return value
        prefix = value.get("generateName")
        suffix = "".join(random.choices(_SUFFIX, k=5))  # noqa: S311 - a name, not a secret
        return {**value, "name": prefix + suffix if prefix and isinstance(prefix, str) else None}


class SecretKeySelector(_Object):
    name: _DnsName
    key: _SecretKey
    optional: bool | None = None


class ObjectFieldSelector(_Object):
    fieldPath: _FieldPath


class EnvVarSource(_Sourced):
    secretKeyRef: SecretKeySelector | None = None
    fieldRef: ObjectFieldSelector | None = None


class EnvVar(_Object):
    name: _Variable
    value: _Text | None = None
    valueFrom: EnvVarSource | None = None


class SecretEnvSource(_Object):
    name: _DnsName
    optional: bool | None = None


class EnvFromSource(_Object):
    prefix: _Variable | None = None
    secretRef: SecretEnvSource | None = None


class VolumeMount(_Object):
    name: _Given
    mountPath: _Given
    subPath: _Path | None = None


class Container(_Object):
    name: _DnsLabel
    image: _Given
    command: list[_Text] | None = None
    args: list[_Text] | None = None
    workingDir: _Text | None = None
    env: list[EnvVar] | None = None
    envFrom: list[EnvFromSource] | None = None
    volumeMounts: list[VolumeMount] | None = None
    imagePullPolicy: Literal["Always", "IfNotPresent", "Never"] | None = None
    terminationMessagePath: _Text = "/dev/termination-log"
    terminationMessagePolicy: Literal["File", "FallbackToLogsOnError"] = "File"
    stdin: Annotated[bool, AfterValidator(_no_stdin)] | None = None

    @model_validator(mode="after")
    def _choose_pull_policy(self) -> Container:
        if self.imagePullPolicy is None:
            _, _, tag = self.image.rsplit("/", 1)[-1].partition(":")
            self.imagePullPolicy = "Always" if tag in ("", "latest") else "IfNotPresent"
        return self


class KeyToPath(_Object):
    key: _Given
    path: Annotated[_Path, Field(min_length=1)]
    mode: _Mode | None = None


class SecretVolumeSource(_Object):
    secretName: _Given
    items: list[KeyToPath] | None = None
    defaultMode: _Mode = 0o644
    optional: bool | None = None


class Volume(_Sourced):
    name: _DnsLabel
    secret: SecretVolumeSource | None = None
    emptyDir: Any = None


class PodSpec(_Object):
    containers: Annotated[list[Container], Field(min_length=1)]
    initContainers: list[Container] | None = None
    volumes: list[Volume] | None = None
    restartPolicy: Literal["Always", "OnFailure", "Never"] = "Always"
    activeDeadlineSeconds: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    terminationGracePeriodSeconds: Annotated[int, Field(ge=0, le=2**31 - 1)] = 30
    hostname: _DnsLabel | None = None
    nodeName: _Text | None = None
    serviceAccountName: _Text = "default"
    dnsPolicy: _Text = "ClusterFirst"

    @model_validator(mode="after")
    def _check_references(self) -> PodSpec:
        volumes = {volume.name for volume in self.volumes or []}
        seen = set[str]()
        for group in ("initContainers", "containers"):
            for number, container in enumerate(getattr(self, group) or []):
                field = f".{group}[{number}]"
                if container.name in seen:
                    raise _error("Duplicate", f'Duplicate value: "{container.name}"', f"{field}.name")
                seen.add(container.name)
                for n, mount in enumerate(container.volumeMounts or []):
                    if mount.name not in volumes:
                        message = f'Not found: "{mount.name}"'
                        raise _error("NotFound", message, f"{field}.volumeMounts[{n}].name")
        return self


class Pod(_Object):
    metadata: ObjectMeta
    spec: PodSpec


class Secret(_Object):
    metadata: ObjectMeta
    type: _Text = "Opaque"
    data: dict[_SecretKey, Annotated[_Text, AfterValidator(_base64)]] = {}
    stringData: dict[_SecretKey, _Text] | None = None

    @model_validator(mode="after")
    def _encode_texts(self) -> Secret:
        for name, text in (self.stringData or {}).items():
            self.data[name] = base64.b64encode(text.encode()).decode()
        self.stringData = None
        return self


class Namespace(_Object):
    metadata: ObjectMeta


class Preconditions(_Object):
    uid: _Text | None = None
    resourceVersion: _Text | None = None


class DeleteOptions(_Object):
    gracePeriodSeconds: int | None = None
    dryRun: list[_Text] | None = None
    preconditions: Preconditions | None = None
