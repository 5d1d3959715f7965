"""The benchmark of a Job: what counts as one pod's seconds, and when there are enough pods."""

from __future__ import annotations

from scripts.bench.job import Measured, is_enough


def test_a_pod_takes_from_an_end_to_that_of_the_pod_that_follows_in_its_place() -> None:
    job = Measured(created=0.0, ends=[1.0, 2.0, 4.0, 8.0], client_seconds=0.0)
    assert job.seconds_per_pod(1) == [1.0, 2.0, 4.0]
    assert job.seconds_per_pod(2) == [3.0, 6.0]


def test_the_first_pods_are_not_measured() -> None:
    assert not is_enough([1.0, 2.0], at_once=2, seconds=0, pods=1)
    assert is_enough([1.0, 2.0, 3.0], at_once=2, seconds=0, pods=1)


def test_a_job_runs_for_so_many_pods_and_seconds() -> None:
    assert not is_enough([], at_once=1, seconds=0, pods=1)
    assert not is_enough([1.0, 9.0], at_once=1, seconds=0, pods=2)
    assert not is_enough([1.0, 2.0, 5.0], at_once=1, seconds=5, pods=2)
    assert is_enough([1.0, 2.0, 6.0], at_once=1, seconds=5, pods=2)
