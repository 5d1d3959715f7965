"""Run Cluster CPU on Kubernetes: on this machine with kind, or on a cluster that you have."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.airflow_api import Api
from scripts.command import run_command
from scripts.kind import helm, laptop, passwords
from scripts.kind.deploy import Commit, deploy
from scripts.kind.forward import forwarded, wait_for_dags
from scripts.kind.kubectl import KindError, Kubectl
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import REPOSITORY
from scripts.progress import Progress

CHART_FOLDER = REPOSITORY / ".chart"
CHART_HELP = "where to download the chart, unless it was downloaded before (default: %(default)s)"
WORKLOADS = [
    ("redis", "statefulset/redis"),
    ("airflow", "deployment/broker"),
    ("airflow", "deployment/airflow-api-server"),
    ("airflow", "deployment/airflow-scheduler"),
    ("airflow", "deployment/airflow-dag-processor"),
    ("airflow", "statefulset/airflow-triggerer"),
    ("airflow", "statefulset/airflow-worker"),
]
"""Namespace and name of each workload that a start run needs, in the order they start."""


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; SIGTERM raises KeyboardInterrupt, as Ctrl-C does."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options.run(options)
    except KindError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m scripts.kind", description=__doc__)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    text = "create what is missing, then forward a port to Airflow until Ctrl-C; everything keeps running"
    up = commands.add_parser("up", help=text, description=text)
    up.add_argument(
        "--port",
        type=int,
        default=8080,
        help="local port for Airflow (default: %(default)s)",
    )
    up.add_argument("--values", type=Path, action="append", default=[], help="more values for the chart")
    up.add_argument("--no-forward", action="store_true", help="exit as soon as everything is ready")
    up.set_defaults(run=run_up)

    text = "remove everything, including its data"
    down = commands.add_parser("down", help=text, description=text)
    down.set_defaults(run=run_down)

    text = (
        "deploy a commit to a cluster that already has PostgreSQL, Redis and the Secrets of helm-values.yaml"
    )
    deploy = commands.add_parser("deploy", help=text, description=text)
    deploy.add_argument("--context", required=True, help="context in the kubeconfig that kubectl uses")
    deploy.add_argument("--image", required=True, help="image of the CPU, preferably by digest: …@sha256:…")
    deploy.add_argument(
        "--repository", required=True, help="git repository of the DAGs, as the cluster sees it"
    )
    deploy.add_argument("--revision", required=True, help="the commit to deploy")
    deploy.add_argument("--url", required=True, help="URL at which people reach Airflow")
    deploy.set_defaults(run=run_deploy)

    text = f"download the archive of chart {helm.CHART_VERSION}, check its sha512 and print its path"
    chart = commands.add_parser("chart", help=text, description=text)
    chart.set_defaults(run=run_chart)
    for command in (deploy, chart):
        command.add_argument("--from", dest="source", metavar="URL", default=helm.CHART_URL, help=CHART_HELP)

    for command in (up, down):
        command.add_argument(
            "--context",
            help="use this cluster instead of creating one with kind and Docker; it must have or be able to "
            f"pull the images {laptop.CPU_IMAGE} and {laptop.AIRFLOW_IMAGE}",
        )
        command.add_argument(
            "--kubeconfig",
            type=Path,
            help="kubeconfig of that context (default: kubectl's)",
        )
    top.epilog = (
        f"environment: AIRFLOW_CHART is the chart's archive or folder (default: {helm.CHART_VERSION}, "
        f"downloaded); {passwords.SLACK} is the Airflow connection to Slack"
    )
    up.epilog = down.epilog = deploy.epilog = chart.epilog = (
        "exit code: 0 success, 1 failure (standard error says why), 130 interrupted"
    )
    return top


def run_deploy(options: argparse.Namespace) -> None:
    with Progress() as progress:
        archive = helm.chart(os.environ.get("AIRFLOW_CHART", ""), CHART_FOLDER, options.source)
        commit = Commit(options.image, options.repository, options.revision, options.url)
        deploy(Kubectl(options.context), archive, commit, progress.show)


def run_chart(options: argparse.Namespace) -> None:
    print(helm.chart("", CHART_FOLDER, options.source))


def run_up(options: argparse.Namespace) -> None:
    with Progress() as progress:
        given = given_cluster(options)
        if given is None:
            laptop.require_tools()
        chart = helm.chart(os.environ.get("AIRFLOW_CHART", ""), CHART_FOLDER)
        kubectl = given or laptop.cluster(progress.show)
        password = install(kubectl, chart, helm.values(options.values), progress.show)
        url = f"http://localhost:{options.port}"
        with forwarded(kubectl, options.port) as forward, Api(url, ADMIN, password) as api:
            wait_for_dags(forward, api, progress.show)
            progress.end()
            print(f"Airflow  {url}  user {ADMIN}  password {password}", flush=True)
            if options.no_forward:
                return
            print(
                "Ctrl-C stops the port forwarding; the cluster runs until `make kind-down`.", file=sys.stderr
            )
            while True:
                forward.keep()
                time.sleep(1)


def install(kubectl: Kubectl, chart: Path, values: helm.Values, on_progress: Callable[[str], None]) -> str:
    """Install everything on a cluster and wait until it works; return the password of Airflow's user."""
    on_progress("applying the namespaces, Redis and PostgreSQL")
    # The Secrets need their namespaces, and the workloads need the Secrets.
    kubectl("apply", "-f", str(laptop.FOLDER / "namespaces.yaml"))
    kubectl("apply", "-k", str(REPOSITORY / "scripts/cluster"))
    made = passwords.passwords(kubectl)
    kubectl.apply(*passwords.manifests(made))
    kubectl("apply", "-k", str(laptop.FOLDER))
    wait_for(kubectl, "airflow", "statefulset/postgres", on_progress)
    on_progress("installing Airflow's chart: pulling its images, creating its database")
    helm.install(kubectl, chart, values)
    for namespace, workload in WORKLOADS:
        wait_for(kubectl, namespace, workload, on_progress)
    return made["admin"]


def wait_for(kubectl: Kubectl, namespace: str, workload: str, on_progress: Callable[[str], None]) -> None:
    on_progress(f"waiting for {workload} in namespace {namespace}")
    kubectl.wait_for(namespace, workload, helm.PATIENCE_SECONDS)


def run_down(options: argparse.Namespace) -> None:
    kubectl = given_cluster(options)
    with Progress() as progress:
        if kubectl is None:
            progress.show("removing the cluster")
            laptop.remove()
            return
        progress.show("removing Airflow's chart")
        helm.uninstall(kubectl)
        progress.show("removing the namespaces, Redis and PostgreSQL")
        kubectl("delete", "--ignore-not-found", "-k", str(laptop.FOLDER))


def given_cluster(options: argparse.Namespace) -> Kubectl | None:
    """Return the cluster named on the command line, or None for the one that kind runs."""
    if options.context is None and options.kubeconfig is not None:
        raise KindError("--kubeconfig needs --context: name the context too")
    return Kubectl(options.context, options.kubeconfig) if options.context else None


if __name__ == "__main__":
    sys.exit(run_command(lambda: main(sys.argv[1:])))
