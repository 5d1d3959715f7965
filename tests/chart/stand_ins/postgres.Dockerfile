# Stands in for docker.io/library/postgres where no image registry can be reached.
FROM python:3.13-slim
RUN apt-get update -q \
 && apt-get install -qy --no-install-recommends postgresql \
 && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
COPY postgres-entrypoint /usr/local/bin/
ENTRYPOINT ["postgres-entrypoint"]
