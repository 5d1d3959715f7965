"""What the endpoint answers to damaged requests: a refusal that says why, and quotes no Secret."""

from __future__ import annotations

import base64
import copy
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.kube import server
from tests.support.cluster import PATIENCE, Cluster, Endpoint, endpoint, terminated

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "labels": {"a": "b"}, "annotations": {"c": "d"}},
    "spec": {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "activeDeadlineSeconds": 60,
        "hostname": "h",
        "volumes": [
            {"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": "x", "mode": 256}]}},
            {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
        "initContainers": [{"name": "i", "image": "none"}],
        "containers": [
            {
                "name": "c",
                "image": "none",
                "command": ["true"],
                "args": ["x"],
                "workingDir": "/w",
                "env": [
                    {"name": "A", "value": "b"},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
                    {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "envFrom": [{"prefix": "P", "secretRef": {"name": "s", "optional": True}}],
                "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "x"}],
                "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
                "terminationMessagePath": "/m",
            }
        ],
    },
}
SECRET = {"metadata": {"name": "s"}, "type": "Opaque", "data": {"k": "dg=="}, "stringData": {"t": "u"}}
NAMESPACE = {"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}}
OPTIONS = {"gracePeriodSeconds": 0, "dryRun": ["All"], "preconditions": {"uid": "x"}}
PATCHES = [
    {"metadata": {"labels": {"a": None, "b": "c"}}},
    [
        {"op": "add", "path": "/metadata/labels/x", "value": "y"},
        {"op": "test", "path": "/kind", "value": "Pod"},
    ],
]


class Client:
    """Sends raw requests to an endpoint over one connection."""

    def __init__(self, to: Endpoint) -> None:
        config = yaml.safe_load(to.kubeconfig.read_text())
        server = urlsplit(config["clusters"][0]["cluster"]["server"])
        context = ssl.create_default_context(cafile=str(to.state / "tls.crt"))
        assert server.hostname
        self._connection = http.client.HTTPSConnection(
            server.hostname, server.port, context=context, timeout=PATIENCE
        )
        self._token = config["users"][0]["user"]["token"]

    def send(self, method: str, path: str, body: Any = None, **headers: Any) -> tuple[int, Any]:
        """Return code and JSON of the answer; `body` is sent as JSON unless it is bytes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", **named}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request(method, path, data, headers)
        with self._connection.getresponse() as answer:
            text = answer.read()
            is_json = answer.headers.get_content_type() == "application/json"
            told = json.loads(text.splitlines()[0]) if is_json and text else text.decode()
            return answer.status, told

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """An endpoint for this file's tests."""
    with endpoint(tmp_path_factory.mktemp("endpoint")) as running:
        yield running


@pytest.fixture(scope="module")
def client(running: Endpoint) -> Iterator[Client]:
    """A client of it, with a secret that pods can use."""
    client = Client(running)
    assert client.send("POST", "/api/v1/namespaces/default/secrets", SECRET)[0] == 201
    yield client
    client.close()


PROTOBUF = "application/vnd.kubernetes.protobuf"
PODS = "/api/v1/namespaces/default/pods"
SECRETS = "/api/v1/namespaces/default/secrets"

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "..", "../x", "a/../b", "/x", "\x00", "\ud800", "a=b", "é", "x" * 300, "1e999"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=4,
)
queries = st.dictionaries(
    st.sampled_from(
        [
            "dryRun",
            "fieldValidation",
            "gracePeriodSeconds",
            "labelSelector",
            "fieldSelector",
            "limit",
            "continue",
            "watch",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "allowWatchBookmarks",
            "includeObject",
            "container",
            "tailLines",
            "limitBytes",
            "sinceSeconds",
            "sinceTime",
            "previous",
            "timestamps",
            "command",
        ]
    ),
    st.one_of(
        st.sampled_from(
            ["All", "Strict", "Warn", "true", "1", "0", "-1", "9" * 30, "9" * 5000, "²", "W10=", "MQ=="]
        ),
        st.sampled_from(
            ["status.phase=x", "a in (b", "0001-01-01T00:00:00", "9999-12-31T23:59:59Z", "WzEsMl0="]
        ),
        st.text(max_size=8),
    ),
    max_size=4,
)


@st.composite
def damaged(draw: st.DrawFn, original: Any) -> Any:
    """Draw the object with some of its values replaced, or with more of them."""
    thing = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        place = thing
        while isinstance(place, dict | list) and place:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], dict | list) or draw(st.integers(0, 3)) == 0:
                place[key] = draw(values)
                break
            place = place[key]
    if isinstance(thing, dict) and draw(st.booleans()):
        thing[draw(st.text(max_size=5))] = draw(values)
    return thing


bodies = st.one_of(
    *(damaged(thing) for thing in (POD, SECRET, NAMESPACE, OPTIONS, *PATCHES)),
    values,
    st.binary(max_size=40),
    st.binary(max_size=40).map(lambda data: b"k8s\x00" + data),
    st.sampled_from(
        [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b'{"metadata": {"name": "\\ud800"}}', b"1" * 9999]
    ),
)
paths = st.sampled_from(
    [
        *(PODS, f"{PODS}/p", f"{PODS}/p/log", f"{PODS}/p/exec", f"{PODS}/p/status", f"{PODS}/p/attach"),
        *(
            SECRETS,
            f"{SECRETS}/s",
            "/api/v1/namespaces",
            "/api/v1/namespaces/n",
            "/api/v1/nodes",
            "/api/v1/events",
        ),
        *(
            "/api/v1/pods",
            "/api/v1/namespaces/x/pods",
            "/api/v1/namespaces/..%2f/pods/%00",
            "/api/v1/%ff",
            "/version/",
        ),
    ]
)
media_types = st.sampled_from(
    [
        *(
            "application/json",
            "application/yaml",
            PROTOBUF,
            "",
            ";;",
            "application/json; charset=x",
        ),
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/strategic-merge-patch+json",
    ]
)


@settings(suppress_health_check=[*HealthCheck])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
    path=paths,
    query=queries,
    body=bodies,
    media_type=media_types,
    accept=st.sampled_from(["application/json", "application/json;as=Table;v=v1;g=meta.k8s.io", "\xff"]),
)
def test_no_request_is_answered_with_an_internal_error(
    client: Client, method: str, path: str, query: dict[str, str], body: Any, media_type: str, accept: str
) -> None:
    query = {**query, "timeoutSeconds": "1"} if query.get("watch") in ("1", "true") else query
    text = "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in query.items())
    code, told = client.send(method, f"{path}?{text}", body, Content_Type=media_type, Accept=accept)
    assert code < 500 or "container not found" in told["message"], told


@pytest.mark.parametrize("path", ["/version", "/api", "/apis", "/api/v1", "/openapi/v3"])
def test_a_trailing_slash_makes_no_difference(client: Client, path: str) -> None:
    assert client.send("GET", f"{path}/") == client.send("GET", path)
    assert client.send("GET", path)[0] == 200


def test_a_token_that_is_not_utf_8_is_refused(client: Client) -> None:
    for wrong in (b"Bearer \xff\xfe", "Bearer ü".encode()):
        assert client.send("GET", PODS, Authorization=wrong)[0] == 401


def test_a_watch_that_asks_for_initial_events_is_refused_as_invalid(
    client: Client,
) -> None:
    asked = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    code, status = client.send("GET", f"{PODS}?watch=1&timeoutSeconds=1&{asked}")
    assert (code, status["reason"]) == (422, "Invalid")
    assert "sendInitialEvents is forbidden for watch" in status["message"]


def test_a_deletion_with_options_of_a_wrong_type_deletes_nothing(client: Client) -> None:
    assert client.send("POST", SECRETS, {"metadata": {"name": "kept"}})[0] == 201
    code, status = client.send("DELETE", f"{SECRETS}/kept", {"gracePeriodSeconds": "soon"})
    assert (code, "gracePeriodSeconds" in status["message"]) == (400, True)
    assert client.send("GET", f"{SECRETS}/kept")[0] == 200


def misspelt() -> dict[str, Any]:
    container = {"name": "a", "image": "alpine", "comand": ["ls"]}
    return {"metadata": {"name": "misspelt"}, "spec": {"containers": [container]}}


def test_a_misspelt_field_is_refused_with_strict_validation_and_left_out_otherwise(client: Client) -> None:
    told = 'unknown field "spec.containers[0].comand"'
    create = f"{PODS}?dryRun=All"
    code, status = client.send("POST", f"{create}&fieldValidation=Strict", misspelt())
    assert (code, status["reason"]) == (400, "BadRequest")
    assert told in status["message"]
    for asked in ("", "&fieldValidation=Warn", "&fieldValidation=Ignore"):
        code, pod = client.send("POST", create + asked, misspelt())
        assert code == 201
        assert "comand" not in pod["spec"]["containers"][0]


def test_what_the_endpoint_does_not_serve_is_refused_with_the_reason(client: Client) -> None:
    refused = [
        ("POST", SECRETS, b"k8s\x00", PROTOBUF, 415, "application/json"),
        ("POST", PODS, b"k8s\x00", PROTOBUF, 415, "application/json"),
        ("DELETE", "/api/v1/pods", None, "application/json", 405, "does not allow this method"),
        ("DELETE", "/api/v1/namespaces", None, "application/json", 405, "does not allow this method"),
        (
            "GET",
            f"{PODS}?labelSelector={quote('a in b')}",
            None,
            "application/json",
            400,
            "a=b, a!=b, a, !a, a in (b,c), a notin (b,c)",
        ),
        ("GET", "/api/v1/nodes", None, "application/json", 404, "could not find the requested resource"),
    ]
    for method, path, body, media_type, code, says in refused:
        answered, status = client.send(method, path, body, Content_Type=media_type)
        assert (answered, status["kind"], says in status["message"]) == (code, "Status", True)


WORD = "correct-horse-battery-staple"
"""A secret value that must appear nowhere."""


UNREADABLE = [
    (SECRETS, "application/json", b'{"stringData": {"a": "\xff%s"}}' % WORD.encode()),
    (SECRETS, "application/json", b'{"stringData": {"a": "%s"' % WORD.encode()),
    (SECRETS, "application/json", {"metadata": {"name": "a"}, "data": {"a": WORD}}),
    (SECRETS, "application/json", {"metadata": {"name": "a"}, "data": {"a": f"é{WORD}"}}),
    (SECRETS, "application/json", {"metadata": {"name": "a"}, "stringData": [WORD]}),
    (SECRETS, "application/yaml", f"stringData: {{a: {WORD}".encode()),
    (SECRETS, PROTOBUF, b"k8s\x00\xff" + WORD.encode()),
    (PODS, "application/json", {"metadata": {"name": "a"}, "spec": {"containers": WORD}}),
]


def test_neither_answer_nor_log_quotes_an_unreadable_body(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with endpoint(tmp_path) as running:
        client = Client(running)
        for path, media_type, body in UNREADABLE:
            code, status = client.send("POST", path, body, Content_Type=media_type)
            assert code in (400, 415)
            assert WORD not in json.dumps(status)
        client.close()
        running.stop()
    assert WORD not in "".join(capfd.readouterr())


def test_a_variable_from_a_secret_may_hold_bytes_that_are_not_utf_8(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with endpoint(tmp_path) as running:
        cluster = Cluster.connect(running.kubeconfig, "default", "alpine")
        data = {"k": base64.b64encode(b"\xff" + WORD.encode()).decode()}
        cluster.api.create_namespaced_secret("default", {"metadata": {"name": "s"}, "data": data})
        variable = {"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
        read = cluster.finished('printf %s "$K" | od -An -tx1 -N2', container={"env": [variable]})
        assert cluster.log(read.metadata.name).split() == ["ff", f"{ord(WORD[0]):x}"]
        run = cluster.finished(container={"env": [variable], "command": ["$(K)"]})
        assert terminated(run).message.endswith('exec: "$(K)": executable file not found in $PATH')
        events = cluster.api.list_namespaced_event("default", _preload_content=False).data.decode()
        cluster.api.api_client.close()
        running.stop()
    assert WORD not in f"{run}{events}{capfd.readouterr()}"


async def test_an_unexpected_error_is_logged_and_answered_without_its_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def fail(_request: web.Request) -> web.StreamResponse:
        (b"\xff" + WORD.encode()).decode()
        raise AssertionError("not reached")

    answer = await server._errors(make_mocked_request("POST", "/api/v1/pods"), fail)
    assert isinstance(answer, web.Response)
    logged = capsys.readouterr().err
    assert (answer.status, "UnicodeDecodeError" in logged) == (500, True)
    assert WORD not in f"{answer.text}{logged}"


@pytest.mark.parametrize(
    "place",
    [
        "1",
        "null",
        "{}",
        "[1]",
        '[1, "default"]',
        '[true, "default", "p"]',
        '["1", "default", "p"]',
        "[" * 5000,
    ],
)
def test_a_continue_that_no_list_has_given_is_refused(client: Client, place: str) -> None:
    token = base64.urlsafe_b64encode(place.encode()).decode()
    code, told = client.send("GET", f"{PODS}?continue={quote(token)}")
    assert (code, told["message"]) == (400, "continue key is not valid: take it from the page before")
