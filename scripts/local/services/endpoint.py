"""The local Kubernetes endpoint, which stands in for a cluster."""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.local.services.component import Component
from scripts.local.settings import REPOSITORY, Settings

LIBRARIES = Path(sys.prefix) / "cpu-image"
"""The image's Python packages, installed from cpu_image/requirements.txt.

They are apart from the stack's own packages. With those on its path, ``redis`` would import much that is
installed for Airflow, which takes half a second in every cycle.
"""


def server(settings: Settings) -> Component:
    """The endpoint, which runs each container as a local process with the image's own code."""
    image_name = settings.image.partition(":")[0]
    return Component(
        "kubernetes",
        [
            *(sys.executable, "-m", "scripts.kube"),
            *("--port", str(settings.kube_port)),
            *("--state", str(settings.kube)),
            *("--image", f"{image_name}={REPOSITORY / 'cpu_image'}:{LIBRARIES}"),
        ],
        folder=REPOSITORY,
        address=f"https://127.0.0.1:{settings.kube_port}",
        # The endpoint ends its pods itself. If it is killed, its launchers do, which must outlive it.
        signal_whole_group=False,
    )
