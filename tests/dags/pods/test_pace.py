"""The pace at which a set creates pods, on a clock of the test."""

from __future__ import annotations

import math
import random

import pytest

from airflow_pods.pace import LONGEST_PAUSE, MOST_AT_ONCE, SHORTEST_PAUSE, Pace


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda _, most: most)


def test_so_many_pods_are_created_at_once_and_no_more() -> None:
    assert Pace().next_time(MOST_AT_ONCE - 1, 100) == -math.inf
    assert Pace().next_time(MOST_AT_ONCE, 100) == math.inf


def test_the_api_s_own_pause_is_kept() -> None:
    slow = Pace()
    slow.refused(begun=9, now=10, retry_after=7)
    assert slow.next_time(0, 0) == 17


def test_after_a_refusal_one_pod_is_created_and_one_more_at_once_for_each_that_is_accepted() -> None:
    slow = Pace()
    slow.refused(begun=9, now=10)
    assert slow.next_time(0, 5) == 10 + SHORTEST_PAUSE
    assert slow.next_time(1, 5) == math.inf
    slow.accepted(5)
    assert slow.next_time(1, 5) < math.inf
    assert slow.next_time(2, 5) == math.inf


def test_pauses_grow_with_refusals_in_a_row_and_stay_bounded() -> None:
    slow, pauses = Pace(), []
    for moment in range(0, 1000, 100):
        slow.refused(begun=moment, now=moment + 1)
        pauses.append(slow.next_time(0, 0) - moment - 1)
    assert pauses[:3] == pytest.approx([SHORTEST_PAUSE, 2 * SHORTEST_PAUSE, 4 * SHORTEST_PAUSE])
    assert pauses[-1] == LONGEST_PAUSE
    slow.accepted(0)
    slow.refused(begun=2000, now=2001)
    assert slow.next_time(0, 0) == 2001 + SHORTEST_PAUSE


def test_refusals_of_the_same_moment_count_as_one() -> None:
    slow = Pace()
    for _ in range(16):
        slow.refused(begun=9, now=10)
    assert slow.next_time(0, 0) == 10 + SHORTEST_PAUSE


def test_a_full_quota_lets_a_pod_follow_each_that_ends_and_is_tried_again_after_a_while() -> None:
    slow = Pace()
    slow.quota_is_full(begun=9, now=10, in_flight=20)
    assert slow.next_time(0, 20) == 10 + LONGEST_PAUSE
    assert slow.next_time(0, 19) == -math.inf
    slow.accepted(19)
    assert slow.next_time(0, 20) == 10 + LONGEST_PAUSE
    slow.accepted(20)  # the quota has been raised
    assert slow.next_time(0, 21) == -math.inf


def test_a_quota_that_others_fill_is_tried_again_soon() -> None:
    slow = Pace()
    slow.quota_is_full(begun=9, now=10, in_flight=0)
    assert slow.next_time(0, 0) == 10 + SHORTEST_PAUSE
