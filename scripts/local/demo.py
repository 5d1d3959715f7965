"""``demo``: run a program on the stack and watch it until both parts are answered."""

from __future__ import annotations

import sys
import time
from urllib.parse import quote, urlsplit

import httpx

from cpu import source
from cpu.errors import CpuError, PermanentError, ProgramError, TemporaryError
from cpu.program import parse
from cpu.redis_client import with_retries
from dags.bundled import BUNDLED
from scripts.airflow_api import AirflowError, Api
from scripts.local.demo_progress import DemoProgress
from scripts.local.demo_run import Answers, DemoError, DemoRun
from scripts.local.services.airflow import ADMIN
from scripts.local.services.redis import url_for_pods
from scripts.local.stack import Stack
from scripts.snapshot import NotKeptError, Snapshot, take_snapshot

NO_ANSWER = 1
REFUSED = 2
MAX_CYCLES = 10_000
REDIS_SECONDS = 1.0
"""The time between two snapshots of Redis."""
AIRFLOW_SECONDS = 2.0
"""The time between two questions to Airflow, whose answers cost more CPU than Redis'."""


_MORE = ", ".join(name for name in BUNDLED if name != "medium")
NEXT = f"""\
Next     make demo PROGRAM=medium CYCLES=100   a longer program; more: {_MORE}
         make demo PROGRAM=FILE                a program of your own
         make items N=10000                    ten thousand programs, a hundred to a pod
         make down                             stop everything
"""
"""What the demo suggests to try when it has ended."""


class Refused(Exception):
    """The program can't be read or is refused; the text names the file, and the line if one is wrong."""


def choose_program(name: str | None) -> dict[str, str]:
    """Return what to enter in the form: nothing for its example, a bundled program, or the text of a file.

    The image's parser checks a file before anything is started; its pod will parse it again. Raises Refused.
    """
    if name is None:
        return {}
    if name in BUNDLED:
        return {"bundled": name}
    try:
        text = source.read_file(name)
        parse(text)
    except ProgramError as error:
        raise Refused(f"{name}: {error}") from error
    except CpuError as error:
        is_missing = isinstance(error.__cause__, FileNotFoundError)
        remedy = f"; the bundled programs are {', '.join(BUNDLED)}" if is_missing else ""
        raise Refused(f"{error}{remedy}") from error
    return {"program": text}


def demo(stack: Stack, program: dict[str, str], cycles: int) -> Answers | None:
    """Run a program on a stack that is up; return the answers, or None after printing why there are none."""
    settings = stack.settings
    with Api(settings.api_url, ADMIN, stack.passwords.admin) as api:
        run = DemoRun.trigger(api, {**program, "cycles": cycles})
        url = f"{settings.ui_url}/dags/cpu_start/runs/{run.run}"
        print(f"Watch it: {wall_url(settings.ui_url, run.run)}", file=sys.stderr)
        try:
            return {"run": url, **watch(run, url_for_pods(settings, stack.passwords))}
        except DemoError as error:
            print(f"error: {error}", file=sys.stderr)
            return None
        except KeyboardInterrupt:
            print("The run continues without being watched; make down stops it.", file=sys.stderr)
            raise


def watch(run: DemoRun, redis_url: str) -> Answers:
    """Show the run's progress until none of its DAG runs is in progress; return its answers.

    Waits as long as Airflow or Redis is away. Raises DemoError if a DAG run has failed, if Redis refuses for
    good, or if a part is not answered.
    """
    note, asked_at = "", 0.0
    with DemoProgress() as progress:
        while True:
            now = time.monotonic()
            ask_airflow = now - asked_at >= AIRFLOW_SECONDS
            try:
                if ask_airflow:
                    asked_at = now
                    run.raise_if_failed()
                    note = run.retries()
                if not run.start and not (ask_airflow and run.is_stored()):
                    progress.show(f"storing the program{note}")
                else:
                    has_ended = ask_airflow and run.has_ended()  # before the snapshot, which must be the last
                    view = read_redis(run, redis_url)
                    progress.update(view, note)
                    if has_ended:
                        return run.answers(view)
            except httpx.TransportError:
                progress.show("Airflow's API is away: waiting for it")
            except AirflowError as error:
                progress.show(f"Airflow's API refuses a request, trying again: {error}")
            except TemporaryError as error:
                progress.show(_with_option(error))
            time.sleep(max(0.0, now + REDIS_SECONDS - time.monotonic()))


def read_redis(run: DemoRun, url: str) -> Snapshot:
    """Return a snapshot of the start run. Raises TemporaryError, or DemoError if waiting can't help."""
    try:
        return with_retries(url, lambda client: take_snapshot(client, run.start), retry_seconds=0)
    except (NotKeptError, PermanentError) as error:
        raise DemoError(_with_option(error)) from error


def _with_option(error: Exception) -> str:
    """Return the error's text with the option that gives Redis' URL here, in place of the pods' variable."""
    return str(error).replace("REDIS_URL", "--redis-url")


def wall_url(airflow: str, run: str) -> str:
    """Return the CPU wall's address in Airflow's UI: its plugin's route, then the wall's whole path."""
    path = urlsplit(airflow).path
    return f"{airflow}/plugin/cpu-wall{path}/cpu-wall/?run={quote(run, safe='')}"
