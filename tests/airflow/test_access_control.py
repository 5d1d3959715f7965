"""Access control: only from this machine, only with the password, and only valid parameters."""

from __future__ import annotations

import re
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from airflow.api_fastapi.core_api import openapi

from scripts.airflow_api import AirflowError, Api
from scripts.local import processes
from scripts.local.services.airflow import ADMIN
from scripts.waiting import wait_until
from tests.support.stack import PATIENCE_SECONDS, Stack
from tests.support.untrusted import MARKUP

SPECIFICATIONS = Path(openapi.__file__).parent
METHODS = {"get", "post", "put", "patch", "delete"}
OPEN_PATHS = {"/api/v2/monitor/health", "/api/v2/version", "/api/v2/auth/login", "/api/v2/auth/logout"}
"""The paths that need no token: the health, the version, and the redirections to the login page."""


def test_the_stack_listens_on_loopback_only(stack: Stack) -> None:
    listening = set()
    for process in processes.members(stack.settings):
        with suppress(psutil.NoSuchProcess):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    listening.add((connection.laddr.ip, connection.laddr.port))
    settings = stack.settings
    expected = {("127.0.0.1", settings.port), ("127.0.0.1", settings.redis_port)}
    if settings.pods_reach_host_at:
        expected |= {(settings.pods_reach_host_at, settings.redis_port)}
    if not settings.kubeconfig:
        expected |= {("127.0.0.1", settings.kube_port)}
    assert expected <= listening
    assert {address for address in listening - expected if address[0] not in ("127.0.0.1", "::1")} == set()


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic YWRtaW46YWRtaW4="])
@pytest.mark.parametrize("specification", ["v2-rest-api-generated.yaml", "_private_ui.yaml"])
def test_airflows_api_and_ui_refuse_requests_without_a_valid_token(
    stack: Stack, specification: str, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    paths = yaml.safe_load((SPECIFICATIONS / specification).read_text())["paths"]
    operations = [(path, method) for path, methods in paths.items() for method in METHODS & methods.keys()]
    assert len(operations) > 20
    with closing(client_of(stack)) as client:
        answered = {
            path
            for path, method in operations
            if client.request(method, re.sub("[{}]", "", path), headers=headers).status_code not in (401, 403)
        }
    assert answered <= OPEN_PATHS


def client_of(stack: Stack) -> httpx.Client:
    return httpx.Client(base_url=stack.settings.api_url, trust_env=False, timeout=60)


@pytest.mark.parametrize(("user", "password"), [(ADMIN, "wrong"), (ADMIN, ""), (ADMIN, ADMIN), ("", "")])
def test_a_wrong_user_or_password_is_refused(stack: Stack, user: str, password: str) -> None:
    with (
        Api(stack.settings.api_url, user, password) as api,
        pytest.raises(AirflowError, match="refuses user"),
    ):
        api.log_in()


def test_a_login_without_credentials_gets_no_token(stack: Stack) -> None:
    with closing(client_of(stack)) as client:
        for method, path in (("GET", "/auth/token"), ("GET", "/auth/token/login"), ("POST", "/auth/token")):
            answer = client.request(method, path)
            assert "access_token" not in answer.text
            assert not client.cookies


@pytest.mark.parametrize(
    ("dag", "conf"),
    [
        ("cpu", {"start": "{{ 7 * 7 }}", "cpu": 1}),
        ("cpu", {"start": "$(REDIS_URL)", "cpu": 1}),
        ("cpu", {"start": "Not_a_label", "cpu": 1}),
        ("cpu", {"start": "label\n", "cpu": 1}),
        ("cpu", {"start": "s", "cpu": -1}),
        ("cpu", {"start": "s", "cpu": "1; id"}),
        ("cpu", {"start": "s", "cpu": 1, "cycle": 10**30}),
        ("cpu_start", {"cycles": 10**30}),
        ("cpu_start", {"program": "x" * 10**7}),
        ("cpu_start", {"program": "acc +1\n\x00"}),
        ("cpu_start", {"program": ["acc +1"]}),
    ],
)
def test_invalid_parameters_start_no_dag_run(stack: Stack, dag: str, conf: dict[str, Any]) -> None:
    before = stack.api.count_runs(dag)
    with pytest.raises(AirflowError, match=r": 4\d\d "):
        stack.api.trigger(dag, conf)
    assert stack.api.count_runs(dag) == before


@pytest.mark.parametrize(
    ("dag", "task", "conf", "message"),
    [
        ("cpu_start", "store", {"Program": "nop +0"}, "'Program' (did you mean 'program'?)"),
        ("cpu_start", "store", {"params": {"program": "nop +0"}}, "'params' (give its content directly)"),
        ("cpu", "execute", {"Cycle": 1}, "'Cycle' (did you mean 'cycle'?)"),
        ("cpu_watch", "survey", {"start": "s", "cpus": 1}, "'cpus' (did you mean 'cpu'?)"),
        ("cpu_cancel", "cancel", {"start": "s", "force": True}, "'force'; its parameters are start"),
    ],
)
def test_an_unknown_parameter_fails_the_run_and_is_named_in_its_log_and_note(
    stack: Stack, dag: str, task: str, conf: dict[str, Any], message: str
) -> None:
    run = stack.api.trigger(dag, conf)["dag_run_id"]
    assert wait_until(lambda: stack.api.run(dag, run)["state"] == "failed", PATIENCE_SECONDS)
    message = f"DAG {dag} has no parameter {message}"
    assert message in stack.api.run(dag, run)["note"]
    assert message in "\n".join(stack.api.log(dag, run, task, 1))


@pytest.mark.parametrize("name", ["{{ 7 * 7 }}", "../../etc", "a b", "<script>", "a\nb", "$(id)"])
def test_a_run_id_with_markup_paths_or_spaces_is_refused(stack: Stack, name: str) -> None:
    with pytest.raises(AirflowError, match=r": 4\d\d "):
        stack.api.trigger("cpu_start", {}, run=name)


def test_a_hostile_program_is_quoted_literally_and_a_hostile_note_is_kept_literally(stack: Stack) -> None:
    shown = [one for one in MARKUP if one.isprintable() and one.isascii() and "'" not in one]
    program = "nop +0\n" + " ".join(shown)[:50]
    run = stack.start(program=program)
    note = {"note": "".join(shown)}
    path = f"/dags/cpu_start/dagRuns/{run}"
    assert stack.api.request("PATCH", path, json=note, params={"update_mask": "note"})["note"] == note["note"]
    assert stack.finish(run)[0] == "failed"
    log = "\n".join(stack.api.log("cpu_start", run, "store", 1))
    assert f"line 2: {program.splitlines()[1]!a}: expected one of acc, jmp, nop" in log
