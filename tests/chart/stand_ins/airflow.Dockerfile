# Stands in for docker.io/apache/airflow where no image registry can be reached: the same user, folders and
# entrypoint, and of the providers those that the chart and the DAGs need. Celery 5.7 lacks what the provider
# imports.
FROM python:3.13-slim
ARG AIRFLOW_VERSION
RUN python -m pip install --no-cache-dir --no-compile uv \
 && uv pip install --system --system-certs --no-cache --compile-bytecode --break-system-packages \
      "apache-airflow[celery,fab,postgres]==$AIRFLOW_VERSION" "celery<5.7" \
      apache-airflow-providers-cncf-kubernetes apache-airflow-providers-redis slack-sdk \
 && useradd --uid 50000 --gid 0 --create-home airflow \
 && install -d -o airflow -g 0 -m 775 /opt/airflow /opt/airflow/dags /opt/airflow/logs
# The chart's probes call it by this name. Python 3.13 asks more of a certificate authority than an old
# Kubernetes' own has.
RUN ln -s /usr/bin/env /entrypoint \
 && echo 'import _ssl; _ssl.VERIFY_X509_STRICT = 0' \
      >"$(python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/old_kubernetes.pth"
ENV AIRFLOW_HOME=/opt/airflow
USER 50000
WORKDIR /opt/airflow
ENTRYPOINT ["/entrypoint"]
CMD ["airflow", "--help"]
