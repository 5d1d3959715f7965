"""A pod's result is kept unchanged by all of Airflow, or refused in one sentence."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, cast

import httpx
import msgspec
import pytest
from airflow.jobs.triggerer_job_runner import ToTriggerSupervisor, TriggerEventEntry, messages
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time.comms import (
    SetXCom,
    ToSupervisor,
    ToTask,
    XComResult,
    _RequestFrame,
    _ResponseFrame,
)
from airflow.sdk.serde import deserialize, serialize
from airflow.triggers.base import TriggerEvent
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_asyncio import client
from pydantic import JsonValue, TypeAdapter

import airflow_pods as pods
from airflow_pods.printable import printable
from airflow_pods.result import MAX_LEVELS
from airflow_pods.status import result_of
from tests.support import untrusted

DEEP = '{"a":' + "[" * 900 + "]" * 900 + "}"
REFUSED = [
    ('{"acc": NaN}', "NaN"),
    ('{"acc": -Infinity}', "-Infinity"),
    ('{"acc": 1e999}', "1e999"),
    ('{"acc": 1e30}', "1e30"),
    ('{"acc": 71074574381370064.0}', "71074574381370064.0"),
    ('{"acc": 123456789012345678901234567890}', "123456789012345678901234567890"),
    ('{"acc": 18446744073709551616}', "18446744073709551616"),
    ('{"acc": -9223372036854775809}', "-9223372036854775809"),
    ('{"acc": -1e19}', "-1e19"),
    (f'{{"acc": {"7" * 4000}}}', "77777"),
    (r'{"text": "a\u0000b"}', r"'a\\x00b'"),
    (r'{"a\u0000b": 1}', r"'a\\x00b'"),
    (r'{"text": ["\ud800"]}', r"'\\ud800'"),
    (r'{"\udcff": 1}', r"'\\udcff'"),
    (DEEP, "32 levels"),
    ("[" * 4096, "32 levels"),
    ('{"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1]}', "'__classname__'"),
    ('{"a": {"__type": "dict", "__var": {}}}', "'__type'"),
    ('{"a": [{"__id__": 1}]}', "'__id__'"),
    ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' twice"),
    ("[1]", r"no JSON object .*'\[1\]'"),
    ("", "nothing as its result"),
    ("\x1b[31mTraceback\nof\tthings\x00", r"no JSON object .*'\\x1b\[31mTraceback\\nof\\tthings\\x00'"),
]


def pod(message: str, code: int = 0) -> client.V1Pod:
    """Return a finished pod with this termination message and exit code."""
    end = client.V1ContainerStateTerminated(exit_code=code, message=message)
    status = client.V1ContainerStatus(
        name="main",
        state=client.V1ContainerState(terminated=end),
        image="cpu:1",
        image_id="",
        ready=False,
        restart_count=0,
    )
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name="cpu-1", namespace="cpu-jobs"),
        spec=client.V1PodSpec(containers=[client.V1Container(name="main", image="cpu:1")]),
        status=client.V1PodStatus(
            phase="Failed" if code else "Succeeded", container_statuses=[status], message=message
        ),
    )


@pytest.mark.parametrize(("left", "quoted"), REFUSED)
def test_a_result_that_airflow_would_change_is_refused_with_the_part_that_is_wrong(
    left: str, quoted: str
) -> None:
    with pytest.raises(
        pods.PodRefused, match=f"^pod cpu-1 in namespace cpu-jobs .* left .*{quoted}"
    ) as raised:
        result_of(pod(left))
    assert is_one_sentence(str(raised.value))


def is_one_sentence(text: str) -> bool:
    """Return whether the text is one short printable line."""
    return text.isprintable() and len(text) < 500


@pytest.mark.parametrize(
    "left",
    [
        '{"acc": 18446744073709551615, "pc": -9223372036854775808, "x": -0.0, "y": 5e-324, "z": 9.999e15}',
        r'{"text": "\ud83d\ude00\u2028\u007f\u001b", "": null, "_": {"_a": [true, false]}, "a__": 1}',
        '{"a":' + "[" * (MAX_LEVELS - 1) + "]" * (MAX_LEVELS - 1) + "}",
    ],
)
def test_a_result_at_the_limits_is_accepted(left: str) -> None:
    result = result_of(pod(left))
    assert result == json.loads(left)
    assert kept(result) == result


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | untrusted.text
    | st.sampled_from([10**30, 2.0**64, 1e300])
)
meant_by_airflow = st.sampled_from(["__classname__", "__version__", "__data__", "__type", "__var", "__id__"])
keys = untrusted.text | meant_by_airflow | st.sampled_from("ab")
values = st.recursive(
    leaves, lambda one: st.lists(one, max_size=3) | st.dictionaries(keys, one, max_size=3), max_leaves=12
)
nested = st.builds(lambda value, levels: _nest(value, levels), values, st.integers(0, 60))
results = st.dictionaries(keys, values | nested, max_size=4)
classes = st.dictionaries(meant_by_airflow, st.sampled_from(["builtins.tuple", "dict", 1, [1]]), min_size=2)
texts = st.builds(
    lambda value, ascii_: json.dumps(value, ensure_ascii=ascii_), results | classes, st.booleans()
)


def _nest(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value


@given(texts | untrusted.text | st.text(alphabet='{}[]":,\\u0dN1e-+.ainty_'))
def test_any_text_is_either_refused_in_one_sentence_or_a_result_that_airflow_keeps_unchanged(
    left: str,
) -> None:
    result = refusal = None
    try:
        result = result_of(pod(left))
    except pods.PodRefused as error:
        refusal = str(error)
    if refusal is not None:
        assert is_one_sentence(refusal)
        assert kept(refusal) == refusal
    else:
        assert result == json.loads(left)
        assert kept(result) == result
        assert resumed(result) == result


@given(untrusted.text | st.text(min_size=1000, max_size=5000), st.sampled_from([1, 2]))
def test_airflow_keeps_the_error_of_any_failed_pod_unchanged(said: str, code: int) -> None:
    with pytest.raises((pods.PodFailed, pods.PodRefused)) as raised:
        result_of(pod(said, code))
    message = str(raised.value)
    assert len(message) <= 2_003
    assert message.replace("\n", "").replace("\t", "").isprintable()
    assert kept(message) == message


def test_printable_keeps_line_breaks_escapes_what_is_unprintable_and_cuts_out_the_middle() -> None:
    assert printable("one\n\ttwo → é") == "one\n\ttwo → é"
    assert printable("\x1b[31m\0\ud800\u202e") == r"\x1b[31m\x00\ud800\u202e"
    assert printable("a" * 50 + "b" * 50, 20) == "a" * 10 + " … " + "b" * 10


def kept(value: Any) -> Any:
    """Return the value after its way as an XCom: through supervisor, API and PostgreSQL, and back."""
    serialised: Any = BaseXCom.serialize_value(value)
    message = SetXCom(dag_id="cpu", run_id="r", task_id="execute", key="return_value", value=serialised)
    frame = _RequestFrame(id=1, body=message.model_dump()).as_bytes()[4:]
    body = msgspec.msgpack.Decoder(_RequestFrame).decode(frame).body
    received: Any = TypeAdapter(ToSupervisor).validate_python(body)
    request = httpx.Request("POST", "http://localhost", json=received.value)
    stored = in_postgres(TypeAdapter(JsonValue).validate_python(json.loads(request.content)))
    answer = XComResult.model_validate_json(XComResult(key="return_value", value=stored).model_dump_json())
    frame = _ResponseFrame(id=1, body=answer.model_dump()).as_bytes()[4:]
    body = msgspec.msgpack.Decoder(_ResponseFrame).decode(frame).body
    returned: Any = TypeAdapter(ToTask).validate_python(body)
    return BaseXCom.deserialize_value(returned)


def resumed(result: Any) -> Any:
    """Return the result after its way from the triggerer to the worker that takes it."""
    entry = TriggerEventEntry(1, cast("Any", TriggerEvent({"result": result})), None)  # type: ignore[no-untyped-call]
    changes = messages.TriggerStateChanges(events=[entry])
    frame = _RequestFrame(id=1, body=changes.model_dump()).as_bytes()[4:]
    body = msgspec.msgpack.Decoder(_RequestFrame).decode(frame).body
    received: Any = TypeAdapter(ToTriggerSupervisor).validate_python(body)
    stored = in_postgres(serialize({"event": received.events[0].event.payload}))
    return cast("Any", deserialize(stored))["event"]["result"]


def in_postgres(value: Any) -> Any:
    """Return the value as PostgreSQL's jsonb returns it: it has no NUL, and its numbers are decimals."""
    text = json.dumps(value, allow_nan=False)
    assert "\\u0000" not in text
    text.encode()

    def number(digits: str) -> int | float:
        decimal = format(Decimal(digits), "f")
        return float(decimal) if "." in decimal else int(decimal)

    return json.loads(text, parse_float=number)
