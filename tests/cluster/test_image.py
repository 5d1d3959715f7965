"""The image on a real cluster: what it contains and which user it runs as."""

from __future__ import annotations

import pytest

from tests.cluster.image import PYTHON, Image
from tests.support.cluster import terminated
from tests.support.solver import EXAMPLE

LIST_PROGRAMS = """
import os
for folder, _, names in os.walk("/"):
    if not folder.startswith(("/proc", "/sys", "/dev")):
        for path in (os.path.join(folder, name) for name in names):
            if os.access(path, os.X_OK) and ".so" not in path:
                print(os.path.realpath(path))
"""


@pytest.mark.parametrize("shell", ["/bin/sh", "sh", "/bin/bash"])
def test_the_image_has_no_shell(image: Image, shell: str) -> None:
    state = terminated(image.run(container={"command": [shell, "-c", "true"]}))
    assert state.reason in ("StartError", "ContainerCannotRun")
    assert "no such file" in state.message or "not found" in state.message


def test_the_image_has_no_program_but_python(image: Image) -> None:
    programs = set(image.python(LIST_PROGRAMS).split())
    assert len(programs) == 1
    assert programs.pop().rpartition("/")[2].startswith("python3.")


@pytest.mark.parametrize("module", ["pip", "ensurepip", "venv"])
def test_the_image_has_no_package_installer(image: Image, module: str) -> None:
    pod = image.run(container={"command": [PYTHON, "-m", module]})
    assert terminated(pod).exit_code == 1
    assert f"No module named {module}" in image.cluster.log(pod.metadata.name)


def test_the_image_runs_as_an_unprivileged_user_who_can_write_nowhere(image: Image) -> None:
    said = image.python("""
import errno, os
print(os.getuid(), os.getgid())
for place in ("/", "/opt/cpu", "/usr/local/bin"):
    try:
        open(f"{place}/file", "w")
    except OSError as error:
        print(errno.errorcode[error.errno])
""")
    assert said.split() == ["65532", "65532", *["EROFS"] * 3]


def test_the_image_is_small(image: Image) -> None:
    code = """
import os
seen = {}
for folder, _, names in os.walk("/"):
    if not folder.startswith(("/proc", "/sys", "/dev")):
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            seen[status.st_dev, status.st_ino] = status.st_size
print(sum(seen.values()))
"""
    assert int(image.python(code)) < 80e6


def test_the_image_has_the_public_certificate_authorities(image: Image) -> None:
    code = "import os, ssl; print(len(os.listdir(ssl.get_default_verify_paths().capath)))"
    assert int(image.python(code)) > 50


def test_the_image_runs_the_cpu_s_command_line(image: Image) -> None:
    pod = image.run("run", "/no/such/file")
    assert terminated(pod).exit_code == 2
    assert (
        terminated(pod).message == "cpu: cannot read the program '/no/such/file': No such file or directory\n"
    )


def test_a_pod_solves_a_program_in_memory(image: Image) -> None:
    cluster = image.cluster
    program = {"metadata": {"name": "program"}, "data": {"program.txt": EXAMPLE}}
    cluster.api.create_namespaced_config_map(cluster.namespace, program)
    volume = {"name": "program", "configMap": {"name": "program"}}
    mount = {"name": "program", "mountPath": "/program"}
    pod = image.run("run", "/program/program.txt", container={"volumeMounts": [mount]}, volumes=[volume])
    assert pod.status.phase == "Succeeded", pod.status
    assert cluster.log(pod.metadata.name) == "Part 1: 5\nPart 2: 8 (line 8: jmp -4 → nop -4)\n"
