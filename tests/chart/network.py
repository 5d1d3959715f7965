"""Provide services and DNS on a bare cluster, in place of kube-proxy and CoreDNS.

The cluster's only node must be this machine. Needs root, iptables and dnsmasq.
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
    """`pods` is the address range of the cluster's pods, `host` this machine's address as they see it."""

    cluster: Cluster
    pods: str
    host: str
    names: Path
    """A folder of files in the format of /etc/hosts, which the DNS server watches."""

    def follow(self, over: threading.Event) -> None:
        """Keep addresses and names up to date with the cluster's services until stopped."""
        known: tuple[list[str], list[str]] = ([], [])
        while not over.wait(LOOK_SECONDS):
            services = self.items("services")
            endpoints = {key(one): one for one in self.items("endpoints")}
            now = (list(self.rules(services, endpoints)), list(hosts(services, endpoints)))
            if now[0] != known[0]:
                restore("nat", [f":{CHAIN} - [0:0]", *now[0]])
            if now[1] != known[1]:
                # Under a new name, because the server reads new files but not changed ones.
                for file in self.names.iterdir():
                    file.unlink()
                (self.names / f"{hash(tuple(now[1])):x}").write_text("\n".join(now[1]) + "\n")
            known = now

    def items(self, kind: str) -> list[JSON]:
        found: list[JSON] = json.loads(self.cluster.kubectl("get", kind, "-A", "-o", "json"))["items"]
        return found

    def rules(self, services: list[JSON], endpoints: Mapping[str, JSON]) -> Iterator[str]:
        """Forward a service's address to its pods' addresses with equal probability."""
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
        # DNS queries to any server are answered by ours. Pods share a bridge, so the answer of a service must
        # come back through this machine to be translated back.
        yield f"-A {CHAIN} -s {self.pods} -p udp --dport 53 -j DNAT --to-destination {self.host}:{DNS_PORT}"

    def hooks(self) -> list[list[str]]:
        """Jump to the rules above."""
        masquerade = ["-s", self.pods, "-d", self.pods, "-m", "conntrack", "--ctstate", "DNAT"]
        return [
            ["PREROUTING", "-s", self.pods, "-j", CHAIN],
            ["POSTROUTING", *masquerade, "-j", "MASQUERADE"],
        ]


def key(item: JSON) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def ready(endpoints: JSON, port: str | None) -> Iterator[str]:
    """Return `address:port` of every ready pod behind a service's port."""
    for subset in endpoints.get("subsets", []):
        for one in subset.get("ports", []):
            if one.get("name") == port:
                yield from (f"{address['ip']}:{one['port']}" for address in subset.get("addresses", []))


def hosts(services: list[JSON], endpoints: Mapping[str, JSON]) -> Iterator[str]:
    """Yield lines for /etc/hosts: each service under its short and full names, and pods with host names."""
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
    """Provide services and DNS for the cluster while the context lasts."""
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
