"""The DAGs as objects: Airflow is imported, nothing of it runs and no database is touched."""

from __future__ import annotations

import os
import tempfile

# Importing Airflow makes its home folder: not the user's.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
