"""What Airflow shows of this package: see `airflow providers list`."""

from __future__ import annotations

from typing import Any

DISTRIBUTION = "airflow-pods"
"""The name under which the package is installed."""


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata; the entry point ``apache_airflow_provider`` names this function."""
    integration = "Kubernetes pods"
    return {
        "package-name": DISTRIBUTION,
        "name": "Pods",
        "description": "Containers as tasks: one pod or very many, watched instead of polled, no sidecar.",
        "integrations": [{"integration-name": integration, "tags": ["software"]}],
        "operators": [{"integration-name": integration, "python-modules": ["airflow_pods.operator"]}],
        "triggers": [{"integration-name": integration, "python-modules": ["airflow_pods.trigger"]}],
        "executors": ["airflow_pods.executor.PodExecutor"],
        # Airflow warns of a provider that has an executor and does not say which commands it adds.
        "cli": [f"{__name__}.get_cli_commands"],
    }


def get_cli_commands() -> list[Any]:
    """Return the commands that the package adds to `airflow`: none."""
    return []
