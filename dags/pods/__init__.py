"""Run one pod and take its result: create, watch, read the termination message, clean up.

This folder knows nothing of CPUs. Take it along for any container that ends by leaving one JSON
object in its termination message (``/dev/termination-log``, at most 4,096 bytes): no sidecar, no
shared volume, no exec.

What keeps Airflow from giving the result back as it was is refused: numbers beyond 64 bits, NaN, NUL, half a
surrogate pair, keys that begin with ``__``, more than 32 levels. Our container is ``main``: others that a
cluster puts into the pod, such as a service mesh's, may run on after it, and go with the pod.

A pod's name is its identity. A task that is tried again finds the pod of the first try and waits for
it or takes its result; only a pod that failed is replaced. So a job must stand being run again, which
is what the guard of a CPU cycle is for.

Exit codes: 0, the result is in the termination message; 2, trying again can't help, and the task fails
at once; any other, the task is tried again. What else fails at once, and what is waited for, is in two
tables: TROUBLES in status.py, REFUSALS in api.py.
"""

from dags.pods.manifest import Manifest, manifest_of
from dags.pods.operator import WHY, PodOperator, PodTrigger
from dags.pods.result import Result
from dags.pods.runner import delete_all, ended_before, run_pod
from dags.pods.status import PodFailed, PodRefused

__all__ = [
    "WHY",
    "Manifest",
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
