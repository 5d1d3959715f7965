# Stands in for docker.io/library/redis where no image registry can be reached.
FROM python:3.13-slim
RUN apt-get update -q \
 && groupadd --gid 999 redis && useradd --uid 999 --gid 999 redis \
 && apt-get install -qy --no-install-recommends redis-server \
 && install -d -o 999 -g 999 /data
WORKDIR /data
CMD ["redis-server"]
