"""Find the DAGs of a folder by Airflow's own rules: ``python -m scripts.local.dag_files FOLDER OUTPUT``.

Airflow also reads the files of subfolders, except those that .airflowignore excludes. A file that looks as if
it defined a DAG may define none, so every file must be imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple


class Found(NamedTuple):
    """The content of a folder of DAGs."""

    dags: dict[str, str]
    """The file of each DAG, by the DAG's id."""
    errors: dict[str, str]
    """The traceback of each file that can't be imported."""


def main(folder: Path, output: Path) -> None:
    """Import every DAG file, as Airflow's DAG processor does, and write a Found to the output as JSON."""
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder")
    dags = {name: str(dag.fileloc) for name, dag in bag.dags.items()}
    errors = {str(folder / file): trace for file, trace in bag.import_errors.items()}
    output.write_text(json.dumps({"dags": dags, "errors": errors}))


def load(output: Path) -> Found:
    """Return what ``main`` has written to the output."""
    return Found(**json.loads(output.read_text()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
