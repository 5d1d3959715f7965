"""Every link leads somewhere, and every document is found from the README. No network."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.documents import DOCUMENTS, ROOT, read

LINKS = [(place, path, target) for path in DOCUMENTS for place, target in read(path).links()]


@pytest.mark.parametrize(
    ("path", "target"),
    [pytest.param(path, target, id=f"{place} {target}") for place, path, target in LINKS],
)
def test_a_link_leads_somewhere(path: Path, target: str) -> None:
    url = urlsplit(target)
    if url.scheme:
        assert url.scheme == "https"
        assert "." in (url.hostname or "")
        return
    linked = (path.parent / url.path).resolve() if url.path else path
    assert linked.is_relative_to(ROOT), f"{target} leads out of the repository"
    assert linked.exists(), f"{target} does not exist"
    if url.fragment:
        assert url.fragment in read(linked).anchors(), f"{linked.name} has no heading #{url.fragment}"


def test_every_document_is_linked_from_the_readme() -> None:
    linked = {(ROOT / target.partition("#")[0]).resolve() for _, target in read(ROOT / "README.md").links()}
    assert {path for path in DOCUMENTS if path.name != "README.md"} <= linked


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("## What has been run where", "what-has-been-run-where"),
        ("### … a DAG", "-a-dag"),
        ("## `make kind`, or [a link](x.md)", "make-kind-or-a-link"),
    ],
)
def test_an_anchor_is_github_s(
    heading: str, anchor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.docs.documents.ROOT", tmp_path)
    file = tmp_path / "document.md"
    file.write_text(f"{heading}\n\n{heading}\n")
    assert read(file).anchors() == {anchor, f"{anchor}-1"}
