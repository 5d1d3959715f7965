"""The pipeline: only pinned tools, and the deployment is this commit's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import yaml

from tests.deploy.chart import ROOT, values


class Loader(yaml.SafeLoader):
    """YAML with GitLab's `!reference`, which here is left as the list it is."""


def reference(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    assert isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node)


Loader.add_constructor("!reference", reference)
PIPELINE: dict[str, Any] = yaml.load((ROOT / ".gitlab-ci.yml").read_text(), Loader)  # noqa: S506


def lines() -> Iterator[str]:
    """Every command line of every job."""
    for job in PIPELINE.values():
        for part in [job] if isinstance(job, list) else [job.get("before_script"), job.get("script")]:
            yield from (line for line in part or [] if isinstance(line, str))


def test_every_image_and_every_tool_has_its_version() -> None:
    images = [job["image"] for job in PIPELINE.values() if isinstance(job, dict) and "image" in job]
    assert images
    assert all(re.search(r":\d+\.\d+", image) for image in images)
    installed = " ".join(
        re.findall(r"apt-get install .* --no-install-recommends ([^;]+);", "\n".join(lines()))
    )
    tools = shlex.split(installed)
    assert len(tools) > 1
    # Certificates and a browser are only good when they are new, and Debian keeps no old ones.
    new = {tool for tool in tools if not re.search(r"=\d+\.\d+", tool)}
    assert new == {"ca-certificates", "chromium", "chromium-driver"}


def test_the_deployment_sets_the_image_the_dags_are_told() -> None:
    [helm] = [line for line in lines() if line.startswith("helm ")]
    words = shlex.split(helm)
    given = dict(word.split("=", 1) for before, word in pairwise(words) if before == "--set-string")
    assert given["env[0].value"] == "$CPU_IMAGE"
    assert values()["env"][0]["name"] == "CPU_IMAGE"
    assert given["dags.gitSync.ref"] == "$CI_COMMIT_SHA"


def test_only_the_default_branch_is_deployed() -> None:
    [rule] = PIPELINE["deploy"]["rules"]
    assert "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"]
