"""Run Cluster CPU on Kubernetes: kind, the images, the namespaces, Redis, PostgreSQL, Airflow's chart.

`make kind` runs `python -m scripts.kind up`; see `python -m scripts.kind --help`.
"""
