"""All of it on a Kubernetes on this machine: kind, the image, the namespaces, Redis, PostgreSQL, the chart.

``python -m scripts.kind --help``; ``make kind`` runs it.
"""
