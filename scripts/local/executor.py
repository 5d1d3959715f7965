"""Airflow's LocalExecutor, made to survive a worker that is killed and to stop all of its workers."""

from __future__ import annotations

import os

from airflow.configuration import conf
from airflow.executors.local_executor import LocalExecutor


class SteadyLocalExecutor(LocalExecutor):
    """Ends the scheduler when a worker is gone; supervisord then starts a new one, with new workers.

    Idle workers take turns at reading the one queue of tasks, under a lock. A worker that is killed while it
    holds the lock, for example by the kernel for lack of memory, never releases it: no other worker would get
    a task again, and LocalExecutor would not notice. The new scheduler adopts the tasks that were running.

    The option `workers` in section `local_stack` of airflow.cfg is the number of workers; Airflow's own
    `parallelism` counts the tasks of all executors.
    """

    def __init__(self) -> None:
        super().__init__(parallelism=conf.getint("local_stack", "workers"))  # type: ignore[no-untyped-call]

    def _check_workers(self) -> None:
        """End this process if a worker is gone.

        LocalExecutor calls this several times a second, and whenever there are tasks to do. It forgets
        workers that are gone, and they are noticed nowhere else.
        """
        before = set(self.workers)
        super()._check_workers()  # type: ignore[no-untyped-call]
        if gone := before - self.workers.keys():
            self.log.error("worker processes are gone, restarting the scheduler with new workers: %s", gone)
            for worker in self.workers.values():
                worker.kill()
            # Not by an exception, on which Airflow would wait for its workers' results.
            os._exit(1)

    def end(self) -> None:
        """Stop when all workers have done their tasks.

        LocalExecutor sends one stop message for each worker that is still alive when its turn comes. A worker
        that stops at once, by the message that was sent for another one, gets none of its own: that is one
        message too few, and LocalExecutor would wait for the last worker forever. So one message for each
        worker is sent beforehand; what is left over is never read.
        """
        for _ in self.workers:
            self.activity_queue.put(None)
        super().end()
