"""The local stack: Airflow, Redis, PostgreSQL and the Kubernetes endpoint on one machine."""
