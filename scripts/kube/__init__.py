"""A stand-in for Kubernetes: the part of core/v1 that pods need, with each container as a local process.

For trying and testing on one machine, never for production: containers share this machine, apart from a clean
environment and a process group of their own. `python -m scripts.kube --help` explains how to start it.

Data flows one way, as in a cluster: `api` writes objects into the `store`; the `kubelet` watches the store,
runs processes and writes their states back; clients follow the store through `watches`.

It serves pods, their logs and exec, Secrets, namespaces and events; every other path is answered with 404.
It refuses bodies other than JSON (415), initial events of watches and changes of a pod's spec (422). A list
in a strategic merge patch replaces the old one; a deleted namespace ends at once, with all that is in it.
Lists of an older version and watches from it go back over the last changes only, then they are refused (410).
"""
