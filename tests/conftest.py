"""Options all tests share; each folder's own conftest.py has its fixtures."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No example fails for being slow: how busy the machine is decides nothing. More examples: tests/fuzz.py.
settings.register_profile("ordinary", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("ordinary"), max_examples=300)
settings.load_profile("ordinary")

# Importing Airflow makes its home folder: not the user's own.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")

pytest_plugins = ["tests.support.kubernetes_fixtures", "tests.support.redis_fixtures"]

TESTS = Path(__file__).parent
FOLDERS = {
    "airflow": ("airflow", 900),
    "browser": ("browser", 600),
    "chart": ("chart", 2400),
    "cluster": ("cluster", None),
    "faults": ("faults", 1800),
    "load": ("load", 1800),
    "scripts/bench/whole": ("airflow", 900),
    "scripts/local/whole": ("airflow", 900),
}
"""The mark of a folder's tests, and how many seconds each may take, where that is more than others."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cluster")
    group.addoption(
        "--kubeconfig", help="run what needs Kubernetes on this real cluster instead of the local endpoint"
    )
    group.addoption("--context", help="the context to use of that kubeconfig")
    group.addoption("--image", default="alpine:latest", help="an image with a shell that the cluster has")
    group.addoption(
        "--cpu-image", default="cpu:dev", help="the image of cpu_image/, as that cluster knows it"
    )
    group.addoption("--screenshots", help="the folder for what the browser shows (default: a temporary one)")
    group.addoption("--seed", type=int, help="of the faults to inject (default: any; it is told)")
    group.addoption(
        "--host-for-pods", help="the address at which that cluster's pods reach this machine, for Redis"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A folder's tests have its mark and its time. Quick tests first: what starts Airflow comes last."""
    for item in items:
        for folder, (mark, seconds) in FOLDERS.items():
            if TESTS / folder in item.path.parents:
                item.add_marker(mark)
                if seconds:
                    item.add_marker(pytest.mark.timeout(seconds))
    items.sort(key=lambda item: item.get_closest_marker("airflow") is not None)
