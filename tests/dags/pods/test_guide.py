"""The example in docs/pods.md works, and its table of parameters is complete."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, Param

import airflow_pods as pods
from airflow_pods.parameters import ShapedPod
from tests.support.kubernetes_api import KubernetesApi, finished, kubeconfig, serving, terminated

GUIDE = (Path(__file__).parents[3] / "docs" / "pods.md").read_text()
PROGRAM, DAG_FILE, SET_FILE = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
TEXT = "to be or not to be"
PARAMETERS = {
    name: parameter.default
    for operator in (pods.PodOperator, ShapedPod)
    for name, parameter in inspect.signature(operator).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
}
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


@pytest.fixture
def task(tmp_path: Path) -> pods.PodOperator:
    """The example's task, with its templates rendered."""
    file = tmp_path / "count_words.py"
    file.write_text(DAG_FILE)
    spec = spec_from_file_location("count_words", file)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    task = module.count.prepare_for_execution()
    assert isinstance(task, pods.PodOperator)
    run = SimpleNamespace(run_after=datetime(2026, 11, 22, 8, 47, 25, tzinfo=UTC))
    context: Any = {"dag": module.dag, "dag_run": run, "params": {"text": TEXT}}
    task.render_template_fields(context)
    return task


@pytest.fixture
def message(tmp_path: Path) -> str:
    """The termination message that the example's program leaves."""
    file = tmp_path / "termination-log"
    program = PROGRAM.replace("/dev/termination-log", str(file))
    subprocess.run([sys.executable, "-c", program, TEXT], check=True)
    return file.read_text()


async def test_the_example_runs_its_pod_and_follows_the_branch(
    task: pods.PodOperator, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert task.manifest()["metadata"]["name"] == "count-20261122-084725-000000"
    api = KubernetesApi()
    api.final_status = finished(main=terminated(message))
    async with serving(api) as server:
        connection = {"conn_type": "kubernetes", "extra": {"kube_config": kubeconfig(server)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        result = await pods.run_pod(task.kubernetes_conn_id, task.manifest())
    assert result == {"words": 6, "sentence": f"counted: {TEXT}"}
    assert api.seen["DELETE", 200] == 1
    assert task.branch
    assert {task.branch(result), task.branch({"words": 101})} == task.downstream_task_ids


def test_the_example_of_many_pods_runs_one_pod_for_every_hundred_rows() -> None:
    scope: dict[str, Any] = {"__name__": "rows", "DAG": DAG, "Param": Param, "PodOperator": pods.PodOperator}
    exec(SET_FILE, scope)  # noqa: S102
    [task] = scope["dag"].tasks
    run = SimpleNamespace(run_after=datetime(2026, 11, 22, 8, 47, 25, tzinfo=UTC))
    context: Any = {"params": {"rows": 10_001}, "dag_run": run}
    rendered = task.template().rendered(context, task.get_template_env())
    assert rendered.indexed().count == 101
    assert rendered.title() == "Set rows-20261122-084725-000000 of 101 pods"
    assert scope["add_up"](scope["add_up"](None, {"rows": 100}), {"rows": 1}) == 101


def test_the_table_lists_every_parameter_with_its_default() -> None:
    table = {
        name: default.strip()
        for name, default in re.findall(r"^\| `(\w+)` \|([^|]*)\|[^|]+\|$", GUIDE, re.MULTILINE)
    }
    no_default = inspect.Parameter.empty
    shown = {no_default: "", None: "none", "": '`""`'}
    assert table == {name: shown.get(default, f"`{default}`") for name, default in PARAMETERS.items()}


def test_parameters_have_the_stock_operator_s_names_unless_it_lacks_them() -> None:
    assert set(PARAMETERS) - STOCK == OURS


def test_the_guide_says_what_becomes_of_every_parameter_of_the_stock_operator() -> None:
    _, _, section = GUIDE.partition("## From the stock operator")
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", section, re.MULTILINE)
    explained = {name: here for names, here in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(explained) == STOCK
    same = {name for name, here in explained.items() if here.startswith("the ")}
    assert same == STOCK & set(PARAMETERS)
