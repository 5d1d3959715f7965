"""The startup of a stack: each step starts something and waits until it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scripts.local import ports, processes, supervisor
from scripts.local.airflow_startup import wait_for_airflow
from scripts.local.alias import make_alias
from scripts.local.errors import StackError
from scripts.local.one_shot import OneShot
from scripts.local.services import airflow, airflow_config, kubernetes, postgres, redis
from scripts.local.stack import Stack
from scripts.local.starter import TIMEOUT_SECONDS, Starter
from scripts.waiting import wait_until

CLUSTER_TIMEOUT_SECONDS = 30.0
"""How long a cluster of the user's own may take to answer."""


class Startup:
    """One startup of a stack, of which a part may be running. Raises StackError for what does not work."""

    def __init__(self, stack: Stack, on_progress: Callable[[str], None]) -> None:
        self._stack = stack
        self._settings = stack.settings
        self._on_progress = on_progress
        self._starter = Starter(stack.settings, on_progress)

    def run(self) -> None:
        """Start every component that is not running and wait until the whole stack works."""
        if not supervisor.states(self._settings):
            self._preflight()
            self.write_config()
            supervisor.start(self._stack)
        # It needs no other process, so it runs beside the foundations and the migration.
        with OneShot(self._stack, "discovery") as discovery:
            self._start_foundations()
            with self._migration() as migration:
                self._wait_for_redis()
                self._prepare_cluster()
                if migration:
                    self._on_progress("waiting for Airflow's tables")
                    migration.wait()
                    airflow.record_migration(self._settings)
            self._start_airflow(discovery)

    def _preflight(self) -> None:
        """End the processes that a crash has left behind, and require that the ports are free."""
        if left := processes.members(self._settings):
            self._on_progress(f"ending {len(left)} processes left by a crash")
            if processes.end_all(self._settings, self._stack.stopping_stages):
                raise StackError("processes left by a crash can't be ended: status lists them")
        ports.check_free(self._settings)

    def write_config(self) -> None:
        """Create the folders and files that the components need, and the database if it does not exist."""
        settings = self._settings
        settings.save()
        for folder in (settings.logs, settings.pids, settings.kube):
            folder.mkdir(mode=0o700, exist_ok=True)
        if settings.needs_alias:
            make_alias(settings.state)
        redis.configure(settings, self._stack.passwords)
        airflow_config.configure(settings, self._stack.passwords)
        postgres.prepare_folder(settings)
        if not postgres.is_initialised(settings):
            self._on_progress("creating the database")
            with OneShot(self._stack, "initdb") as initdb:
                initdb.wait()
            postgres.adopt_new_data(settings)

    def _start_foundations(self) -> None:
        """Start all that Airflow needs, and wait for PostgreSQL."""
        wait_until(lambda: not postgres.is_held_by_zombie(self._settings), TIMEOUT_SECONDS)
        self._starter.start(*(component.name for component in self._stack.foundations))
        self._starter.wait_for("PostgreSQL", lambda: postgres.is_ready(self._settings), needs=["postgres"])

    @contextmanager
    def _migration(self) -> Iterator[OneShot | None]:
        """Create or upgrade Airflow's tables during the block; None if they are up to date."""
        if airflow.is_migrated(self._settings):
            yield None
        else:
            with OneShot(self._stack, "migrate") as migration:
                yield migration

    def _wait_for_redis(self) -> None:
        """Wait for the stack's own Redis, or check the user's."""
        if self._stack.has("redis"):
            secrets = self._stack.passwords
            self._starter.wait_for("Redis", lambda: redis.is_ready(self._settings, secrets), needs=["redis"])
        else:
            self.check_external_redis()

    def check_external_redis(self) -> None:
        """Refuse a Redis of the user's own that may lose the CPUs' memory; warn about one that could."""
        if warning := redis.check_external(self._settings.redis_url or ""):
            self._on_progress(f"warning: {warning}")

    def _prepare_cluster(self) -> None:
        """Wait for the cluster, and create the objects that the pods need."""
        if self._stack.has("kubernetes"):
            what, needs, seconds = "Kubernetes", ["kubernetes"], TIMEOUT_SECONDS
        else:
            what, needs = f"the cluster of {self._settings.kubeconfig}", []
            seconds = CLUSTER_TIMEOUT_SECONDS
        self._starter.wait_for(
            what, lambda: kubernetes.is_ready(self._settings), needs=needs, seconds=seconds
        )
        kubernetes.prepare(self._settings, redis.url_for_pods(self._settings, self._stack.passwords))

    def _start_airflow(self, discovery: OneShot) -> None:
        """Start Airflow's processes all at once, as the scheduler waits for the API, and wait for each."""
        names = [component.name for component in self._stack.airflow]
        self._starter.start(*names, self._stack.housekeeping.name)
        wait_for_airflow(self._stack, self._starter, discovery)
