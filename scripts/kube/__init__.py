"""A stand-in for Kubernetes: the part of core/v1 that pods need, with each container as a local process.

For trying and testing on one machine, never for production: containers share this machine, apart from a clean
environment and a process group of their own. `python -m scripts.kube --help` explains how to start it.

Data flows one way, as in a cluster: `api` writes objects into the `store`; the `kubelet` watches the store,
runs processes and writes their states back; clients follow the store through `watches`.

It serves pods, their logs and exec, Secrets, namespaces, events and one node; every other path is answered
with 404. Left out are pages of lists (all objects come at once), bookmarks and initial events of watches,
changes of a pod's spec, the schemas of `kubectl explain`, and merging lists in strategic merge patches.
"""
