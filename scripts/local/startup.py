"""The way up: each step starts something and waits until it works."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import httpx

from scripts.airflow_api import Api, why_not_imported
from scripts.local import dag_files, ports, processes, supervisor
from scripts.local.alias import make_alias
from scripts.local.components import components, stopping_stages
from scripts.local.errors import StackError
from scripts.local.passwords import Passwords, passwords
from scripts.local.services import airflow, kubernetes, postgres, redis
from scripts.local.services.component import Component, environment
from scripts.local.settings import REPOSITORY, Settings
from scripts.waiting import wait_until

PATIENCE_SECONDS = 300.0  # for any one thing of ours: a slow, busy machine must do
CLUSTER_PATIENCE_SECONDS = 30.0  # for a cluster that is said to be there


class Ascent:
    """One way up, from nothing or from what is left. Raises StackError for what does not work."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.say = say
        self.components = components(settings)
        self.names = [component.name for component in self.components]
        self.pids: dict[str, int] = {}

    def climb(self) -> None:
        """To a stack that works."""
        secrets = passwords(self.settings.state)
        if not supervisor.states(self.settings):
            self.clear_ground()
            self.lay_out(secrets)
            supervisor.start(self.settings, self.components)
        foundations = [name for name in ("postgres", "redis", "kubernetes") if name in self.names]
        wait_until(lambda: not postgres.is_held_by_the_dead(self.settings), PATIENCE_SECONDS)
        self.start(*foundations)
        self.wait("PostgreSQL", lambda: postgres.is_ready(self.settings), "postgres")
        migration = self.begin_migration()
        try:
            if "redis" in self.names:
                self.wait("Redis", lambda: redis.is_ready(self.settings, secrets), "redis")
            else:
                self.check_redis()
            self.prepare_cluster(secrets)
            self.finish_migration(migration)
        finally:
            end_errand(migration)
        self.start_airflow(secrets)

    def clear_ground(self) -> None:
        """End what a crash has left, and see that the ports are free."""
        if left := processes.members(self.settings):
            self.say(f"ending {len(left)} processes left by a crash")
            if processes.end(self.settings, stopping_stages(self.settings)):
                raise StackError("processes left by a crash can't be ended: status names them")
        ports.check_free(self.settings)

    def lay_out(self, secrets: Passwords) -> None:
        """Write every folder and file the components need."""
        settings = self.settings
        settings.save()
        for folder in (settings.logs, settings.pids, settings.kube):
            folder.mkdir(mode=0o700, exist_ok=True)
        if settings.needs_alias:
            make_alias(settings.state)
        redis.configure(settings, secrets)
        airflow.configure(settings, secrets)
        postgres.prepare_folder(settings)
        if not postgres.is_initialised(settings):
            self.say("making the database")
            self.run_errand(postgres.initdb(settings))
            postgres.adopt_new_data(settings)

    def run_errand(self, errand: Component) -> None:
        """Run a component that ends, to its end."""
        process = self.begin_errand(errand)
        try:
            self.wait_for_errand(errand.name, process)
        finally:
            end_errand(process)

    def begin_errand(self, errand: Component) -> subprocess.Popen[bytes]:
        """Start a component that ends; its output goes to its log."""
        with (self.settings.logs / f"{errand.name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "scripts.local.launch", str(self.settings.state), errand.name],
                env=environment(errand, self.settings),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_for_errand(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Wait until it has done its work."""
        if not wait_until(lambda: process.poll() is not None, PATIENCE_SECONDS):
            raise StackError(f"{name} is not done after {PATIENCE_SECONDS:.0f} seconds", name)
        if process.returncode:
            raise StackError(f"{name} failed", name)

    def check_redis(self) -> None:
        """Refuse a Redis of the user's own that may lose the CPUs' memory, and warn where it could.

        Perhaps only the pods reach it: then `store` checks it.
        """
        from cpu import preflight
        from cpu.errors import PermanentError, TemporaryError
        from cpu.redis_client import with_retries

        try:
            warning = with_retries(self.settings.redis_url or "", preflight.check, retry_seconds=0)
        except PermanentError as error:
            raise StackError(str(error).replace("REDIS_URL", "--redis-url")) from error
        except TemporaryError as error:
            warning = str(error).replace("REDIS_URL", "--redis-url")
        if warning:
            self.say(f"warning: {warning}")

    def begin_migration(self) -> subprocess.Popen[bytes] | None:
        """Begin to make Airflow's tables, unless they are there."""
        if airflow.is_migrated(self.settings):
            return None
        return self.begin_errand(airflow.migration(self.settings))

    def finish_migration(self, migration: subprocess.Popen[bytes] | None) -> None:
        """Wait until the tables are made."""
        if migration is not None:
            self.say("waiting for Airflow's tables")
            self.wait_for_errand("migrate", migration)
            airflow.remember_migration(self.settings)

    def prepare_cluster(self, secrets: Passwords) -> None:
        """Wait for the cluster, and put what the pods need there."""
        local = [name for name in self.names if name == "kubernetes"]
        patience = PATIENCE_SECONDS if local else CLUSTER_PATIENCE_SECONDS
        what = "Kubernetes" if local else f"the cluster of {self.settings.kubeconfig}"
        self.wait(what, lambda: kubernetes.is_ready(self.settings), *local, seconds=patience)
        kubernetes.prepare(self.settings, redis.url_for_pods(self.settings, secrets))

    def start_airflow(self, secrets: Passwords) -> None:
        """Start Airflow's processes at once (the scheduler itself waits for the API) and wait for each."""
        names = [component.name for component in airflow.components(self.settings)]
        discovery = self.begin_errand(airflow.discovery(self.settings))
        try:
            self.start(*names, "housekeeping")
            found = self.found(discovery)
            with Api(self.settings.api_url, airflow.ADMIN, secrets.admin) as api:
                self.wait("Airflow's API", lambda: answers(api), *names)
                self.wait_for_dags(api, found, *names)
                for name in ("scheduler", "triggerer"):
                    self.wait(f"the {name}", lambda name=name: self.beats(api, name), *names)  # type: ignore[misc]
        finally:
            end_errand(discovery)

    def found(self, discovery: subprocess.Popen[bytes]) -> dict[str, str]:
        """Return the file of each DAG in the folder; raise StackError for a file that can't be imported."""
        self.wait_for_errand("discovery", discovery)
        found = dag_files.load(airflow.found_file(self.settings))
        for file, trace in found.errors.items():
            raise StackError(why_not_imported(file, trace))
        return found.dags

    def wait_for_dags(self, api: Api, files: dict[str, str], *depends_on: str) -> None:
        """Wait until this DAG processor has read every DAG; raise StackError for a broken file."""
        since = self.started("dag-processor")
        unread = dict(files)

        def are_read() -> bool:
            for error in api.import_errors():
                if datetime.fromisoformat(error["timestamp"]) >= since:
                    raise StackError(why_not_imported(error["filename"], error["stack_trace"]))
            for dag in api.dags():
                if dag["last_parsed_time"] and datetime.fromisoformat(dag["last_parsed_time"]) >= since:
                    unread.pop(dag["dag_id"], None)
            return not unread

        self.wait(
            "the DAGs",
            are_read,
            *depends_on,
            missing=lambda: ", ".join(f"{dag} of {file}" for dag, file in unread.items()),
        )

    def beats(self, api: Api, name: str) -> bool:
        """Whether this one of Airflow's processes has reported since it was started."""
        beat = api.health()[name].get(f"latest_{name}_heartbeat")
        return beat is not None and datetime.fromisoformat(beat) >= self.started(name)

    def started(self, name: str) -> datetime:
        """When the component was started."""
        return datetime.fromtimestamp(supervisor.states(self.settings)[name].started, UTC)

    def start(self, *names: str) -> None:
        """Start components; those that run stay as they are."""
        with supervisor.Supervisor(self.settings) as supervised:
            for name in names:
                supervised.start(name)

    def wait(
        self,
        what: str,
        predicate: Callable[[], bool],
        *depends_on: str,
        seconds: float | None = None,
        missing: Callable[[], str] = str,
    ) -> None:
        """Wait until something works; raise StackError when a component it depends on ends instead.

        When the time is up, the error ends with what is ``missing``.
        """
        seconds = PATIENCE_SECONDS if seconds is None else seconds
        self.say(f"waiting for {what}")

        def works() -> bool:
            self.require_alive(*depends_on)
            with suppress(httpx.TransportError):
                return predicate()
            return False

        if not wait_until(works, seconds):
            component = depends_on[0] if depends_on else None
            still = f": {missing()}" if missing() else ""
            raise StackError(f"{what} did not come up within {seconds:.0f} seconds{still}", component)

    def require_alive(self, *names: str) -> None:
        """Raise StackError for a component that has ended, also when supervisord started it again."""
        states = supervisor.states(self.settings)
        for name in names:
            state = states.get(name)
            if state is None or state.has_ended or self.pids.setdefault(name, state.pid) != state.pid:
                raise StackError(f"{name} does not stay up", name)


def end_errand(process: subprocess.Popen[bytes] | None) -> None:
    """End it if it is still at work."""
    if process and process.poll() is None:
        process.kill()
        process.wait()


def answers(api: Api) -> bool:
    """Whether Airflow's API works and lets us in."""
    return bool(api.health()["metadatabase"]["status"] == "healthy")
