"""The official chart, installed by Helm as a library: nobody has to install Helm."""

from __future__ import annotations

import hashlib
import importlib
import shutil
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from scripts.kind.kubectl import KindError, Kubectl
from scripts.local.settings import REPOSITORY

CHART_VERSION = "1.22.0"
CHART_URL = f"https://archive.apache.org/dist/airflow/helm-chart/{CHART_VERSION}/airflow-{CHART_VERSION}.tgz"
# Of the archive that Apache publishes, which has it in a file beside it: CHART_URL with `.sha512` added.
CHART_SHA512 = (
    "59a6b157949f37e96acd7351f795fd4347b2c4ac7f21d421542088b019874b20"
    "2a80740389b71e0e9494fe6827674e596272297b493c419b03b263abb1a71c70"
)
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


def chart(given: str, folder: Path, url: str = CHART_URL) -> Path:
    """Return the chart's archive or folder: the one given, or the official one, downloaded once.

    Raises KindError if the given one does not exist, or if the one in `folder` is not the official one.
    """
    if given:
        if not Path(given).exists():
            raise KindError(f"there is no chart at {given}: AIRFLOW_CHART is to name its folder or archive")
        return Path(given)
    archive = folder / f"airflow-{CHART_VERSION}.tgz"
    if not archive.exists():
        download(url, archive)
    if hashlib.sha512(archive.read_bytes()).hexdigest() != CHART_SHA512:
        raise KindError(
            f"{archive} is not the official chart {CHART_VERSION} (its sha512 differs): "
            "remove it, and download it again from a source you trust"
        )
    return archive


def download(url: str, file: Path) -> None:
    """Download a file, whole or not at all; raise KindError if that fails."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    try:
        # Any address will do, for it is the sha512 that counts.
        with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as draft:  # noqa: S310
            shutil.copyfileobj(answer, draft)
    except (OSError, ValueError) as error:
        raise KindError(
            f"{url} can't be fetched ({error}): AIRFLOW_CHART may name the chart's archive instead"
        ) from error
    part.rename(file)


def values(more: Sequence[Path], below: Sequence[Path] = VALUES) -> Values:
    """The chart's values: the project's, on top of them those for one machine, then the given files."""
    whole: Values = {}
    for path in (*below, *more):
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
            [release, *_] = [one for one in config.list(all_states=True) if one["name"] == RELEASE] or [None]
            if release and release["status"] != "deployed" and release["revision"] == 1:
                config.uninstall(RELEASE)  # what a first install that was broken off has left
                release = None
            act = config.upgrade if release else config.install
            act(str(chart), RELEASE, given, timeout=PATIENCE_SECONDS)
    except helm.HelmError as error:
        raise KindError(f"Helm can't install the chart: {error}") from error


def uninstall(kubectl: Kubectl) -> None:
    """Remove the release, if there is one."""
    with library().Config(
        kubeconfig_path=kubectl.kubeconfig, kube_context=kubectl.context, namespace=NAMESPACE
    ) as config:
        config.uninstall(RELEASE, ignore_not_found=True)
