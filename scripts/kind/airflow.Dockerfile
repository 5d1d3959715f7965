# Airflow with the DAGs, at the path where git-sync puts them in helm-values.yaml. Build it from the repository's root.
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2
FROM $AIRFLOW_IMAGE
COPY dags /opt/airflow/dags/repo/dags
COPY scripts /opt/airflow/dags/repo/scripts
COPY cpu_image/cpu /opt/airflow/dags/repo/cpu_image/cpu
