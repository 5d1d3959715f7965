"""Programs for people: the local stack, the endpoint, the wall, reports, messages and benchmarks."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# The image's code and the pod operator are packages in folders of their own.
sys.path += [str(_ROOT / folder) for folder in ("cpu_image", "dags/pods")]
