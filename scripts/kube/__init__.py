"""A stand-in for Kubernetes: the part of core/v1 that pods need, each container a local process.

For trying and testing on one machine, never for production: there is no isolation between containers
beyond a clean environment and a process group. `python -m scripts.kube --help` starts it.

Data flows one way, as in the original: `api` writes objects into the `store`; the `kubelet` watches the
store, runs processes and writes their states back; clients watch the store through `watches`.
"""
