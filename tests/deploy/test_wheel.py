"""The wheel of the pod operator: what is in it, what it asks for, and that building it downloads nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path

import airflow
import jsonschema  # type: ignore[import-untyped]
import pytest

from airflow_pods.provider import DISTRIBUTION, get_provider_info
from tests.support.chart import ROOT
from tests.support.wheel import build

PACKAGE = ROOT / "dags/pods/airflow_pods"
PROJECT = tomllib.loads((ROOT / "dags/pods/pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_holds_the_package_and_its_license_and_nothing_else(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", PACKAGE],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "airflow_pods/operator.py" in tracked
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        assert {name for name in names if ".dist-info/" not in name} == set(tracked)
        [license_file] = [name for name in names if name.endswith("licenses/LICENSE")]
        assert archive.read(license_file) == (ROOT / "LICENSE").read_bytes()


def test_the_same_sources_make_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    assert build(tmp_path).read_bytes() == wheel.read_bytes()


def test_the_wheel_describes_itself(wheel: Path) -> None:
    found = metadata(wheel)
    assert found["Name"] == DISTRIBUTION == get_provider_info()["package-name"]
    assert found["License-Expression"] == "Apache-2.0"
    versions = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert set(found["Requires-Python"].split(", ")) == set(versions.split(","))
    assert str(found.get_payload()).startswith("# airflow-pods")


def test_the_wheel_asks_for_every_distribution_that_it_imports() -> None:
    """What Airflow itself must have is Airflow's to ask for."""
    asked = {requirement.partition(">")[0] for requirement in PROJECT["dependencies"]}
    own = sys.stdlib_module_names | {"airflow", "airflow_pods", "fastapi", "sqlalchemy"}
    imported = {name for file in PACKAGE.glob("**/*.py") for name in imports(file)} - own
    of_module = packages_distributions()
    assert {distribution.lower() for name in imported for distribution in of_module[name]} | {
        "apache-airflow",
        "apache-airflow-providers-cncf-kubernetes",
    } == {name.replace("kubernetes-asyncio", "kubernetes_asyncio") for name in asked}


def imports(file: Path) -> set[str]:
    """Return the top-level names of the modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_provider_s_metadata_is_as_airflow_asks() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)
    [point] = PROJECT["entry-points"]["apache_airflow_provider"].values()
    assert point == f"{get_provider_info.__module__}:{get_provider_info.__name__}"


def test_every_dependency_is_one_that_this_project_is_tested_with() -> None:
    """Both ask for the same versions, and the lock file has one of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ours = {*project["project"]["dependencies"], *project["dependency-groups"]["local"]}
    names = {requirement.partition(">")[0].partition("[")[0]: requirement for requirement in ours}
    for requirement in PROJECT["dependencies"]:
        name = requirement.partition(">")[0]
        if name in names:
            assert requirement == names[name].replace("[postgres]", "")
