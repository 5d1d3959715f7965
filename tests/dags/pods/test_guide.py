"""Every snippet of docs/pods.md works, and its tables of parameters are complete."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from configparser import ConfigParser
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, Connection
from kubernetes.client import ApiClient

import airflow_pods as pods
from airflow_pods.log_link import log_url
from airflow_pods.next_step import name_of
from airflow_pods.operator import POD_EXECUTOR
from airflow_pods.parameters import TEMPLATED as SHAPES
from airflow_pods.parameters import ShapedPod
from airflow_pods.templates import TEMPLATED
from airflow_pods.trigger import outcome_of
from tests.docs.documents import ROOT, read
from tests.support.kubernetes_api import finished, terminated
from tests.support.nodeless import NAMESPACE, Nodeless
from tests.support.pod_sets import Node, index_of

DOCUMENT = ROOT / "docs" / "pods.md"
GUIDE = DOCUMENT.read_text()
(
    RIGHTS,
    CONNECTIONS,
    COUNT_PROGRAM,
    DOCKERFILE,
    BUILD,
    COUNT_DAG,
    SHARE_PROGRAM,
    ITEMS,
    SHARE_DAG,
    LOG_SETTING,
    EXECUTOR_SETTING,
    CHANGE,
) = ("\n".join(block.lines) for block in read(DOCUMENT).blocks)
"""All snippets, in order: each is executed by a test below, or its commands by those of the documentation."""
TEXT = "to be or not to be"
PARAMETERS = {
    name: parameter.default
    for operator in (pods.PodOperator, ShapedPod)
    for name, parameter in inspect.signature(operator).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
}
ROWS = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]+)\|$", GUIDE, re.MULTILINE)
STOCK = set(inspect.signature(KubernetesPodOperator.__init__).parameters) - {"self", "kwargs"}
OURS = {
    "branch",
    "count",
    "max_failed",
    "next_step",
    "on_refusal",
    "parallelism",
    "pod",
    "pod_log_url",
    "reduce",
    "retries_per_pod",
    "secret_env_vars",
    "skip_to",
    "strict_conf",
}
"""Parameters that the stock operator does not have."""


def executed(source: str) -> dict[str, Any]:
    """Execute a DAG file; return what it defines."""
    scope: dict[str, Any] = {"__name__": "of_the_guide"}
    exec(source, scope)  # noqa: S102
    return scope


def rendered(dag: DAG, task_id: str, params: dict[str, Any], pulled: Any = None) -> pods.PodOperator:
    """Return a task as a worker renders it in a run with these parameters."""
    task = dag.get_task(task_id).prepare_for_execution()
    assert isinstance(task, pods.PodOperator)
    identity = {"dag_id": dag.dag_id, "run_id": "run", "task_id": task_id, "map_index": -1}
    ti = SimpleNamespace(**identity, xcom_pull=lambda **_: pulled)
    run = SimpleNamespace(run_after=datetime(2026, 11, 22, 8, 47, 25, tzinfo=UTC))
    context: Any = {"dag": dag, "dag_run": run, "params": params, "ti": ti, "task_instance": ti}
    task.render_template_fields(context)
    task.namespace = NAMESPACE  # that of the endpoint
    return task


def run_program(program: str, folder: Path, environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Run a container's program on this machine, below the folder; return the status of its pod."""
    message = folder / "termination-log"
    message.unlink(missing_ok=True)
    for path in ("/dev/termination-log", "/items/", "/results/"):
        program = program.replace(path, f"{folder}{path.removeprefix('/dev')}")
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return {**finished(main=terminated(done.stderr[-500:], done.returncode)), "phase": "Failed"}
    return finished(main=terminated(message.read_text()))


async def test_the_example_of_one_pod_runs_and_follows_the_branch(endpoint: Nodeless, tmp_path: Path) -> None:
    scope = executed(COUNT_DAG)
    task = rendered(scope["dag"], "count", {"text": TEXT})
    [container] = task.manifest()["spec"]["containers"]

    async def node() -> None:
        await endpoint.until(endpoint.pods)
        [name] = endpoint.pods()
        endpoint.report(name, run_program(COUNT_PROGRAM, tmp_path, {}, *container["args"]))

    running = asyncio.create_task(node())
    outcome = await outcome_of(task.template(), print)
    await running
    assert outcome == {"result": {"words": 6, "sentence": f"counted: {TEXT}"}}
    assert json.dumps(outcome["result"]) in GUIDE
    assert endpoint.pods() == {}
    assert task.branch
    assert {task.branch(outcome["result"]), task.branch({"words": 101})} == task.downstream_task_ids


def test_the_image_runs_the_program_as_a_user_other_than_root() -> None:
    steps = dict(line.split(" ", 1) for line in DOCKERFILE.splitlines())
    [file, folder] = steps["COPY"].split()
    assert json.loads(steps["ENTRYPOINT"]) == ["python", f"{folder}{file}"]
    assert int(steps["USER"].partition(":")[0]) > 0
    image = executed(COUNT_DAG)["count"].image
    assert f"$ docker build -t {image} . && docker push {image}" == BUILD


class Shares:
    """A node that runs the example's program in each pod of its set, on files of this machine."""

    def __init__(self, endpoint: Nodeless, folder: Path) -> None:
        self.program = SHARE_PROGRAM
        self.ran: list[int] = []
        self.folder = folder
        self.lines: list[str] = []
        for name in ("items", "results"):
            (folder / name).mkdir()
        (folder / "items" / "items.txt").write_text("".join(f"item {number}\n" for number in range(1000)))
        self.node = Node(endpoint, self._run)

    def _run(self, pod: Any) -> dict[str, Any]:
        self.ran.append(index_of(pod))
        variables = {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}
        return run_program(self.program, self.folder, variables)

    def results(self) -> list[str]:
        """Return the items of which there is a result, as often as there is one."""
        files = (self.folder / "results").glob("*.tsv")
        return sorted(line.split("\t")[0] for file in files for line in file.read_text().splitlines())


@pytest_asyncio.fixture
async def shares(endpoint: Nodeless, tmp_path: Path) -> AsyncIterator[Shares]:
    shares = Shares(endpoint, tmp_path)
    yield shares
    shares.node.stop()


def share_task() -> pods.PodOperator:
    scope = executed(SHARE_DAG)
    count = scope["plan"].function({"items": 1000})
    task = rendered(scope["dag"], "work", {"items": 1000}, count)
    assert task.upstream_task_ids == {"plan"}
    return task


async def test_the_example_of_a_thousand_items_works_on_each_item_once(
    endpoint: Nodeless, shares: Shares
) -> None:
    outcome = await outcome_of(share_task().template(), shares.lines.append, share_task().reduce)
    result = outcome["result"]
    assert json.dumps({key: result[key] for key in ("count", "succeeded", "failed", "total")})[:-1] in GUIDE
    assert shares.results() == sorted(f"item {number}" for number in range(1000))
    assert endpoint.pods() == {}


async def test_an_item_that_fails_is_reported_and_the_next_try_runs_only_its_share(
    endpoint: Nodeless, shares: Shares
) -> None:
    line = "    return len(item)"
    assert line in SHARE_PROGRAM
    shares.program = SHARE_PROGRAM.replace(line, f"    assert item != 'item 333', item\n{line}")
    task = share_task()
    error = (await outcome_of(task.template(), shares.lines.append, task.reduce))["error"]
    assert f"1 of the 10 pods of set {task.name} in namespace {NAMESPACE} failed, and 0 may: 3. " in error
    assert "AssertionError: item 333" in error
    assert shares.lines[0] == f"Set {task.name} of 10 pods in namespace {NAMESPACE}"
    assert shares.ran.count(3) == 3
    left = endpoint.pods()
    assert {f"{task.name}-3", f"{task.name}-3-1", f"{task.name}-3-2"} <= left.keys()
    assert {pod["metadata"]["labels"]["airflow-pods/set"] for pod in left.values()} == {task.name}

    missing = {index for index in range(10) if not (shares.folder / "results" / f"{index}.tsv").exists()}
    assert 3 in missing
    shares.program = SHARE_PROGRAM
    shares.ran.clear()
    again = await outcome_of(share_task().template(), shares.lines.append, task.reduce)
    assert again["result"]["total"] == 1000
    assert sorted(shares.ran) == sorted(missing)
    assert shares.results() == sorted(f"item {number}" for number in range(1000))
    assert endpoint.pods() == {}


def test_the_last_share_gets_the_items_that_are_left(tmp_path: Path) -> None:
    assert executed(SHARE_DAG)["plan"].function({"items": 1001}) == 11
    for name in ("items", "results"):
        (tmp_path / name).mkdir()
    (tmp_path / "items" / "items.txt").write_text("an item\n" * 101)
    status = run_program(SHARE_PROGRAM, tmp_path, {"ITEMS_PER_POD": "100", "JOB_COMPLETION_INDEX": "1"})
    [container] = status["containerStatuses"]
    assert json.loads(container["state"]["terminated"]["message"]) == {"items": 1}


def test_the_volumes_of_the_example_are_those_that_the_commands_name() -> None:
    spec = share_task().manifest()["spec"]
    config_map, claim = spec["volumes"]
    made, looked_at = (shlex.split(line.removeprefix("$ ")) for line in ITEMS.splitlines())
    assert made[1:4] == ["create", "configmap", config_map["configMap"]["name"]]
    assert made[-1] == "--from-file=items.txt"
    assert looked_at[2:4] == ["persistentvolumeclaim", claim["persistentVolumeClaim"]["claimName"]]
    assert {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]} == {"/items", "/results"}


def test_the_rights_are_those_of_the_role_that_the_cluster_s_tests_use() -> None:
    [role] = [
        each
        for each in yaml.safe_load_all((ROOT / "scripts/cluster/access.yaml").read_text())
        if each["kind"] == "Role"
    ]
    [needed] = role["rules"]
    commands = [line.split() for line in RIGHTS.splitlines()]
    options = [dict(word[2:].split("=") for word in words if "=" in word) for words in commands]
    assert options[1] == {"resource": ",".join(needed["resources"]), "verb": ",".join(needed["verbs"])}
    assert options[2] == {"resource": "pods/log", "verb": "get"}


@pytest.mark.parametrize("line", CONNECTIONS.splitlines())
def test_the_connection_is_one_that_airflow_reads(line: str) -> None:
    [_, _, assignment] = shlex.split(line)
    variable, _, value = assignment.partition("=")
    assert variable == "AIRFLOW_CONN_KUBERNETES_DEFAULT"
    connection = Connection.from_json(value, conn_id="kubernetes_default")
    assert connection.conn_type == "kubernetes"
    assert connection.extra_dejson.keys() <= {"kube_config_path", "in_cluster"}


def setting(snippet: str, section: str, option: str) -> str:
    parser = ConfigParser(interpolation=None)
    parser.read_string(snippet)
    return parser[section][option]


def test_the_setting_of_logs_leads_to_the_log_of_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    url = setting(LOG_SETTING, "airflow_pods", "pod_log_url")
    monkeypatch.setenv("AIRFLOW__AIRFLOW_PODS__POD_LOG_URL", url)
    task = pods.PodOperator(task_id="count", namespace="jobs", image="count:1")
    assert task.pod_log_url == url
    assert log_url(url, task.manifest()) == "https://logs.example/explore?namespace=jobs&pod=count"


def test_the_setting_of_executors_gives_the_examples_to_pod_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    value = setting(EXECUTOR_SETTING, "core", "executor")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", value)
    assert value.split(",")[1] == POD_EXECUTOR
    [task] = [task for task in executed(SHARE_DAG)["dag"].tasks if task.task_id == "work"]
    # Where other processes can import the functions; they cannot import those of a DAG file.
    assert not name_of(task.reduce)
    assert task.executor is None
    assert pods.PodOperator(task_id="count", namespace="jobs", image="count:1").executor == POD_EXECUTOR


def test_a_dag_of_the_stock_operator_changes_as_the_guide_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = CHANGE.splitlines()
    assert all(line[:1] in (" ", "+", "-", "") for line in lines)
    connection = {"conn_type": "kubernetes", "extra": {"in_cluster": False}}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
    stock, ours = (
        executed(
            "from kubernetes import client as k8s\n"
            + "\n".join(line[1:] for line in lines if line[:1] in (" ", sign))
        )["count"]
        for sign in ("-", "+")
    )
    assert (type(stock), type(ours)) == (KubernetesPodOperator, pods.PodOperator)
    before = ApiClient().sanitize_for_serialization(stock.build_pod_request_obj(dry_run=True))
    after = ours.manifest()
    assert re.fullmatch("count-[a-z0-9]{8}", before["metadata"]["name"])
    assert ours.random_name_suffix
    [main, *_] = before["spec"]["containers"]
    [container] = after["spec"]["containers"]
    assert main["image"] == container["image"]
    assert container["volumeMounts"][0] in main["volumeMounts"]
    assert after["spec"]["volumes"][0] in before["spec"]["volumes"]
    assert container["resources"]["limits"]["memory"] == main["resources"]["limits"]["memory"]


def test_the_table_lists_every_parameter_with_its_default() -> None:
    no_default = inspect.Parameter.empty
    shown = {no_default: "", None: "none", "": '`""`'}
    assert {name: default.strip() for name, default, _ in ROWS} == {
        name: shown.get(default, f"`{default}`") for name, default in PARAMETERS.items()
    }


def test_the_table_says_which_parameters_are_templated() -> None:
    assert {name for name, _, meaning in ROWS if "(templated" in meaning} == {*TEMPLATED, *SHAPES}


def test_parameters_have_the_stock_operator_s_names_unless_it_lacks_them() -> None:
    assert set(PARAMETERS) - STOCK == OURS


def test_the_guide_says_what_becomes_of_every_parameter_of_the_stock_operator() -> None:
    _, _, section = GUIDE.partition("## From the stock operator")
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", section, re.MULTILINE)
    explained = {name: here for names, here in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(explained) == STOCK
    same = {name for name, here in explained.items() if here.startswith("the ")}
    assert same == STOCK & set(PARAMETERS)
