"""All of it on a Kubernetes on this machine, ready to trigger."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.airflow_api import Api
from scripts.command import ended
from scripts.kind import helm, laptop, passwords
from scripts.kind.deploy import Commit, deploy
from scripts.kind.forward import forwarded, wait_for_dags
from scripts.kind.kubectl import KindError, Kubectl
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import REPOSITORY
from scripts.progress import Progress

CHART_FOLDER = REPOSITORY / ".chart"
CHART_HELP = "download the chart from there, if it is not there yet (default: %(default)s)"
# What must work before anybody triggers anything, in the order it comes up in.
WORKLOADS = [
    ("redis", "statefulset/redis"),
    ("airflow", "deployment/broker"),
    ("airflow", "deployment/airflow-api-server"),
    ("airflow", "deployment/airflow-scheduler"),
    ("airflow", "deployment/airflow-dag-processor"),
    ("airflow", "statefulset/airflow-triggerer"),
    ("airflow", "statefulset/airflow-worker"),
]


def main(arguments: Sequence[str]) -> int:
    """Run a command; return its exit code. Raises KeyboardInterrupt, as for Ctrl-C, when it shall end."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options.run(options)
    except KindError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m scripts.kind", description=__doc__)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    text = "make what is missing, and forward a port to Airflow until Ctrl-C; all of it stays"
    up = commands.add_parser("up", help=text, description=text)
    up.add_argument("--port", type=int, default=8080, help="of this machine (default: %(default)s)")
    up.add_argument("--values", type=Path, action="append", default=[], help="more values for the chart")
    up.add_argument("--no-forward", action="store_true", help="end when all of it is ready")
    up.set_defaults(run=run_up)

    text = "remove all of it, with its data"
    down = commands.add_parser("down", help=text, description=text)
    down.set_defaults(run=run_down)

    text = "deploy a commit to a cluster that has the Secrets of helm-values.yaml, PostgreSQL and Redis"
    deploy = commands.add_parser("deploy", help=text, description=text)
    deploy.add_argument("--context", required=True, help="of the kubeconfig that kubectl uses")
    deploy.add_argument("--image", required=True, help="the CPU's image, best by digest: …@sha256:…")
    deploy.add_argument("--repository", required=True, help="where the cluster gets the DAGs by git")
    deploy.add_argument("--revision", required=True, help="the commit")
    deploy.add_argument("--url", required=True, help="the address at which people reach Airflow")
    deploy.set_defaults(run=run_deploy)

    text = f"print where the archive of chart {helm.CHART_VERSION} is, downloaded and checked by its sha512"
    chart = commands.add_parser("chart", help=text, description=text)
    chart.set_defaults(run=run_chart)
    for command in (deploy, chart):
        command.add_argument("--from", dest="source", metavar="URL", default=helm.CHART_URL, help=CHART_HELP)

    for command in (up, down):
        command.add_argument(
            "--context",
            help=f"use this cluster, which has or can pull {laptop.CPU_IMAGE} and {laptop.AIRFLOW_IMAGE}, "
            "rather than one made with kind and Docker",
        )
        command.add_argument("--kubeconfig", type=Path, help="where that context is (default: kubectl's)")
    top.epilog = (
        f"environment: AIRFLOW_CHART, the chart's archive or folder (default: version {helm.CHART_VERSION}, "
        f"fetched); {passwords.SLACK}, where answers are told"
    )
    up.epilog = down.epilog = deploy.epilog = chart.epilog = (
        "exit code: 0 done, 1 it failed, and standard error says why, 130 interrupted"
    )
    return top


def run_deploy(options: argparse.Namespace) -> None:
    with Progress() as progress:
        archive = helm.chart(os.environ.get("AIRFLOW_CHART", ""), CHART_FOLDER, options.source)
        commit = Commit(options.image, options.repository, options.revision, options.url)
        deploy(Kubectl(options.context), archive, commit, progress.say)


def run_chart(options: argparse.Namespace) -> None:
    print(helm.chart("", CHART_FOLDER, options.source))


def run_up(options: argparse.Namespace) -> None:
    with Progress() as progress:
        given = given_cluster(options)
        if given is None:
            laptop.require_tools()
        chart = helm.chart(os.environ.get("AIRFLOW_CHART", ""), CHART_FOLDER)
        kubectl = given or laptop.cluster(progress.say)
        password = install(kubectl, chart, helm.values(options.values), progress.say)
        url = f"http://localhost:{options.port}"
        with forwarded(kubectl, options.port) as forward, Api(url, ADMIN, password) as api:
            wait_for_dags(forward, api, progress.say)
            progress.end()
            print(f"Airflow  {url}  user {ADMIN}  password {password}", flush=True)
            if options.no_forward:
                return
            print("Ctrl-C ends the way there; all of it goes on until `make kind-down`.", file=sys.stderr)
            while True:
                forward.keep()
                time.sleep(1)


def install(kubectl: Kubectl, chart: Path, values: helm.Values, say: Callable[[str], None]) -> str:
    """Everything on a cluster; the password of Airflow's user once all of it works."""
    say("applying the namespaces, Redis and PostgreSQL")
    # Passwords first need their namespaces, and what reads them needs the passwords.
    kubectl("apply", "-f", str(laptop.FOLDER / "namespaces.yaml"))
    kubectl("apply", "-k", str(REPOSITORY / "scripts/cluster"))
    made = passwords.passwords(kubectl)
    kubectl.apply(*passwords.manifests(made))
    kubectl("apply", "-k", str(laptop.FOLDER))
    wait_for(kubectl, "airflow", "statefulset/postgres", say)
    say("installing Airflow's chart: its images are pulled, its database is made")
    helm.install(kubectl, chart, values)
    for namespace, workload in WORKLOADS:
        wait_for(kubectl, namespace, workload, say)
    return made["admin"]


def wait_for(kubectl: Kubectl, namespace: str, workload: str, say: Callable[[str], None]) -> None:
    say(f"waiting for {workload} in namespace {namespace}")
    kubectl.wait_for(namespace, workload, helm.PATIENCE_SECONDS)


def run_down(options: argparse.Namespace) -> None:
    kubectl = given_cluster(options)
    with Progress() as progress:
        if kubectl is None:
            progress.say("removing the cluster")
            laptop.remove()
            return
        progress.say("removing Airflow's chart")
        helm.uninstall(kubectl)
        progress.say("removing the namespaces, Redis and PostgreSQL")
        kubectl("delete", "--ignore-not-found", "-k", str(laptop.FOLDER))


def given_cluster(options: argparse.Namespace) -> Kubectl | None:
    """The cluster named on the command line."""
    if options.context is None and options.kubeconfig is not None:
        raise KindError("--kubeconfig goes with --context: name the context too")
    return Kubectl(options.context, options.kubeconfig) if options.context else None


if __name__ == "__main__":
    sys.exit(ended(lambda: main(sys.argv[1:])))
