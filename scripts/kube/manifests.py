"""The objects that clients write: their types, rules and defaults.

A model has the fields that matter to this endpoint. All other fields that Kubernetes has, by the models of
its Python client, are kept as they are.
"""

from __future__ import annotations

import base64
import random
import re
from typing import Annotated, Any, Literal

from kubernetes_asyncio.client import models
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""The characters that end a generated name: no vowels, so that they form no words."""


def error(type_: str, message: str, field: str = "") -> PydanticCustomError:
    """Return an error of a value, or of the field below it that `field` names."""
    return PydanticCustomError(type_, "{message}", {"message": message, "field": field})


def _matching(pattern: str, rule: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text, re.DOTALL):
            raise error("Invalid", f'Invalid value: "{text}": {rule}')
        return text

    return AfterValidator(check)


def _int64(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise error("int_size", "it must be an integer of 64 bits")
    return number


def _quantity(value: Any) -> str:
    pattern = r"[+-]?[0-9.]+([eEinumkKMGTP]*[-+]?[0-9]*)"
    if type(value) not in (str, int, float) or not re.fullmatch(pattern, str(value)):
        raise error("quantity", "it must be a quantity such as 500m or 1Gi")
    return str(value)


def _base64(text: str) -> str:
    try:
        # Line breaks are allowed, as the program base64 writes them.
        content = base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True)
    except ValueError:
        raise error("base64", "it must be base64") from None
    return base64.b64encode(content).decode()


_ENDS = "with a letter or digit at both ends"
_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"(?=.{1,253}(/|\Z))[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_name = _matching(_SUBDOMAIN, f"a lowercase RFC 1123 subdomain has a-z, digits, '-' and '.', {_ENDS}")
_label = _matching(
    r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
    f"a lowercase RFC 1123 label has at most 63 of a-z, digits and '-', {_ENDS}",
)
_label_key = _matching(rf"({_SUBDOMAIN}/)?{_WORD}", f"a key has letters, digits, '-', '_' and '.', {_ENDS}")
_label_value = _matching(f"({_WORD})?", f"a value has at most 63 letters, digits, '-', '_' and '.', {_ENDS}")
_variable = _matching(r"[-._a-zA-Z][-._a-zA-Z0-9]*", "a variable has letters, '-', '_', '.' and later digits")
_config_key = _matching(r"(?!\.\.)[-._a-zA-Z0-9]{1,253}", "a key has letters, digits, '-', '_' and '.'")
_path = _matching(r"(?!/)(?!(.*/)?\.\.(/|\Z)).*", "a path must be relative and must not contain '..'")
_image = _matching(r"\S(.*\S)?", "must not have leading or trailing whitespace")
_field_path = _matching(
    r"metadata\.(name|namespace|uid|(labels|annotations)\['[^']+'\])|spec\.(nodeName|serviceAccountName)"
    r"|status\.(hostIP|podIP)",
    "error converting fieldPath: field label not supported",
)

_Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
_Given = Annotated[str, Field(min_length=1)]
_Name = Annotated[str, _name]
_Label = Annotated[str, _label]
_Int = Annotated[int, AfterValidator(_int64)]
_Mode = Annotated[_Int, Field(ge=0, le=0o777)]
_Quantity = Annotated[str, BeforeValidator(_quantity)]


class _Object(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, value: Any, info: ValidationInfo) -> Any:
        """Leave out nulls, and fields that Kubernetes does not have unless they are to be refused."""
        if not isinstance(value, dict):
            return value
        known = set(getattr(models, f"V1{cls.__name__}").attribute_map.values())
        if info.context and (unknown := sorted(value.keys() - known)):
            raise error("unknown", "unknown field", f".{unknown[0]}")
        return {name: each for name, each in value.items() if name in known and each is not None}


class ObjectMeta(_Object):
    name: _Name
    generateName: _Text | None = None
    namespace: _Text | None = None
    labels: dict[Annotated[str, _label_key], Annotated[_Text, _label_value]] | None = None
    annotations: dict[Annotated[str, _label_key], _Text] | None = None

    @model_validator(mode="before")
    @classmethod
    def _generate_name(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("name"):
            return value
        prefix = value.get("generateName")
        suffix = "".join(random.choices(_SUFFIX, k=5))  # noqa: S311 - a name, not a secret
        name = prefix + suffix if prefix and isinstance(prefix, str) else None
        return {**value, "name": name}


class SecretKeySelector(_Object):
    name: _Name
    key: Annotated[str, _config_key]
    optional: bool | None = None


class ObjectFieldSelector(_Object):
    fieldPath: Annotated[str, _field_path]


class EnvVarSource(_Object):
    secretKeyRef: SecretKeySelector | None = None
    fieldRef: ObjectFieldSelector | None = None

    @model_validator(mode="after")
    def _check_only_one(self) -> EnvVarSource:
        if len(self.model_fields_set) != 1:
            sources = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
            raise error("Invalid", f'Invalid value: "": must specify one of: {sources}')
        return self


class EnvVar(_Object):
    name: Annotated[str, _variable]
    value: _Text | None = None
    valueFrom: EnvVarSource | None = None


class SecretEnvSource(_Object):
    name: _Name
    optional: bool | None = None


class EnvFromSource(_Object):
    prefix: Annotated[_Text, _variable] | None = None
    secretRef: SecretEnvSource | None = None


class VolumeMount(_Object):
    name: _Given
    mountPath: _Given
    subPath: Annotated[str, _path] | None = None


class ResourceRequirements(_Object):
    limits: dict[str, _Quantity] | None = None
    requests: dict[str, _Quantity] | None = None


class Container(_Object):
    name: _Label
    image: Annotated[_Given, _image]
    command: list[_Text] | None = None
    args: list[_Text] | None = None
    workingDir: _Text | None = None
    env: list[EnvVar] | None = None
    envFrom: list[EnvFromSource] | None = None
    volumeMounts: list[VolumeMount] | None = None
    resources: ResourceRequirements | None = None
    imagePullPolicy: Literal["Always", "IfNotPresent", "Never"] | None = None
    terminationMessagePath: _Text = "/dev/termination-log"
    terminationMessagePolicy: Literal["File", "FallbackToLogsOnError"] = "File"
    stdin: bool | None = None

    @field_validator("stdin")
    @classmethod
    def _refuse_stdin(cls, stdin: bool | None) -> bool | None:
        if stdin:
            why = "this endpoint connects no stdin to containers: use kubectl exec -i"
            raise error("Forbidden", f"Forbidden: {why}")
        return stdin

    @model_validator(mode="after")
    def _choose_pull_policy(self) -> Container:
        if self.imagePullPolicy is None:
            name = self.image.rsplit("/", 1)[-1]
            is_latest = ":" not in name or name.endswith(":latest")
            self.imagePullPolicy = "Always" if is_latest else "IfNotPresent"
        return self


class KeyToPath(_Object):
    key: _Given
    path: Annotated[_Given, _path]
    mode: _Mode | None = None


class SecretVolumeSource(_Object):
    secretName: _Given
    items: list[KeyToPath] | None = None
    defaultMode: _Mode = 0o644
    optional: bool | None = None


class Volume(_Object):
    name: _Label
    secret: SecretVolumeSource | None = None
    emptyDir: Any = None

    @model_validator(mode="after")
    def _check_only_one(self) -> Volume:
        types = sorted(self.model_fields_set - {"name"})
        if len(types) > 1:
            raise error("Forbidden", "Forbidden: may not specify more than 1 volume type", f".{types[1]}")
        if not types:
            self.emptyDir = {}
        return self


class PodSpec(_Object):
    containers: Annotated[list[Container], Field(min_length=1)]
    initContainers: list[Container] | None = None
    volumes: list[Volume] | None = None
    restartPolicy: Literal["Always", "OnFailure", "Never"] = "Always"
    activeDeadlineSeconds: Annotated[_Int, Field(ge=1, le=2**31 - 1)] | None = None
    terminationGracePeriodSeconds: Annotated[_Int, Field(ge=0)] = 30
    hostname: _Label | None = None
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
                    raise error("Duplicate", f'Duplicate value: "{container.name}"', f"{field}.name")
                seen.add(container.name)
                for n, mount in enumerate(container.volumeMounts or []):
                    if mount.name not in volumes:
                        message = f'Not found: "{mount.name}"'
                        raise error("NotFound", message, f"{field}.volumeMounts[{n}].name")
        return self


class Pod(_Object):
    metadata: ObjectMeta
    spec: PodSpec


class Secret(_Object):
    metadata: ObjectMeta
    type: _Text = "Opaque"
    data: dict[Annotated[str, _config_key], Annotated[_Text, AfterValidator(_base64)]] = {}
    stringData: dict[Annotated[str, _config_key], _Text] | None = None

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
    gracePeriodSeconds: _Int | None = None
    dryRun: list[_Text] | None = None
    preconditions: Preconditions | None = None
