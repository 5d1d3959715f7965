"""Options, marks and time limits of all tests; fixtures are in each folder's conftest.py."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No example fails because the machine is slow. tests/fuzz.py uses the profile with more examples.
settings.register_profile("ordinary", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("ordinary"), max_examples=300)
settings.load_profile("ordinary")

# Importing Airflow creates its home folder, which must not be the user's own.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")

pytest_plugins = ["tests.support.kubernetes_fixtures", "tests.support.redis_fixtures"]

TESTS = Path(__file__).parent
FOLDERS = {
    "airflow": ("airflow", 900),
    "browser": ("browser", 600),
    "chart": ("chart", 2400),
    "cluster": ("cluster", None),
    "dags/database": ("airflow", 300),
    "dags/pods/database": ("airflow", 300),
    "faults": ("faults", 1800),
    "load": ("load", 1800),
    "scripts/bench/whole": ("airflow", 900),
    "scripts/local/whole": ("airflow", 900),
    "scripts/wall/database": ("airflow", 300),
}
"""Folder → mark of its tests, and each test's time limit in seconds (None: the limit in pyproject.toml)."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cluster")
    group.addoption(
        "--kubeconfig",
        help="run the tests that need Kubernetes on this real cluster, not on the local endpoint",
    )
    group.addoption("--context", help="context to use in that kubeconfig")
    group.addoption(
        "--image", default="alpine:latest", help="an image with a shell, available on that cluster"
    )
    group.addoption(
        "--cpu-image", default="cpu:dev", help="the image built from cpu_image/, as that cluster names it"
    )
    group.addoption("--screenshots", help="folder for screenshots (default: a temporary one)")
    group.addoption("--seed", type=int, help="seed of the faults to inject (default: random, and printed)")
    group.addoption(
        "--items", type=int, default=300_000, help="items of the run into which faults are injected"
    )
    group.addoption(
        "--host-for-pods", help="address of this machine at which that cluster's pods reach Redis"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its folder's mark and time limit; run tests that start Airflow last."""
    for item in items:
        for folder, (mark, seconds) in FOLDERS.items():
            if TESTS / folder in item.path.parents:
                item.add_marker(mark)
                if seconds:
                    item.add_marker(pytest.mark.timeout(seconds))
    items.sort(key=lambda item: item.get_closest_marker("airflow") is not None)
