"""The pipeline pins its tools, limits credentials to the jobs that need them, and deploys its own commit."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import yaml

from tests.support.chart import ROOT


class Loader(yaml.SafeLoader):
    """A YAML loader that reads GitLab's `!reference` tag as a plain list."""


def reference(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    assert isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node)


Loader.add_constructor("!reference", reference)
PIPELINE: dict[str, Any] = yaml.load((ROOT / ".gitlab-ci.yml").read_text(), Loader)  # noqa: S506


def lines() -> Iterator[str]:
    """Return every command line of every job."""
    for job in PIPELINE.values():
        for part in [job] if isinstance(job, list) else [job.get("before_script"), job.get("script")]:
            yield from (line for line in part or [] if isinstance(line, str))


def jobs() -> dict[str, dict[str, Any]]:
    """Return every job by name, merged with the jobs that it extends."""
    found = {name: job for name, job in PIPELINE.items() if isinstance(job, dict) and "script" in job}
    return {name: whole(job) for name, job in found.items()}


def whole(job: dict[str, Any]) -> dict[str, Any]:
    below = whole(PIPELINE[job["extends"]]) if "extends" in job else PIPELINE["default"]
    return {**below, **job}


def test_every_job_runs_in_the_same_image_pinned_by_digest() -> None:
    assert {job["image"] for job in jobs().values()} == {"$PYTHON_IMAGE"}
    assert re.fullmatch(
        r"python:\d+\.\d+\.\d+-slim-trixie@sha256:[0-9a-f]{64}", PIPELINE["variables"]["PYTHON_IMAGE"]
    )


def test_the_cpu_s_image_is_built_on_the_pipeline_s_image() -> None:
    dockerfile = (ROOT / "cpu_image/Dockerfile").read_text()
    assert f"\nARG PYTHON_IMAGE={PIPELINE['variables']['PYTHON_IMAGE']}\n" in dockerfile
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["$PYTHON_IMAGE", "scratch"]
    assert any('--build-arg PYTHON_IMAGE="$PYTHON_IMAGE"' in line for line in PIPELINE["build"]["script"])


def test_every_tool_that_a_job_installs_has_a_fixed_version() -> None:
    installed = re.findall(r"apt-get install .* --no-install-recommends ([^;]+);", "\n".join(lines()))
    tools = shlex.split(" ".join(installed))
    assert len(tools) > 1
    # Certificates and browsers must be recent, and Debian removes old versions. Any version of make will do.
    new = {tool for tool in tools if not re.search(r"=\d+\.\d+", tool)}
    assert new == {"ca-certificates", "chromium", "chromium-driver", "make"}


def test_cluster_credentials_are_used_only_on_the_default_branch_or_in_manually_started_jobs() -> None:
    with_credentials = {
        name for name, job in jobs().items() if re.search("KUBECONFIG|KUBE_CONTEXT", str(job))
    }
    assert with_credentials == {"cluster", "end-to-end", "deploy"}
    for name in with_credentials:
        for rule in jobs()[name]["rules"]:
            on_default_branch = "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"].split(" && ")
            assert on_default_branch or (rule["when"], rule["allow_failure"]) == ("manual", True), name


def test_the_pipeline_asks_for_protected_credential_variables() -> None:
    assert "Mark each as protected" in (ROOT / ".gitlab-ci.yml").read_text()


def test_every_job_checks_the_chart_s_sha512() -> None:
    using = [line for line in lines() if "AIRFLOW_CHART_URL" in line and "scripts.kind" not in line]
    assert using == []
    assert not any(re.search(r"\b(curl|wget|helm) ", line) for line in lines())


def test_the_deployment_uses_this_commit_and_the_image_built_from_it() -> None:
    [command] = [line for line in lines() if "scripts.kind deploy" in line]
    words = shlex.split(command)
    given = {word: after for word, after in pairwise(words) if word.startswith("--")}
    assert (given["--image"], given["--revision"]) == ("$CPU_IMAGE", "$CI_COMMIT_SHA")
    # By its digest, which the job build passes on instead of the tag.
    assert PIPELINE["build"]["artifacts"]["reports"]["dotenv"] == "image.env"
    assert any(line.startswith('echo "CPU_IMAGE=${CPU_IMAGE%:*}@') for line in PIPELINE["build"]["script"])


def test_only_the_default_branch_is_deployed() -> None:
    [rule] = PIPELINE["deploy"]["rules"]
    assert "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"]
