"""Airflow's LocalExecutor, but it gets over a worker that is killed."""

from __future__ import annotations

import os

from airflow.executors.local_executor import LocalExecutor


class SteadyLocalExecutor(LocalExecutor):
    """Begins anew when a worker has been killed.

    Idle workers wait for their turn to read the one queue of tasks. One that is killed by the kernel, for
    memory say, while it is its turn takes the turn with it: no other worker would ever get a task again, and
    nobody would notice. So the scheduler ends with all its workers, at once; its supervisor starts another,
    which takes up the tasks that were under way.
    """

    def sync(self) -> None:
        """Called by the scheduler several times a second."""
        if killed := [pid for pid, worker in self.workers.items() if (worker.exitcode or 0) < 0]:
            self.log.error("worker processes were killed, beginning anew with all of them: %s", killed)
            for worker in self.workers.values():
                worker.kill()
            # Not by an exception: Airflow would wait for what its workers have still to say.
            os._exit(1)
        super().sync()
