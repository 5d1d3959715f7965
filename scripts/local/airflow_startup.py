"""Wait until Airflow works: its API answers, every DAG is parsed, scheduler and triggerer are alive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from scripts.airflow_api import Api, import_error
from scripts.local import dag_files
from scripts.local.errors import StackError
from scripts.local.one_shot import OneShot
from scripts.local.services import airflow
from scripts.local.settings import Settings
from scripts.local.stack import Stack
from scripts.local.starter import Starter


def wait_for_airflow(stack: Stack, starter: Starter, discovery: OneShot) -> None:
    """Wait until Airflow, whose processes have just been started, works.

    Raises StackError if one of them ends, or for a DAG file that can't be imported.
    """
    names = [component.name for component in stack.airflow]
    files = _discovered(stack.settings, discovery)
    with Api(stack.settings.api_url, airflow.ADMIN, stack.passwords.admin) as api:
        starter.wait_for("Airflow's API", lambda: _is_healthy(api), needs=names)
        wait_for_dags(api, starter, files, needs=names)
        for name in ("scheduler", "triggerer"):
            starter.wait_for(f"the {name}", partial(_is_alive, api, starter, name), needs=names)


def _discovered(settings: Settings, discovery: OneShot) -> dict[str, str]:
    """Return the file of each DAG in the folder; raise StackError for a file that can't be imported."""
    discovery.wait()
    found = dag_files.load(airflow.found_file(settings))
    for file, trace in found.errors.items():
        raise StackError(import_error(file, trace))
    return found.dags


def wait_for_dags(api: Api, starter: Starter, files: dict[str, str], needs: Sequence[str] = ()) -> None:
    """Wait until the DAG processor, since its start, has parsed every DAG; ``files`` has each DAG's file.

    Raises StackError for a DAG file that can't be imported.
    """
    since = starter.started_at("dag-processor")
    unparsed = dict(files)

    def are_parsed() -> bool:
        for error in api.import_errors():
            if datetime.fromisoformat(error["timestamp"]) >= since:
                raise StackError(import_error(error["filename"], error["stack_trace"]))
        for dag in api.dags():
            if dag["last_parsed_time"] and datetime.fromisoformat(dag["last_parsed_time"]) >= since:
                unparsed.pop(dag["dag_id"], None)
        return not unparsed

    starter.wait_for(
        "the DAGs",
        are_parsed,
        needs=needs,
        missing=lambda: ", ".join(f"{dag} of {file}" for dag, file in unparsed.items()),
    )


def _is_healthy(api: Api) -> bool:
    """Return whether the API answers, accepts the password and reaches its database."""
    return bool(api.health()["metadatabase"]["status"] == "healthy")


def _is_alive(api: Api, starter: Starter, name: str) -> bool:
    """Return whether a process of Airflow's has sent a heartbeat since its start."""
    beat = api.health()[name].get(f"latest_{name}_heartbeat")
    return beat is not None and datetime.fromisoformat(beat) >= starter.started_at(name)
