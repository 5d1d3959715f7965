"""Run a container as an Airflow task: create a pod, watch it, take its result, delete it.

This package knows nothing of CPUs: use it for any container. One that has a result leaves it, a JSON object,
as its termination message (``/dev/termination-log``, at most 4,096 bytes). It needs no sidecar, no shared
volume and no exec. docs/pods.md is its guide.

A pod's name is its identity. A task that is tried again finds the pod of the first try and waits for it or
takes its result; only a pod that has failed is replaced. So a job must tolerate being run again.

A result that Airflow would not return unchanged is refused: numbers beyond 64 bits, NaN, NUL, half a
surrogate pair, keys that begin with ``__``, more than 32 levels. The container is named ``main``; others
that a cluster adds to the pod, such as a service mesh's, may outlive it, and are deleted with the pod.

Exit codes: 0 is success; 2 fails the task at once, as another try cannot help; any other is tried again.
errors.py has the tables of all other causes, each with what happens and a remedy.
"""

from airflow_pods.errors import PodFailed, PodRefused
from airflow_pods.manifest import Manifest, manifest_of
from airflow_pods.next_step import NextRun, NextStep
from airflow_pods.operator import REASON_KEY, PodOperator
from airflow_pods.result import Result
from airflow_pods.runner import delete_all, ended_before, run_pod
from airflow_pods.trigger import PodTrigger

__all__ = [
    "REASON_KEY",
    "Manifest",
    "NextRun",
    "NextStep",
    "PodFailed",
    "PodOperator",
    "PodRefused",
    "PodTrigger",
    "Result",
    "delete_all",
    "ended_before",
    "manifest_of",
    "run_pod",
]
