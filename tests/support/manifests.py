"""The manifests of scripts/cluster as they are written, one folder for one `kubectl apply -k`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "scripts" / "cluster"


def kustomization() -> dict[str, Any]:
    """Which files belong to the folder, and the namespace all of it goes to."""
    return dict(yaml.safe_load((FOLDER / "kustomization.yaml").read_text()))


def manifest(kind: str) -> dict[str, Any]:
    """The folder's one object of that kind."""
    files = [FOLDER / name for name in kustomization()["resources"]]
    objects = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    [found] = [one for one in objects if one["kind"] == kind]
    return dict(found)
