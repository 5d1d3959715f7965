"""Settings: what is refused, what is saved, and how options and environment variables combine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.local.cli import parser
from scripts.local.errors import StackError
from scripts.local.options import settings_for_up
from scripts.local.settings import LONGEST_SOCKET_PATH, Settings, load


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ({"port": 0}, "--port is 0"),
        ({"redis_port": 70000}, "--redis-port is 70000"),
        ({"kube_port": 8080}, "are the same: choose three different ports"),
        ({"cpus_at_once": 3}, "from 4 to 400"),
        ({"cpus_at_once": 401}, "from 4 to 400"),
        ({"keep_days": 0}, "--keep-days is 0"),
        ({"kubeconfig": Path("/some/kubeconfig")}, "--pods-reach-host-at"),
        ({"context": "kind"}, "--kubeconfig"),
        ({"namespace": "CPU_jobs"}, "--namespace is 'CPU_jobs'"),
        ({"namespace": "cpu\n"}, "up to 63 of a-z"),
        ({"namespace": "a" * 64}, "up to 63 of a-z"),
        ({"pods_reach_host_at": "10.0.0.1\nrequirepass x"}, "--pods-reach-host-at is '10"),
        (
            {"base_url": "example.org/airflow"},
            "--base-url is 'example.org/airflow': give the full address",
        ),
        ({"base_url": "https://example.org/air flow"}, "--base-url"),
        ({"redis_url": "redis://r", "pods_reach_host_at": "10.0.0.1"}, "leave --pods-reach-host-at out"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_a_remedy(
    given: dict[str, Any], remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(StackError, match=remedy):
        Settings(tmp_path, **given)


def test_saved_settings_are_loaded_unchanged(settings: Settings) -> None:
    settings.state.mkdir()
    settings = replace(
        settings, kubeconfig=Path("/a b/kubeconfig"), context="c", redis_url="redis://:secret@r:1/0"
    )
    settings.save()
    assert load(settings.state) == settings
    assert (settings.state / "settings.json").stat().st_mode & 0o077 == 0


def test_a_folder_without_a_stack_has_no_saved_settings(tmp_path: Path) -> None:
    assert load(tmp_path) is None


def test_settings_of_a_moved_state_folder_have_its_new_path(settings: Settings, tmp_path: Path) -> None:
    settings.state.mkdir()
    settings.save()
    moved = settings.state.rename(tmp_path / "moved")
    assert load(moved) == replace(settings, state=moved)


@pytest.mark.parametrize(
    ("base_url", "api", "ui"),
    [
        (None, "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://example.org/", "http://127.0.0.1:8080", "https://example.org"),
        ("https://[::1]:1/a/b/", "http://127.0.0.1:8080/a/b", "https://[::1]:1/a/b"),
    ],
)
def test_airflow_has_the_same_path_for_people_behind_a_proxy_and_for_programs(
    tmp_path: Path, base_url: str | None, api: str, ui: str
) -> None:
    settings = Settings(tmp_path, base_url=base_url)
    assert (settings.api_url, settings.ui_url) == (api, ui)


def test_a_state_folder_with_a_long_path_has_sockets_with_short_paths(tmp_path: Path) -> None:
    settings = Settings(tmp_path / ("long" * 25))
    assert len(str(settings.postgres_socket_folder / ".s.PGSQL.5432.lock")) <= LONGEST_SOCKET_PATH
    assert settings.supervisor_socket.parent == settings.short_state != settings.state


def asked(*arguments: str) -> Settings:
    return settings_for_up(parser().parse_args(["up", *arguments]))


def test_an_option_overrides_its_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACK_DIR", str(tmp_path / "from-environment"))
    monkeypatch.setenv("STACK_PORT", "1234")
    monkeypatch.setenv("CPUS_AT_ONCE", "40")
    settings = asked("--port", "4321")
    assert (settings.port, settings.cpus_at_once) == (4321, 40)
    assert settings.state == (tmp_path / "from-environment").resolve()


def test_an_environment_variable_that_is_not_a_number_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACK_DIR", str(tmp_path))
    monkeypatch.setenv("STACK_REDIS_PORT", "six")
    with pytest.raises(StackError, match="STACK_REDIS_PORT is 'six'"):
        asked()


def test_a_relative_path_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = asked("--state", "here", "--kubeconfig", "config", "--pods-reach-host-at", "10.0.0.1")
    assert settings.state == (tmp_path / "here").resolve()
    assert settings.cluster_config == (tmp_path / "config").resolve()
