"""The API server of a real cluster validates the rendered chart. Skipped unless AIRFLOW_CHART is set."""

from __future__ import annotations

import kubernetes
import pytest
import yaml

from tests.support.chart import CHART, rendered, values
from tests.support.cluster import Cluster

# Kubernetes before 1.21 has no batch/v1 CronJob, so objects of that kind are left out there.
WITHOUT_CRON_JOBS = {"databaseCleanup": {"enabled": False}}


@pytest.mark.skipif(not CHART, reason="AIRFLOW_CHART names no chart to render")
def test_the_api_server_accepts_every_object_of_the_chart(cluster: Cluster) -> None:
    batch = kubernetes.client.BatchV1Api(cluster.api.api_client).get_api_resources().resources
    lacking = {} if "CronJob" in {one.kind for one in batch} else WITHOUT_CRON_JOBS
    objects = rendered(values() | lacking, cluster.namespace)
    lines = cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(objects))
    assert len(lines.splitlines()) == len(objects) > 20
    assert all(line.endswith(" created (server dry run)") for line in lines.splitlines())
