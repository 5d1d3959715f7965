"""The tables in docs/troubleshooting.md are those of the source."""

from __future__ import annotations

import re

import pytest

from airflow_pods import errors
from cpu import redis_errors
from tests.docs.documents import ROOT

TEXT = (ROOT / "docs/troubleshooting.md").read_text()
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ")]
NOT_CODES = {"ACL", "EXEC", "MULTI", "SELECT", "TTL", "CERTIFICATE", "VERIFY", "FAILED"}
"""Words in capitals in the patterns that are not error codes of Redis."""


def rows(mentioned: str) -> list[str]:
    """Return the rows whose first cell mentions the word."""
    return [row for row in ROWS if mentioned in row.split(" | ")[0]]


@pytest.mark.parametrize(("reason", "waits"), errors.WAITING_REASONS.items())
def test_a_reason_for_which_a_pod_waits_is_listed_with_its_time(
    reason: str, waits: errors.WaitingReason | None
) -> None:
    [row] = rows(f"`{reason}`")
    assert waits is None or f" | {waits.seconds} s | ".replace("300 s", "5 min") in row


@pytest.mark.parametrize("reason", errors.TERMINATION_REMEDIES)
def test_a_reason_for_which_a_pod_ends_is_listed(reason: str) -> None:
    assert len(rows(f"`{reason}`")) == 1


@pytest.mark.parametrize("refusal", errors.API_REFUSALS, ids=lambda one: f"{one.status} {one.pattern}")
def test_a_refusal_of_the_kubernetes_api_is_listed_with_whether_it_is_tried_again(
    refusal: errors.ApiRefusal,
) -> None:
    tried_again = "yes" if refusal.is_temporary else "with fresh" if refusal.status == 401 else "no"
    assert any(f" | {tried_again}" in row for row in rows(str(refusal.status)))


@pytest.mark.parametrize("cause", redis_errors.CAUSES, ids=lambda one: one.pattern)
def test_a_code_that_redis_refuses_with_is_listed_with_whether_it_is_tried_again(
    cause: redis_errors.Cause,
) -> None:
    for code in set(re.findall(r"(?<![A-Z_])[A-Z]{3,}(?![A-Z_])", cause.pattern)) - NOT_CODES:
        assert any(f" | {cause.retry}" in row for row in rows(f"`{code}`")), f"{code} is not listed so"
