"""Collect the files of the image: python rootfs.py TARGET FOLDER...

Copies this Python, its standard library without what an image does not need, the given folders, and what
these need of the system (shared libraries, name service, CA certificates) to TARGET, each to its own path
below it. Python code is copied as bytecode only, so that no start has to compare it with its source. The
paths are those that this Python reports: nothing here depends on the layout of the base image.
"""

import compileall
import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PYTHON = Path("/usr/local/bin/python")  # the Dockerfile's ENTRYPOINT
UNNEEDED = """
    site-packages dist-packages ensurepip venv config-* __pycache__
    test _test* _xxtest* _ctypes_test* xxlimited* xxsubtype*
    idlelib tkinter _tkinter* turtle* curses _curses* readline* _pyrepl pydoc_data
    sqlite3 _sqlite3* dbm _dbm* _gdbm*
"""
LIBRARY = re.compile(r"(?:=> )?(\S+) \(0x[0-9a-f]+\)$|=> not found")
# Without this line some container runtimes put a numeric user into root's group.
USER = "cpu:x:65532:65532:cpu:/:/nonexistent\n"
SYSTEM = [Path("/etc/ld.so.cache"), Path("/etc/nsswitch.conf")]


def main(target: Path, folders: list[Path]) -> None:
    """Create the target, which must not exist. Raises OSError or RuntimeError if something is missing."""
    executable = Path(sys.executable).resolve()
    for folder in [Path(sysconfig.get_path("stdlib")), *folders]:
        shutil.copytree(folder, under(target, folder), ignore=shutil.ignore_patterns(*UNNEEDED.split()))
    compile_all(target)
    certificates = [*Path(ssl.get_default_verify_paths().openssl_capath).glob("????????.[0-9]")]
    if not certificates:
        raise RuntimeError("the base image has no CA certificates for rediss://: install them there")
    binaries = [executable, *target.rglob("*.so")]
    for file in [executable, *libraries(binaries), *certificates, *SYSTEM]:
        copy(file, target)
    under(target, Path("/etc/passwd")).write_text(USER)
    link = under(target, PYTHON)
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(executable)


def compile_all(target: Path) -> None:
    """Replace every source by its bytecode."""
    done = compileall.compile_dir(target, legacy=True, quiet=1, stripdir=str(target), prependdir="/")
    if not done:
        raise RuntimeError("not all of the Python code can be compiled: see above")
    for source in target.rglob("*.py"):
        source.unlink()


def libraries(binaries: list[Path]) -> Iterator[Path]:
    """Return the shared libraries of the binaries, by the paths at which the loader finds them."""
    found = set()
    for line in subprocess.run(
        ["ldd", *binaries], capture_output=True, text=True, check=True
    ).stdout.splitlines():
        if match := LIBRARY.search(line):
            if not match[1]:
                raise RuntimeError(f"a library is missing in the base image: {line.strip()}")
            found.add(os.path.normpath(match[1]))
    yield from (Path(path) for path in sorted(found) if path.startswith("/"))


def copy(file: Path, target: Path) -> None:
    """Copy a file, or the file that a link leads to, to its own path under the target."""
    place = under(target, file)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, place)


def under(target: Path, path: Path) -> Path:
    return target / path.relative_to("/")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
