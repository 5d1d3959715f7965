"""Install Airflow's official chart with Helm as a Python library, so that Helm need not be installed."""

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
CHART_SHA512 = (
    "59a6b157949f37e96acd7351f795fd4347b2c4ac7f21d421542088b019874b20"
    "2a80740389b71e0e9494fe6827674e596272297b493c419b03b263abb1a71c70"
)
"""Of the archive at CHART_URL; Apache publishes it at the same URL with `.sha512` appended."""
VALUES = (REPOSITORY / "helm-values.yaml", REPOSITORY / "scripts/kind/values.yaml")
LIBRARY = REPOSITORY / ".venv/helm"
"""Where `make .venv/helm` installs the library, which is as large as Airflow and is needed only here."""
RELEASE = NAMESPACE = "airflow"
PATIENCE_SECONDS = 900
"""Long enough to pull the images and to create the database."""

Values = dict[str, Any]


def library() -> Any:
    """Return the module `helm_python`. Raises KindError if it is not installed."""
    sys.path.append(str(LIBRARY))
    try:
        return importlib.import_module("helm_python")
    except ImportError:
        raise KindError("the Helm library is not installed: run `make .venv/helm`") from None


def chart(given: str, folder: Path, url: str = CHART_URL) -> Path:
    """Return the path of the chart: `given`, or else the official archive, downloaded to `folder` once.

    Raises KindError if `given` does not exist, or if the archive in `folder` is not the official one.
    """
    if given:
        if not Path(given).exists():
            raise KindError(f"there is no chart at {given}: set AIRFLOW_CHART to its folder or archive")
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
    """Download a file, completely or not at all. Raises KindError if that fails."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    try:
        # The address may be anything, because the caller checks the sha512.
        with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as draft:  # noqa: S310
            shutil.copyfileobj(answer, draft)
    except (OSError, ValueError) as error:
        raise KindError(
            f"cannot download {url} ({error}): set AIRFLOW_CHART to the chart's archive instead"
        ) from error
    part.rename(file)


def values(more: Sequence[Path], below: Sequence[Path] = VALUES) -> Values:
    """Return the values for the chart: the files of `below`, then those of `more`; later files win.

    Raises KindError if a file cannot be read or is not YAML.
    """
    whole: Values = {}
    for path in (*below, *more):
        try:
            whole = merged(whole, yaml.safe_load(path.read_text()) or {})
        except OSError as error:
            raise KindError(f"cannot read {path}: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise KindError(f"{path} is not YAML: {error}") from error
    return whole


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Values:
    """Merge values as Helm does: mappings key by key; anything else is replaced as a whole."""
    whole = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(whole.get(key), Mapping)
        whole[key] = merged(whole[key], value) if both else value
    return whole


def install(kubectl: Kubectl, chart: Path, given: Values) -> None:
    """Install or upgrade the release; return once its database is migrated and its user exists.

    Raises KindError with Helm's own message.
    """
    helm = library()
    try:
        with helm.Config(
            kubeconfig_path=kubectl.kubeconfig, kube_context=kubectl.context, namespace=NAMESPACE
        ) as config:
            [release, *_] = [one for one in config.list(all_states=True) if one["name"] == RELEASE] or [None]
            if release and release["status"] != "deployed" and release["revision"] == 1:
                config.uninstall(RELEASE)  # the rest of a first installation that was interrupted
                release = None
            act = config.upgrade if release else config.install
            act(str(chart), RELEASE, given, timeout=PATIENCE_SECONDS)
    except helm.HelmError as error:
        raise KindError(f"Helm cannot install the chart: {error}") from error


def uninstall(kubectl: Kubectl) -> None:
    """Remove the release if it exists."""
    with library().Config(
        kubeconfig_path=kubectl.kubeconfig, kube_context=kubectl.context, namespace=NAMESPACE
    ) as config:
        config.uninstall(RELEASE, ignore_not_found=True)
