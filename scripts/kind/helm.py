"""The official chart, installed by Helm as a library: nobody has to install Helm."""

from __future__ import annotations

import importlib
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from scripts.kind.kubectl import KindError, Kubectl
from scripts.local.settings import REPOSITORY

CHART_VERSION = "1.22.0"
CHART_URL = f"https://archive.apache.org/dist/airflow/helm-chart/{CHART_VERSION}/airflow-{CHART_VERSION}.tgz"
VALUES = (REPOSITORY / "helm-values.yaml", REPOSITORY / "scripts/kind/values.yaml")
# `make kind` installs it there: it is as large as Airflow itself, and nothing else needs it.
LIBRARY = REPOSITORY / ".venv/helm"
RELEASE = NAMESPACE = "airflow"
PATIENCE_SECONDS = 900  # the images are pulled, and the database is made

Values = dict[str, Any]


def library() -> Any:
    """The module ``helm_python``."""
    sys.path.append(str(LIBRARY))
    try:
        return importlib.import_module("helm_python")
    except ImportError:
        raise KindError("Helm's library is not there: run `make .venv/helm`") from None


def chart(given: str, folder: Path) -> Path:
    """The chart's archive or folder: the one given, or else the official one, fetched once."""
    if given:
        if not Path(given).exists():
            raise KindError(f"there is no chart at {given}: AIRFLOW_CHART is to name its folder or archive")
        return Path(given)
    archive = folder / f"airflow-{CHART_VERSION}.tgz"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = archive.with_suffix(".part")
        try:
            with urllib.request.urlopen(CHART_URL, timeout=60) as answer, part.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except (urllib.error.URLError, TimeoutError) as error:
            raise KindError(
                f"{CHART_URL} can't be fetched ({error}): AIRFLOW_CHART may name the chart's archive instead"
            ) from error
        part.rename(archive)
    return archive


def values(more: Sequence[Path]) -> Values:
    """The chart's values: the project's, on top of them those for one machine, then the given files."""
    whole: Values = {}
    for path in (*VALUES, *more):
        try:
            whole = merged(whole, yaml.safe_load(path.read_text()) or {})
        except OSError as error:
            raise KindError(f"{path} can't be read: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise KindError(f"{path} is no YAML: {error}") from error
    return whole


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Values:
    """As Helm merges values: mappings key by key, anything else is replaced whole."""
    whole = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(whole.get(key), Mapping)
        whole[key] = merged(whole[key], value) if both else value
    return whole


def install(kubectl: Kubectl, chart: Path, given: Values) -> None:
    """Install the release or upgrade it; done when the database is made and the user is there."""
    helm = library()
    try:
        with helm.Config(
            kubeconfig_path=kubectl.kubeconfig, kube_context=kubectl.context, namespace=NAMESPACE
        ) as config:
            releases = {one["name"]: one["status"] for one in config.list(all_states=True)}
            if releases.get(RELEASE) not in (None, "deployed"):
                config.uninstall(RELEASE)  # what an install that was broken off has left
                del releases[RELEASE]
            act = config.upgrade if RELEASE in releases else config.install
            act(str(chart), RELEASE, given, timeout=PATIENCE_SECONDS)
    except helm.HelmError as error:
        raise KindError(f"Helm can't install the chart: {error}") from error


def uninstall(kubectl: Kubectl) -> None:
    """Remove the release, if there is one."""
    with library().Config(
        kubeconfig_path=kubectl.kubeconfig, kube_context=kubectl.context, namespace=NAMESPACE
    ) as config:
        config.uninstall(RELEASE, ignore_not_found=True)
