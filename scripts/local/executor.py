"""Airflow's LocalExecutor, but it gets over a worker that is killed."""

from __future__ import annotations

import os

from airflow.executors.local_executor import LocalExecutor


class SteadyLocalExecutor(LocalExecutor):
    """Begins anew when a worker is gone, which ends by itself only when all do.

    Idle workers wait for their turn to read the one queue of tasks. One that is killed by the kernel, for
    memory say, while it is its turn takes the turn with it: no other worker would ever get a task again, and
    nobody would notice. So the scheduler ends with all its workers, at once; its supervisor starts another,
    which takes up the tasks that were under way.
    """

    def _check_workers(self) -> None:
        """Called several times a second, and whenever there are tasks to do; forgets workers that are gone.

        Nothing else in LocalExecutor looks: whoever looks before, or after, may not see one any more.
        """
        before = set(self.workers)
        super()._check_workers()  # type: ignore[no-untyped-call]
        if gone := before - self.workers.keys():
            self.log.error("worker processes are gone, beginning anew with all of them: %s", gone)
            for worker in self.workers.values():
                worker.kill()
            # Not by an exception: Airflow would wait for what its workers have still to say.
            os._exit(1)
