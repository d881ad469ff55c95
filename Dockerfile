# The image of the sidecar: two variables and a mounted certificate make it a function that serves HTTPS.
#
#   make image        or: podman build --format docker -t tlsproxy .   or: docker build -t tlsproxy .
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim

FROM ${PYTHON_IMAGE} AS builder
WORKDIR /build
# Two environments: what installs stays here, what is installed has no pip and goes into the image.
RUN ["python", "-m", "venv", "tools"]
RUN ["python", "-m", "venv", "--without-pip", "/opt/tlsproxy"]
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
COPY requirements.lock requirements-build.lock ./
RUN ["tools/bin/pip", "install", "--require-hashes", "--requirement", "requirements-build.lock"]
RUN ["tools/bin/pip", "--python", "/opt/tlsproxy/bin/python", "install", \
     "--require-hashes", "--only-binary", ":all:", "--requirement", "requirements.lock"]
COPY pyproject.toml README.md LICENSE ./
COPY tlsproxy tlsproxy
RUN ["tools/bin/pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", "dist", "."]
RUN ["tools/bin/pip", "--python", "/opt/tlsproxy/bin/python", "install", \
     "--no-deps", "--no-index", "--find-links", "dist", "tlsproxy"]
COPY deploy/image/collect.py ./
RUN ["python", "collect.py", "/opt/tlsproxy", "tlsproxy", "/root-of-image"]

# Not even a shell: the interpreter, the libraries that it is linked with, and what is installed.
FROM scratch
COPY --from=builder /root-of-image/system /
COPY --from=builder /root-of-image/environment /opt/tlsproxy
LABEL org.opencontainers.image.title="tlsproxy" \
      org.opencontainers.image.description="A sidecar that gives a legacy service HTTPS: two variables, and it works." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      tlsproxy.variable.TLSPROXY_CERT_NAME="which certificate to serve. Several, comma-separated: the first is the default, the others are picked by SNI. *: every certificate found in CERT_DIR" \
      tlsproxy.variable.TLSPROXY_APP_PORT="the legacy app's port on APP_HOST" \
      tlsproxy.variables="tlsproxy config --docs"
# The malloc thresholds keep glibc from giving memory back and taking it anew with every large body.
ENV PATH=/opt/tlsproxy/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_TRIM_THRESHOLD_=67108864 \
    MALLOC_MMAP_THRESHOLD_=33554432
# The two that matter, and every other variable that has a default, with it.
ENV TLSPROXY_CERT_NAME=tls \
    TLSPROXY_APP_PORT=8080 \
    TLSPROXY_APP_HOST=127.0.0.1 \
    TLSPROXY_CERT_DIR=/certs \
    TLSPROXY_LISTEN_PORT=8443 \
    TLSPROXY_MODE=http \
    TLSPROXY_WORKERS=1 \
    TLSPROXY_ADMIN_PORT=8444 \
    TLSPROXY_EXTERNAL_PORT=443 \
    TLSPROXY_SELF_SIGNED=off \
    TLSPROXY_TLS_PROFILE=intermediate \
    TLSPROXY_SNI_STRICT=off \
    TLSPROXY_CLIENT_AUTH=off \
    TLSPROXY_CLIENT_CHAIN=off \
    TLSPROXY_CERT_WAIT=60s \
    TLSPROXY_CERT_RESYNC_PERIOD=60s \
    TLSPROXY_CERT_ROTATION_GRACE=off \
    TLSPROXY_CERT_EXPIRY_WARNING=14d \
    TLSPROXY_PROXY_PROTOCOL=off \
    TLSPROXY_HSTS=off \
    TLSPROXY_FIX_REDIRECTS=on \
    TLSPROXY_COOKIE_SECURE=off \
    TLSPROXY_CONNECT_TIMEOUT=5s \
    TLSPROXY_APP_WAIT=3s \
    TLSPROXY_RESPONSE_TIMEOUT=60s \
    TLSPROXY_HANDSHAKE_TIMEOUT=10s \
    TLSPROXY_HEAD_TIMEOUT=10s \
    TLSPROXY_BODY_TIMEOUT=60s \
    TLSPROXY_KEEPALIVE_TIMEOUT=75s \
    TLSPROXY_TUNNEL_TIMEOUT=1h \
    TLSPROXY_APP_KEEPALIVE_TIMEOUT=30s \
    TLSPROXY_MAX_CONNECTIONS=10000 \
    TLSPROXY_APP_CONNECTIONS=0 \
    TLSPROXY_MAX_HEAD=32k \
    TLSPROXY_MAX_BODY=0 \
    TLSPROXY_DRAIN_DELAY=5s \
    TLSPROXY_DRAIN_TIMEOUT=20s \
    TLSPROXY_FOLLOW_APP=off \
    TLSPROXY_APP_CHECK=tcp \
    TLSPROXY_LOG_FORMAT=json \
    TLSPROXY_LOG_LEVEL=info \
    TLSPROXY_ACCESS_LOG=on \
    TLSPROXY_LOG_QUERY=on
# Empty by default, and set where they are wanted:
# TLSPROXY_APP_SOCKET, TLSPROXY_LISTEN_HOST, TLSPROXY_ALPN, TLSPROXY_ADMIN_HOST, TLSPROXY_REDIRECT_PORT,
# TLSPROXY_SELF_SIGNED_CA, TLSPROXY_CLIENT_CA, TLSPROXY_CLIENT_ALLOW, TLSPROXY_CLIENT_EXEMPT, TLSPROXY_TRUSTED_PROXIES
WORKDIR /
# Nobody's number: it owns no file and has no name.
USER 65532:65532
# HTTPS; health and metrics.
EXPOSE 8443 8444
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=60s --timeout=6s CMD ["tlsproxy", "health"]
ENTRYPOINT ["tlsproxy"]
