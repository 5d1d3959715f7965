"""A pod's volumes: folders under its own folder."""

from __future__ import annotations

from pathlib import Path

from scripts.kube.environment import ConfigError, secret_data
from scripts.kube.kinds import SECRETS
from scripts.kube.objects import Json
from scripts.kube.store import Store


def prepare(pod: Json, folder: Path, store: Store) -> None:
    """Makes and fills the pod's volumes in `folder`; raises ConfigError for one that cannot be had."""
    for volume in pod["spec"].get("volumes") or []:
        place = folder / volume["name"]
        match volume:
            case {"emptyDir": _}:
                place.mkdir(parents=True, exist_ok=True)
            case {"secret": source}:
                place.mkdir(parents=True, exist_ok=True)
                _fill(place, source, pod["metadata"]["namespace"], store)
            case _:
                kind = next((name for name in volume if name != "name"), "nothing")
                name = volume["name"]
                raise ConfigError(f'volume "{name}" is of {kind}: this endpoint has emptyDir and secret only')


def mounted(container: Json, folder: Path) -> dict[str, Path]:
    """The folders that stand for a container's mount paths."""
    return {
        mount["mountPath"]: folder / mount["name"] / mount.get("subPath", "")
        for mount in container.get("volumeMounts") or []
    }


def _fill(place: Path, source: Json, namespace: str, store: Store) -> None:
    secret = store.get(SECRETS, (namespace, source["secretName"]))
    if secret is None:
        if source.get("optional"):
            return
        raise ConfigError(f'secret "{source["secretName"]}" not found')
    values = secret_data(secret)
    items = source.get("items") or [{"key": key, "path": key} for key in values]
    for item in items:
        if item["key"] not in values:
            raise ConfigError(f"references non-existent secret key: {item['key']}")
        file = place / item["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(values[item["key"]])
        file.chmod(item.get("mode", source.get("defaultMode", 0o644)))
