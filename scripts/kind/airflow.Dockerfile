# Airflow with the DAGs, where helm-values.yaml has git-sync put them; built from the root of the repository.
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2
FROM $AIRFLOW_IMAGE
COPY dags /opt/airflow/dags/repo/dags
COPY scripts /opt/airflow/dags/repo/scripts
COPY cpu_image/cpu /opt/airflow/dags/repo/cpu_image/cpu
