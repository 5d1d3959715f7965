"""Find the DAGs of a folder by Airflow's own rules: ``python -m scripts.local.dag_files FOLDER OUTPUT``.

Airflow reads the files of subfolders too, but none that .airflowignore excludes. And a file may look as if it
defined a DAG and define none: only reading it tells.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple


class Found(NamedTuple):
    """What is in a folder of DAGs."""

    dags: dict[str, str]
    """The file of each DAG, by the DAG's id."""
    errors: dict[str, str]
    """The traceback of each file that can't be imported."""


def main(folder: Path, output: Path) -> None:
    """Read every DAG file, as Airflow's DAG processor does, and write what was found as JSON."""
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder")
    dags = {dag: str(one.fileloc) for dag, one in bag.dags.items()}
    errors = {str(folder / file): trace for file, trace in bag.import_errors.items()}
    output.write_text(json.dumps({"dags": dags, "errors": errors}))


def load(output: Path) -> Found:
    """Read what ``main`` has written."""
    return Found(**json.loads(output.read_text()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
