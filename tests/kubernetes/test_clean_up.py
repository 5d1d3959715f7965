"""Which pods the clean-up removes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from scripts.local.clean_up import remove_pods
from scripts.local.errors import StackError
from scripts.local.settings import Settings
from tests.support.cluster import Cluster

CPU_LABELS = {"app": "cluster-cpu"}


def settings_of(cluster: Cluster, state: Path) -> Settings:
    return Settings(
        state,
        kubeconfig=cluster.kubeconfig,
        context=cluster.context,
        namespace=cluster.namespace,
        redis_url="redis://127.0.0.1",
    )


def test_old_pods_of_cpus_are_removed_once_they_have_ended(cluster: Cluster, tmp_path: Path) -> None:
    settings = settings_of(cluster, tmp_path)
    failed = cluster.finished("exit 1", labels=CPU_LABELS)
    done = cluster.finished(labels=CPU_LABELS)
    other = cluster.finished().metadata.name
    running = cluster.running("sleep 60", labels=CPU_LABELS)

    created = failed.metadata.creation_timestamp
    assert remove_pods(settings, created) == 0
    assert remove_pods(settings, created + timedelta(hours=1)) == 2
    for pod in (failed, done):
        cluster.until_gone(pod.metadata.name)
    assert cluster.read(other).status.phase == "Succeeded"
    assert cluster.read(running).status.phase == "Running"
    assert remove_pods(settings, created + timedelta(hours=1)) == 0


def test_a_cluster_that_does_not_answer_is_named_in_the_error(cluster: Cluster, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    address = cluster.api.api_client.configuration.host
    config.write_text(cluster.kubeconfig.read_text().replace(address, "https://127.0.0.1:1"))
    settings = settings_of(Cluster(config, cluster.namespace, "", None, cluster.context), tmp_path)
    with pytest.raises(StackError, match="does not answer"):
        remove_pods(settings, cluster.read(cluster.create()).metadata.creation_timestamp)
