"""The official Airflow chart, rendered with Helm; where it is, an environment variable says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from scripts.kind import helm

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "helm-values.yaml"
CHART = os.environ.get("AIRFLOW_CHART", "")
"""A folder or an archive; the tests that render the chart are skipped without it."""
SCHEMA = Path(os.environ.get("AIRFLOW_CHART_SCHEMA", ROOT.parent / "shared/airflow-chart/values.schema.json"))

Manifest = dict[str, Any]


def values() -> dict[str, Any]:
    """The project's values for the chart."""
    return dict(yaml.safe_load(VALUES.read_text()))


def rendered(given: dict[str, Any], namespace: str = "airflow") -> list[Manifest]:
    """What Helm makes of the chart and these values."""
    with helm.library().Chart.load(CHART) as chart:
        chart.validate_schema(given)
        files = chart.render(given, name="airflow", namespace=namespace)
    return parsed("\n---\n".join(text for name, text in files.items() if name.endswith(".yaml")))


def parsed(text: str) -> list[Manifest]:
    """The objects in a stream of YAML documents, some of which are empty."""
    return [document for document in yaml.safe_load_all(text) if document]
