"""Airflow's configuration file and its processes' environment."""

from __future__ import annotations

import configparser
import json
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_pods.operator import POD_EXECUTOR
from scripts.local.passwords import passwords
from scripts.local.services import airflow, airflow_config
from scripts.local.services.component import STACK_MARK, environment
from scripts.local.settings import Settings


@pytest.fixture
def configured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("AIRFLOW_CONN_SLACK", "a connection")
    monkeypatch.setenv("AIRFLOW_VAR_NAME", "a variable")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "another")
    monkeypatch.setenv("SECRET_OF_MINE", "not for Airflow")
    settings.state.mkdir()
    airflow_config.configure(settings, passwords(settings.state))
    return settings


def test_only_the_callers_connections_and_variables_reach_airflow(configured: Settings) -> None:
    found = environment(airflow.components(configured)[0], configured)
    assert found["AIRFLOW_CONN_SLACK"] == "a connection"
    assert found["AIRFLOW_VAR_NAME"] == "a variable"
    assert found[STACK_MARK] == str(configured.state)
    assert not {"AIRFLOW__CORE__EXECUTOR", "SECRET_OF_MINE"} & set(found)


def test_the_callers_connections_are_kept_for_restarts_without_the_caller(
    configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SLACK")
    for component in airflow.components(configured):
        assert environment(component, configured)["AIRFLOW_CONN_SLACK"] == "a connection"


def test_the_kubernetes_connection_names_the_cluster_in_use(configured: Settings) -> None:
    local = json.loads(airflow.environment(configured)["AIRFLOW_CONN_KUBERNETES_DEFAULT"])
    assert local["extra"]["kube_config_path"] == str(configured.kube / "kubeconfig")
    own = replace(configured, kubeconfig=Path("/k"), context="kind", redis_url="redis://r")
    extra = json.loads(airflow.environment(own)["AIRFLOW_CONN_KUBERNETES_DEFAULT"])["extra"]
    assert extra == {"in_cluster": False, "kube_config_path": "/k", "cluster_context": "kind"}


def test_the_wall_kills_pods_of_the_local_endpoint_and_of_a_cluster_only_if_the_caller_says_so(
    configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def setting(settings: Settings) -> str | None:
        api_server, *others = airflow.components(settings)
        assert api_server.name == "api-server"
        assert not any("CPU_SHOOT" in one.environment for one in others)
        return environment(api_server, settings).get("CPU_SHOOT")

    cluster = replace(configured, kubeconfig=Path("/k"), redis_url="redis://r")
    assert (setting(configured), setting(cluster)) == ("true", None)
    for value in ("false", "true"):
        monkeypatch.setenv("CPU_SHOOT", value)
        airflow_config.configure(configured, passwords(configured.state))
        assert (setting(configured), setting(cluster)) == (value, value)


def test_files_with_secrets_are_readable_by_their_owner_only(configured: Settings) -> None:
    for name in ("airflow.cfg", "passwords.json", "environment.json"):
        assert (configured.airflow_home / name).stat().st_mode & 0o077 == 0


def test_a_percent_sign_in_the_path_survives_airflows_reader(tmp_path: Path) -> None:
    settings = Settings((tmp_path / "50%").resolve())
    settings.state.mkdir()
    airflow_config.configure(settings, passwords(settings.state))
    read = configparser.ConfigParser()
    read.read(settings.airflow_home / "airflow.cfg")
    assert read["logging"]["base_log_folder"] == str(settings.airflow_home / "logs")


def test_secrets_are_created_once(settings: Settings) -> None:
    settings.state.mkdir()
    created = passwords(settings.state)
    assert passwords(settings.state) == created
    assert len(created.jwt.encode()) >= 64
    assert created.hide(f"redis://:{created.redis}@host") == "redis://:***@host"


@pytest.mark.parametrize("value", ["", "false"])
def test_without_pod_executor_no_new_task_is_meant_for_it_and_the_earlier_ones_still_run(
    settings: Settings, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The DAG processor chooses the executor; the scheduler runs tasks of any executor that it has."""
    monkeypatch.setenv("POD_EXECUTOR", value)
    settings.state.mkdir()
    airflow_config.configure(settings, passwords(settings.state))
    config = configparser.RawConfigParser()
    config.read(settings.airflow_home / "airflow.cfg")
    both = config["core"]["executor"]
    assert both.split(",") == [airflow.DEFAULT_EXECUTOR, POD_EXECUTOR]
    chosen = {
        one.name: one.environment.get("AIRFLOW__CORE__EXECUTOR") for one in airflow.components(settings)
    }
    without = {"dag-processor": airflow.DEFAULT_EXECUTOR} if value else {}
    assert (
        chosen == {"api-server": None, "dag-processor": None, "scheduler": None, "triggerer": None} | without
    )
