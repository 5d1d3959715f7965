"""What holds for the local endpoint only: access, its containers' surroundings, its end and restart."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import ssl
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import psutil
import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from scripts.local.services.endpoint import LIBRARIES
from scripts.waiting import wait_until
from tests.cpu_image.test_main import ENCODED
from tests.support import redis_server as servers
from tests.support.cluster import PATIENCE, ROOT, Cluster, Endpoint, ended, endpoint, runs, terminated

_PROGRAM = """\
import json, os, signal, sys
match sys.argv[1:]:
    case ["exit", code]:
        print("said")
        sys.exit(int(code))
    case ["fail"]:
        raise ValueError("on purpose")
    case ["both"]:
        for number in range(3):
            print(number, "aside", file=sys.stderr)
            print(number, "said", flush=True)
        sys.exit()
    case ["die"]:
        os.kill(os.getpid(), signal.SIGTERM)
    case ["parent"]:
        print(os.getppid(), flush=True)
        signal.pause()
descriptors = sorted(int(name) for name in os.listdir("/proc/self/fd") if name.isdigit())
print(json.dumps({
    "arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ),
    "leads": os.getpid() == os.getsid(0), "umask": os.umask(0), "descriptors": descriptors[:-1],
    "stdin": os.readlink("/proc/self/fd/0"),
}))
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders of images whose program prints what it got: one is started, one is forked."""
    folders = {name: tmp_path_factory.mktemp("image") for name in ("probe", "preloaded-probe")}
    for folder in folders.values():
        (folder / "probe").mkdir()
        (folder / "probe" / "__main__.py").write_text(_PROGRAM)
    (folders["preloaded-probe"] / "probe" / "preload.py").touch()
    return folders


@contextlib.contextmanager
def connected(to: Endpoint) -> Iterator[Cluster]:
    """Yield the default namespace of an endpoint."""
    cluster = Cluster.connect(to.kubeconfig, "default", "alpine")
    try:
        yield cluster
    finally:
        cluster.api.api_client.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, images: dict[str, Path]) -> Iterator[Endpoint]:
    """An endpoint for this file's tests, with the images and a variable that no container must get."""
    state = tmp_path_factory.mktemp("own endpoint")  # a space in its name, on purpose
    options = [option for name, folder in images.items() for option in ("--image", f"{name}={folder}")]
    with endpoint(state, *options, LEAKED="secret") as running:
        yield running


@pytest.fixture(scope="module")
def local(own: Endpoint) -> Iterator[Cluster]:
    """That endpoint's default namespace."""
    with connected(own) as cluster:
        yield cluster


def server(of: Endpoint) -> tuple[str, ssl.SSLContext, str]:
    """Return an endpoint's address, a context that trusts it, and its token."""
    config = yaml.safe_load(of.kubeconfig.read_text())
    context = ssl.create_default_context(cafile=str(of.state / "tls.crt"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return config["clusters"][0]["cluster"]["server"], context, config["users"][0]["user"]["token"]


def get(url: str, context: ssl.SSLContext, token: str | None) -> tuple[int, Any]:
    """Return the code and the JSON body of the answer to a GET request."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, context=context, timeout=PATIENCE) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_the_version_names_the_endpoint_and_only_its_token_is_accepted(own: Endpoint) -> None:
    address, context, token = server(own)
    assert get(f"{address}/version", context, token)[1]["gitVersion"] == "v1.30.0-local-processes"
    assert get(f"{address}/api/v1/pods", context, token)[0] == 200
    for wrong in (None, "wrong"):
        code, status = get(f"{address}/api/v1/pods", context, wrong)
        assert (code, status["kind"], status["reason"]) == (401, "Status", "Unauthorized")


def test_an_unknown_path_is_refused_with_a_status_object(own: Endpoint) -> None:
    address, context, token = server(own)
    pod = "/api/v1/namespaces/default/pods/a"
    for path in ("/nowhere", "/api/v1/widgets", f"{pod}/portforward", f"{pod}/attach"):
        code, status = get(address + path, context, token)
        assert (code, status["kind"], status["reason"]) == (404, "Status", "NotFound")


def test_a_container_s_stdin_is_refused_by_name(local: Cluster) -> None:
    with pytest.raises(ApiException, match=r"spec\.containers\[0\]\.stdin: Forbidden") as error:
        local.create(container={"stdin": True})
    assert error.value.status == 422


def test_a_part_of_a_log_by_bytes_is_refused_by_name(local: Cluster) -> None:
    name = local.finished().metadata.name
    with pytest.raises(ApiException, match="limitBytes is not supported") as error:
        local.log(name, limit_bytes=5)
    assert error.value.status == 400


def test_the_endpoint_listens_on_loopback_and_only_its_user_can_read_its_files(own: Endpoint) -> None:
    listening = [
        each for each in psutil.Process(own.process.pid).net_connections() if each.status == "LISTEN"
    ]
    assert [each.laddr.ip for each in listening] == ["127.0.0.1"]
    for name in ("kubeconfig", "token", "tls.key", "objects.sqlite"):
        assert stat.S_IMODE((own.state / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["probe", "preloaded-probe"])
def test_an_image_s_package_gets_only_the_given_environment_and_descriptors(
    local: Cluster, images: dict[str, Path], name: str
) -> None:
    variables = [{"name": "GIVEN", "value": "1"}]
    container = {
        "name": "main",
        "image": f"registry.example:5000/x/{name}:v2",
        "env": variables,
        "args": ["a", "b"],
    }
    pod = local.finished(containers=[container])
    printed = json.loads(local.log(pod.metadata.name))
    environment = printed["environment"]
    environment.pop("LC_CTYPE", None)  # Python sets this for itself where there is no locale
    assert sorted(environment) == ["GIVEN", "HOME", "HOSTNAME", "PATH"]
    assert environment["HOSTNAME"] == pod.metadata.name
    assert (printed["arguments"], printed["folder"]) == (["a", "b"], str(images[name]))
    assert (printed["leads"], printed["stdin"], printed["umask"]) == (True, "/dev/null", 0o022)
    assert printed["descriptors"] == [0, 1, 2]


@pytest.mark.parametrize("name", ["probe", "preloaded-probe"])
@pytest.mark.parametrize(
    ("args", "code", "says"),
    [(["exit", "0"], 0, "said"), (["exit", "3"], 3, "said"), (["fail"], 1, "on purpose"), (["die"], 143, "")],
)
def test_the_exit_code_and_log_are_those_of_the_image_s_program(
    local: Cluster, name: str, args: list[str], code: int, says: str
) -> None:
    pod = local.finished(containers=[{"name": "main", "image": name, "args": args}])
    assert terminated(pod).exit_code == code
    assert says in local.log(pod.metadata.name)


@pytest.mark.parametrize("name", ["probe", "preloaded-probe"])
def test_a_log_has_stdout_and_stderr_in_the_order_they_were_written(local: Cluster, name: str) -> None:
    pod = local.finished(containers=[{"name": "main", "image": name, "args": ["both"]}])
    said = local.log(pod.metadata.name).splitlines()
    assert said == [f"{number} {word}" for number in range(3) for word in ("aside", "said")]


def test_the_log_of_a_cpu_pod_is_a_sentence_and_then_its_result(tmp_path: Path) -> None:
    arguments = ["store", "--start", "s", "--encoded", ENCODED]
    image = f"cpu={ROOT / 'cpu_image'}:{LIBRARIES}"
    with (
        servers.running() as redis,
        endpoint(tmp_path, "--image", image) as running,
        connected(running) as cluster,
    ):
        values = {"REDIS_URL": redis.url, "RESULT_FILE": "/dev/termination-log"}
        variables = [{"name": name, "value": value} for name, value in values.items()]
        container = {"name": "main", "image": "cpu:dev", "args": arguments, "env": variables}
        pod = cluster.finished(containers=[container])
        sentence, line = cluster.log(pod.metadata.name).splitlines()
    assert sentence == "stored 9 instructions for start run s, 4 candidates"
    assert json.loads(line)["status"] == "stored"


def parent_of(cluster: Cluster, name: str) -> psutil.Process:
    """Return the process that the pod's process was forked from."""
    follow = kubernetes.watch.Watch().stream
    with contextlib.closing(follow(cluster.api.read_namespaced_pod_log, name, "default")) as lines:
        return psutil.Process(int(next(lines)))


def test_a_launcher_is_replaced_when_its_code_changes_or_it_is_killed(
    local: Cluster, images: dict[str, Path]
) -> None:
    def another() -> str:
        container = {"name": "main", "image": "preloaded-probe", "args": ["parent"]}
        return str(local.create_pod(containers=[container]).metadata.name)

    pods = [another(), another()]
    first = parent_of(local, pods[0])
    assert parent_of(local, pods[1]) == first
    main = images["preloaded-probe"] / "probe" / "__main__.py"
    main.write_text(main.read_text() + "# changed\n")
    pods.append(another())
    second = parent_of(local, pods[2])
    assert second != first
    local.api.delete_namespaced_pod(pods[0], "default", grace_period_seconds=0)
    assert runs(local.read(pods[1]))
    local.api.delete_namespaced_pod(pods[1], "default", grace_period_seconds=0)
    first.wait(timeout=PATIENCE)
    second.kill()
    assert terminated(local.until(pods[2], ended)).exit_code == 137
    pods.append(another())
    assert parent_of(local, pods[3]) not in (first, second)
    local.api.delete_namespaced_pod(pods[3], "default", grace_period_seconds=0)


def test_mount_paths_are_rewritten_only_where_they_are_whole_paths(local: Cluster) -> None:
    script = 'echo kept > /data/a; cat "/data"/a; echo /data2 /x/data /database; echo "$WHERE"; pwd'
    container = {
        "volumeMounts": [{"name": "v", "mountPath": "/data"}],
        "env": [{"name": "WHERE", "value": "file:/data/a"}],
        "workingDir": "/data",
    }
    pod = local.finished(script, container=container, volumes=[{"name": "v", "emptyDir": {}}])
    first, untouched, where, folder = local.log(pod.metadata.name).splitlines()
    assert (first, untouched) == ("kept", "/data2 /x/data /database")
    assert where == f"file:{folder}/a" or where.endswith("/volumes/v/a")


def test_pgrep_and_proc_in_an_exec_show_only_the_container_s_processes(local: Cluster) -> None:
    trap = "trap 'exit 0' INT; echo ready; while true; do sleep 0.1; done"
    with subprocess.Popen(["sh", "-c", trap]) as bystander:
        try:
            for kill in (
                "kill -2 $(pgrep -u $(id -u) -f 'sh')",
                'for f in /proc/[0-9]*/comm; do [ -O $f ] && read c < $f && [ "$c" = "sh" ] '
                "&& pid=${f%/comm} && kill -2 ${pid##*/}; done",
            ):
                name = local.running(trap)
                local.until_said(name)
                local.exec(name, "/bin/sh", stdin=f"{kill}\n")
                assert terminated(local.until(name, ended)).exit_code == 0
            assert bystander.poll() is None
        finally:
            bystander.terminate()


def test_the_processes_that_a_container_started_end_with_it(local: Cluster) -> None:
    pod = local.finished("sleep 300 & echo $!")
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(local.log(pod.metadata.name))).wait(timeout=PATIENCE)


def test_a_watch_from_a_forgotten_resource_version_is_refused_as_expired(local: Cluster) -> None:
    stream = kubernetes.watch.Watch().stream
    with pytest.raises(ApiException) as error:
        next(stream(local.api.list_pod_for_all_namespaces, resource_version="1", timeout_seconds=5))
    assert error.value.status == 410
    assert "too old resource version" in str(error.value)


def test_a_list_of_a_forgotten_version_is_refused_as_expired(local: Cluster) -> None:
    page = {"limit": 1, "_continue": base64.urlsafe_b64encode(b'[1, "default", "a"]').decode()}
    for old in ({"resource_version": "1", "resource_version_match": "Exact"}, page):
        with pytest.raises(ApiException, match="too old resource version: 1") as error:
            local.api.list_namespaced_pod("default", **old)
        assert (error.value.status, json.loads(error.value.body)["reason"]) == (410, "Expired")


def test_a_list_of_a_version_to_come_is_refused(local: Cluster) -> None:
    version = int(local.api.list_namespaced_pod("default").metadata.resource_version)
    with pytest.raises(ApiException, match="Too large resource version") as error:
        local.api.list_namespaced_pod("default", resource_version=str(version + 10**9))
    assert error.value.status == 504


def test_twenty_pods_at_once_all_succeed_and_leave_no_files_when_deleted(local: Cluster) -> None:
    created = [local.create_pod("echo done", labels={"set": "twenty"}) for _ in range(20)]
    for pod in created:
        assert local.until(pod.metadata.name, ended).status.phase == "Succeeded"
        assert local.log(pod.metadata.name) == "done\n"
    for pod in created:
        local.api.delete_namespaced_pod(pod.metadata.name, "default")
    pods = local.kubeconfig.parent / "pods"
    folders = [pods / pod.metadata.uid for pod in created]
    assert wait_until(lambda: not any(folder.exists() for folder in folders), PATIENCE)


def test_containers_beyond_the_starting_limit_wait_as_pending(tmp_path: Path) -> None:
    with endpoint(tmp_path, "--starting", "1") as own, connected(own) as cluster:
        created = [cluster.create_pod("sleep 60") for _ in range(3)]
        cluster.until(created[0].metadata.name, runs)
        assert cluster.read(created[2].metadata.name).status.phase == "Pending"
        for pod in created:
            cluster.until(pod.metadata.name, runs)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_containers_end_with_the_endpoint_and_the_next_one_marks_their_pods_as_failed(
    tmp_path: Path, how: signal.Signals
) -> None:
    with endpoint(tmp_path) as first, connected(first) as cluster:
        cluster.secret(key="kept")
        finished = cluster.finished("echo said").metadata.name
        name = cluster.running("sleep 300 & echo $! $$$$; wait")  # $$ is Kubernetes' own way to write $
        follow = kubernetes.watch.Watch().stream
        with contextlib.closing(follow(cluster.api.read_namespaced_pod_log, name, "default")) as lines:
            pids = [int(word) for word in next(lines).split()]
        last = int(cluster.read(name).metadata.resource_version)
        # What was written in the last moment before a kill may be lost, so the end waits for that moment.
        with contextlib.closing(
            kubernetes.watch.Watch().stream(cluster.api.list_namespaced_pod, "none", timeout_seconds=1)
        ) as moment:
            assert not list(moment)
        first.stop(how)
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).wait(timeout=PATIENCE)
    with endpoint(tmp_path) as second, connected(second) as cluster:
        pod = cluster.read(name)
        assert (pod.status.phase, pod.status.reason) == ("Failed", "EndpointStopped")
        assert cluster.log(finished) == "said\n"
        assert int(pod.metadata.resource_version) > last
        assert cluster.api.list_namespaced_secret("default").items


def test_a_stopped_endpoint_exits_with_0_and_leaves_no_process(tmp_path: Path) -> None:
    with endpoint(tmp_path) as own, connected(own) as cluster:
        cluster.running("trap '' TERM; sleep 300")
        left = psutil.Process(own.process.pid).children(recursive=True)
        assert left
        assert own.stop() == 0
        assert psutil.wait_procs(left, timeout=PATIENCE)[1] == []


@pytest.mark.parametrize("taken", ["port", "state"])
def test_a_port_or_state_folder_in_use_is_a_one_line_error(own: Endpoint, tmp_path: Path, taken: str) -> None:
    port = server(own)[0].rsplit(":", 1)[1]
    options = ["--port", port, "--state", str(tmp_path)] if taken == "port" else ["--state", str(own.state)]
    command = [sys.executable, "-m", "scripts.kube", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert port in done.stderr or str(own.state) in done.stderr
