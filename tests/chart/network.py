"""Services and their names on a bare cluster, in place of kube-proxy and a cluster's name service.

For a cluster whose one node is this machine. Needs root, iptables and dnsmasq.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.cluster import Cluster

CHAIN = "CLUSTER-CPU-TEST"
DNS_PORT = 5354
LOOK_SECONDS = 1.0

JSON = dict[str, Any]


@dataclass(frozen=True)
class Network:
    """Pods of the cluster have addresses in ``pods``, and reach this machine at ``host``."""

    cluster: Cluster
    pods: str
    host: str
    names: Path
    """A folder of files in the format of /etc/hosts, which the name server follows."""

    def follow(self, over: threading.Event) -> None:
        """Keep addresses and names as the cluster's services have them, until it is over."""
        known: tuple[list[str], list[str]] = ([], [])
        while not over.wait(LOOK_SECONDS):
            services = self.items("services")
            endpoints = {key(one): one for one in self.items("endpoints")}
            now = (list(self.rules(services, endpoints)), list(hosts(services, endpoints)))
            if now[0] != known[0]:
                restore("nat", [f":{CHAIN} - [0:0]", *now[0]])
            if now[1] != known[1]:
                # By a new name: the server reads a file that comes, not one that changes.
                for file in self.names.iterdir():
                    file.unlink()
                (self.names / f"{hash(tuple(now[1])):x}").write_text("\n".join(now[1]) + "\n")
            known = now

    def items(self, kind: str) -> list[JSON]:
        found: list[JSON] = json.loads(self.cluster.kubectl("get", kind, "-A", "-o", "json"))["items"]
        return found

    def rules(self, services: list[JSON], endpoints: Mapping[str, JSON]) -> Iterator[str]:
        """A service's address leads to its pods' addresses, each as likely as the others."""
        for service in services:
            address = service["spec"].get("clusterIP")
            if address in (None, "", "None") or key(service) == "default/kubernetes":
                continue
            for port in service["spec"]["ports"]:
                targets = list(ready(endpoints.get(key(service), {}), port.get("name")))
                for left, target in zip(range(len(targets), 0, -1), targets, strict=True):
                    yield (
                        f"-A {CHAIN} -d {address}/32 -p tcp --dport {port['port']}"
                        f" -m statistic --mode random --probability {1 / left:.4f}"
                        f" -j DNAT --to-destination {target}"
                    )
        # Names are asked of whatever server the node has: answered by ours. Pods are neighbours on a
        # bridge: what was sent to a service must come back this way to be known as its answer.
        yield f"-A {CHAIN} -s {self.pods} -p udp --dport 53 -j DNAT --to-destination {self.host}:{DNS_PORT}"

    def hooks(self) -> list[list[str]]:
        """Where the rules above are looked at."""
        masquerade = ["-s", self.pods, "-d", self.pods, "-m", "conntrack", "--ctstate", "DNAT"]
        return [
            ["PREROUTING", "-s", self.pods, "-j", CHAIN],
            ["POSTROUTING", *masquerade, "-j", "MASQUERADE"],
        ]


def key(item: JSON) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def ready(endpoints: JSON, port: str | None) -> Iterator[str]:
    """``address:port`` of every pod that is ready behind a service's port."""
    for subset in endpoints.get("subsets", []):
        for one in subset.get("ports", []):
            if one.get("name") == port:
                yield from (f"{address['ip']}:{one['port']}" for address in subset.get("addresses", []))


def hosts(services: list[JSON], endpoints: Mapping[str, JSON]) -> Iterator[str]:
    """Each service by the names its neighbours and other namespaces know it by, and pods with names."""
    for service in services:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        names = [name, f"{name}.{namespace}", f"{name}.{namespace}.svc"]
        if service["spec"].get("clusterIP") not in (None, "", "None"):
            yield f"{service['spec']['clusterIP']} {' '.join(names)}"
            continue
        for subset in endpoints.get(key(service), {}).get("subsets", []):
            for address in subset.get("addresses", []):
                yield f"{address['ip']} {' '.join(names)}"
                if pod := address.get("hostname"):
                    yield f"{address['ip']} {' '.join(f'{pod}.{one}' for one in names)}"


def restore(table: str, lines: list[str]) -> None:
    text = "\n".join([f"*{table}", *lines, "COMMIT", ""])
    subprocess.run(["iptables-restore", "-w", "--noflush"], input=text, text=True, check=True)


def iptables(*arguments: str) -> None:
    subprocess.run(["iptables", "-w", "-t", "nat", *arguments], check=True)


@contextmanager
def network(cluster: Cluster, pods: str, host: str, folder: Path) -> Iterator[None]:
    """The cluster with services and names that work, as long as it is wanted."""
    names = folder / "names"
    names.mkdir()
    made = Network(cluster, pods, host, names)
    options = [f"--port={DNS_PORT}", f"--listen-address={host}", "--bind-interfaces", "--no-resolv"]
    files = [f"--hostsdir={names}", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--local-ttl=1"]
    server = subprocess.Popen(["dnsmasq", "--keep-in-foreground", "--user=root", *options, *files])
    over = threading.Event()
    follower = threading.Thread(target=made.follow, args=[over])
    try:
        restore("nat", [f":{CHAIN} - [0:0]"])
        for hook in made.hooks():
            iptables("-I", *hook)
        follower.start()
        yield
    finally:
        over.set()
        if follower.ident is not None:
            follower.join()
        for hook in made.hooks():
            iptables("-D", *hook)
        iptables("-F", CHAIN)
        iptables("-X", CHAIN)
        server.terminate()
        server.wait()
