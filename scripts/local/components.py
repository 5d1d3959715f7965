"""The components of a stack, in the order they start in; they stop in the opposite order."""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.local.services import airflow, postgres, redis
from scripts.local.services.component import Component
from scripts.local.settings import REPOSITORY, Settings

# What the image has beside Python and its own code, installed from cpu_image/requirements.txt. In here
# redis would import much that happens to be installed for Airflow: half a second in every cycle.
LIBRARIES = Path(sys.prefix) / "cpu-image"


def components(settings: Settings) -> list[Component]:
    """Every long-running process of this stack."""
    return [
        postgres.server(settings),
        *([] if settings.redis_url else [redis.server(settings)]),
        *([] if settings.kubeconfig else [kubernetes_endpoint(settings)]),
        *airflow.components(settings),
        housekeeping(settings),
    ]


def stopping_stages(settings: Settings) -> list[list[Component]]:
    """The components in stopping order: Airflow's at once, then each that it stands on by itself."""
    first = [*airflow.components(settings), housekeeping(settings)]
    names = [component.name for component in first]
    foundations = [component for component in components(settings) if component.name not in names]
    return [first, *([component] for component in reversed(foundations))]


def errands(settings: Settings) -> list[Component]:
    """What is run to its end on the way up."""
    return [postgres.initdb(settings), airflow.migration(settings), airflow.discovery(settings)]


def housekeeping(settings: Settings) -> Component:
    """Sees to it that what is old is removed."""
    return Component(
        "housekeeping",
        [sys.executable, "-m", "scripts.local.housekeeping", str(settings.state)],
        folder=REPOSITORY,
    )


def kubernetes_endpoint(settings: Settings) -> Component:
    """The stand-in for a cluster: runs each container as a local process of the image's own code."""
    repository_of_image = settings.image.partition(":")[0]
    return Component(
        "kubernetes",
        [
            *(sys.executable, "-m", "scripts.kube"),
            *("--port", str(settings.kube_port)),
            *("--state", str(settings.kube)),
            *("--image", f"{repository_of_image}={REPOSITORY / 'cpu_image'}:{LIBRARIES}"),
        ],
        folder=REPOSITORY,
        address=f"https://127.0.0.1:{settings.kube_port}",
        # It ends its pods itself; where it can't, its guard does, which must outlive it.
        signal_whole_group=False,
    )
