# syntax=docker/dockerfile:1
#
#   docker build -t alyx-proxy .
#   docker run -d --name alyx-proxy --restart unless-stopped -p 8040:8040 -v alyx-proxy:/data \
#     --read-only --cap-drop ALL --security-opt no-new-privileges \
#     -e ALYX_PROXY_UPSTREAM__URL=https://alyx.example.org alyx-proxy
#
# or, with the settings in a file: compose.yaml. Other bases than the public ones: --build-arg BUILD_IMAGE=… and
# --build-arg BASE_IMAGE=…, as packaging/image-test does, which tries the image where none can be pulled.

ARG BUILD_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

# hadolint ignore=DL3006
FROM ${BUILD_IMAGE} AS build
# SQLite and the cryptography of TLS are compiled from C.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends build-essential \
 && rm -rf /var/lib/apt/lists/*
# Writes into the program which libraries it is made of; a base may have it.
RUN command -v cargo-auditable >/dev/null || cargo install --locked cargo-auditable@0.7.7
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo auditable build --release --locked && cp target/release/alyx-proxy /alyx-proxy

# hadolint ignore=DL3006
FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="alyx-proxy" \
      org.opencontainers.image.description="A lab's own Alyx: caches, answers offline, and takes the load off the central database" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
# Which certificates Alyx may have is the system's business.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin alyx-proxy \
 && install --directory --owner=alyx-proxy --group=alyx-proxy --mode=0700 /data
COPY --from=build /alyx-proxy /usr/local/bin/alyx-proxy
COPY config/alyx-proxy.toml LICENSE /usr/share/doc/alyx-proxy/
# By number, so that an orchestrator sees that it isn't root.
USER 10001:10001
# All that it writes is below /data; the rest may be read-only.
ENV ALYX_PROXY_SERVER__LISTEN=0.0.0.0:8040 \
    ALYX_PROXY_STORAGE__DATA_DIR=/data
VOLUME ["/data"]
EXPOSE 8040
STOPSIGNAL SIGTERM
# Whether the proxy answers, not whether Alyx does: without Alyx it has its work to do.
HEALTHCHECK --interval=30s --timeout=6s --start-period=10s --retries=3 CMD ["alyx-proxy", "status"]
ENTRYPOINT ["alyx-proxy"]
CMD ["serve"]
