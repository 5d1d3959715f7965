"""The names of DAG `cpu`'s runs and pods, which follow from start run, CPU and cycle."""

from __future__ import annotations

POD_COMMANDS = {"execute": "exec", "load": "load", "read": "read"}
"""The tasks of DAG `cpu` that create a pod, and the command of the image that each of these pods runs."""


def runs_of_cpu(start: str, cpu: int) -> str:
    """Return what the ids of all DAG runs of a CPU begin with."""
    return f"{start}.cpu-{cpu}."


def run_id(start: str, cpu: int, cycle: int) -> str:
    """Return the id of a cycle's first DAG run; the ids of those that resume it go on after it."""
    return f"{runs_of_cpu(start, cpu)}cycle-{cycle}"


def cycle_of_run(run: str) -> str:
    """Return the number of the cycle that a run of DAG `cpu` executes, as its first run or as a later one."""
    return run.split(".")[2].removeprefix("cycle-")


def pod_name(start: str, cpu: int | str, cycle: int | str, command: str) -> str:
    """Return the name of a pod of a CPU; of templates, it returns the template of the name."""
    return f"cpu-{start}-{cpu}-{cycle}-{command}"
