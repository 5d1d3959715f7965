"""The form of cpu_start: what it refuses, and what follows from what a person enters."""

from __future__ import annotations

import base64
import zlib
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError

from dags import cpu_start, start_form
from dags.bundled import file_of
from tests.support.solver import EXAMPLE


def test_start_run_has_the_same_name_in_every_try_and_another_for_another_run() -> None:
    at = datetime(2026, 11, 22, 8, 47, 25, tzinfo=UTC)
    names = [
        start_form.start_id({"dag_run": SimpleNamespace(run_id=run, run_after=at)})
        for run in ("manual__1", "manual__1", "manual__2")
    ]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("20261122-084725-")


HOSTILE = "nop +0\n$(REDIS_URL) {{ 1 + 1 }} '; rm -rf / #\x00\u2028"


@pytest.mark.parametrize("program", ["nop +0\n", HOSTILE, "acc +9223372036854775807\n" * 10_000])
def test_program_reaches_the_pod_complete_and_encoded(program: str) -> None:
    context = {
        "params": {
            **{"bundled": "example", "program": program, "parts": "part 2"},
            **{"stop_at_first_answer": False, "cycles": 100.0},  # as the form may send it
        },
        "dag_run": SimpleNamespace(run_id="manual__1", run_after=datetime.now(UTC)),
    }
    args = start_form.store_args(context)  # type: ignore[arg-type]
    flags, chunks = args[: args.index("--encoded")], args[args.index("--encoded") + 1 :]
    assert flags[3:] == ["--part", "2", "--keep-going", "--cycles", "100"]
    assert zlib.decompress(base64.b64decode("".join(chunks))).decode() == program
    assert all(len(chunk) <= start_form.CHUNK and "$" not in chunk for chunk in chunks)


def test_program_that_is_entered_runs_instead_of_the_one_that_is_chosen() -> None:
    assert start_form.program_of({"bundled": "endless", "program": "acc +1\n"}) == "acc +1\n"
    assert start_form.program_of({"bundled": "endless", "program": None}) == file_of("endless").read_text()


def test_form_chooses_the_example_unless_a_person_or_a_request_says_otherwise() -> None:
    assert start_form.program_of(cpu_start.dag.params.validate()) == EXAMPLE


@pytest.mark.parametrize(
    ("parts", "cpus"), [("both", [0, 1, 3, 5, 8]), ("part 1", [0]), ("part 2", [1, 3, 5, 8])]
)
def test_cpus_to_start_are_the_candidates_of_the_parts_that_are_asked(parts: str, cpus: list[int]) -> None:
    assert start_form.cpus_to_start(parts, "0x12a") == cpus


@pytest.mark.parametrize(
    "conf",
    [
        {"bundled": "unknown"},
        {"program": ""},
        {"program": "nop +0\n" * 200_000},
        {"cycles": 0},
        {"cycles": "1; rm"},
        {"parts": "part 3"},
        {"stop_at_first_answer": "maybe"},
    ],
)
def test_form_refuses_values_out_of_range(conf: dict[str, Any]) -> None:
    params = {**cpu_start.dag.params, **conf}
    form = ParamsDict({key: Param(params[key], **cpu_start.dag.params.get_param(key).schema) for key in conf})
    with pytest.raises(ParamValidationError):
        form.validate()
