# syntax=docker/dockerfile:1
#
#   docker build -t alyx-proxy .
#   docker run -d --name alyx-proxy -p 8040:8040 -v alyx-proxy:/data \
#     -e ALYX_PROXY_UPSTREAM__URL=https://alyx.example.org alyx-proxy

FROM rust:1.95-slim-bookworm AS build
# SQLite and the cryptography of TLS are compiled from C.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends build-essential \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked && cp target/release/alyx-proxy /alyx-proxy

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="alyx-proxy" \
      org.opencontainers.image.description="A lab's own Alyx: caches, answers offline, and takes the load off the central database" \
      org.opencontainers.image.licenses="MIT"
# Which certificates Alyx may have is the system's business.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin alyx-proxy \
 && install --directory --owner=alyx-proxy --group=alyx-proxy --mode=0700 /data
COPY --from=build /alyx-proxy /usr/local/bin/alyx-proxy
COPY config/alyx-proxy.toml LICENSE /usr/share/doc/alyx-proxy/
USER alyx-proxy
ENV ALYX_PROXY_SERVER__LISTEN=0.0.0.0:8040 \
    ALYX_PROXY_STORAGE__DATA_DIR=/data
VOLUME /data
EXPOSE 8040
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=10s CMD ["alyx-proxy", "status"]
ENTRYPOINT ["alyx-proxy"]
CMD ["serve"]
