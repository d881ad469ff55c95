# The image of the sidecar: two variables and a mounted certificate make it a function that serves HTTPS.
#
#   make image        or: podman build --format docker -t tlsproxy .   or: docker build -t tlsproxy .
#
# Those of its companions are targets of their own:
#
#   make images       or: podman build --format docker --target topz -t topz .
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

# What all have, in one layer. Not even a shell: the interpreter, and the libraries that all is linked with.
FROM scratch AS base
COPY --from=builder /root-of-image/system /
ENV PATH=/opt/tlsproxy/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /
# Nobody's number: it owns no file and has no name.
USER 65532:65532
STOPSIGNAL SIGTERM

# ------------------------------------------------------------------ topz

FROM builder AS topz-builder
COPY requirements-topz.lock ./
RUN ["tools/bin/pip", "--python", "/opt/tlsproxy/bin/python", "install", \
     "--require-hashes", "--only-binary", ":all:", "--requirement", "requirements-topz.lock"]
RUN ["python", "collect.py", "/opt/tlsproxy", "topz", "/root-of-image"]

FROM base AS topz
COPY --from=topz-builder /root-of-image/topz /opt/tlsproxy
LABEL org.opencontainers.image.title="topz" \
      org.opencontainers.image.description="The processes of a pod like top, over HTTP." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      topz.variable.TOPZ_TOKEN_FILE="a file with the token, read again at each request; counts before TOKEN" \
      topz.variable.TOPZ_PORT="the page's port, plain HTTP" \
      topz.variables="topz config --docs"
ENV TOPZ_PORT=8450 \
    TOPZ_ADMIN_PORT=8451 \
    TOPZ_ENVIRONMENT=off \
    TOPZ_REFRESH=5s \
    TOPZ_LIMIT=100 \
    TOPZ_SAMPLE=1s \
    TOPZ_PSS=on \
    TOPZ_PROC=/proc \
    TOPZ_DRAIN_DELAY=0 \
    TOPZ_LOG_FORMAT=json \
    TOPZ_LOG_LEVEL=info
# Empty by default, and set where they are wanted: TOPZ_TOKEN, TOPZ_TOKEN_FILE, TOPZ_HOST, TOPZ_ADMIN_HOST, TOPZ_MASK
# The page; health and metrics.
EXPOSE 8450 8451
HEALTHCHECK --start-period=60s --timeout=6s CMD ["topz", "health"]
ENTRYPOINT ["topz"]

# ------------------------------------------------------------------ configsync

FROM builder AS configsync-builder
COPY requirements-configsync.lock ./
RUN ["tools/bin/pip", "--python", "/opt/tlsproxy/bin/python", "install", \
     "--require-hashes", "--only-binary", ":all:", "--requirement", "requirements-configsync.lock"]
RUN ["python", "collect.py", "/opt/tlsproxy", "configsync", "/root-of-image"]

FROM base AS configsync
COPY --from=configsync-builder /root-of-image/configsync /opt/tlsproxy
LABEL org.opencontainers.image.title="configsync" \
      org.opencontainers.image.description="A configuration API in, files and a word to the app out." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      configsync.variable.CONFIGSYNC_SOURCES="where each file comes from: FILE=ADDRESS, several separated by commas, which make one version together. An address: https://... (#wait: the server holds a request until there is something new, #events: it sends server-sent events), etcd+http://HOST:2379/KEY, configmap:[NAMESPACE/]NAME/[KEY], secret:...; with a / at its end all keys, each a file" \
      configsync.variable.CONFIGSYNC_TELL="how the app hears of a new version: none, a signal, an http request, a command, a file that is touched; end: it is asked to end, for its container to be started anew" \
      configsync.variables="configsync config --docs"
ENV CONFIGSYNC_DIR=/config \
    CONFIGSYNC_UPDATE_PERIOD=60s \
    CONFIGSYNC_ONE_TIME=off \
    CONFIGSYNC_KUBERNETES_API=https://kubernetes.default.svc \
    CONFIGSYNC_KUBERNETES_ACCOUNT=/var/run/secrets/kubernetes.io/serviceaccount \
    CONFIGSYNC_TIMEOUT=60s \
    CONFIGSYNC_MAX_SIZE=4m \
    CONFIGSYNC_RETRY_MAX=60s \
    CONFIGSYNC_STALE_AFTER=10m \
    CONFIGSYNC_FORMAT=auto \
    CONFIGSYNC_ALLOW_EMPTY=off \
    CONFIGSYNC_LAYOUT=link \
    CONFIGSYNC_MODE=0644 \
    CONFIGSYNC_CHECK_TIMEOUT=30s \
    CONFIGSYNC_TELL=none \
    CONFIGSYNC_TELL_SIGNAL=HUP \
    CONFIGSYNC_TELL_GRACE=30s \
    CONFIGSYNC_TELL_METHOD=post \
    CONFIGSYNC_TELL_STATUS=0 \
    CONFIGSYNC_TELL_TIMEOUT=30s \
    CONFIGSYNC_HEALTH_WITHIN=30s \
    CONFIGSYNC_HEALTH_FOR=10s \
    CONFIGSYNC_HISTORY=10 \
    CONFIGSYNC_ADMIN_PORT=8453 \
    CONFIGSYNC_DRAIN_DELAY=0 \
    CONFIGSYNC_LOG_FORMAT=json \
    CONFIGSYNC_LOG_LEVEL=info \
    CONFIGSYNC_CONTROL_HOST=127.0.0.1 \
    CONFIGSYNC_CONTROL_PORT=8452
# Empty by default, and set where they are wanted: CONFIGSYNC_SOURCES, CONFIGSYNC_TOKEN, CONFIGSYNC_TOKEN_FILE,
# CONFIGSYNC_USERNAME, CONFIGSYNC_PASSWORD, CONFIGSYNC_PASSWORD_FILE, CONFIGSYNC_CLIENT_CERT, CONFIGSYNC_CLIENT_KEY,
# CONFIGSYNC_CA_FILE, CONFIGSYNC_JSON_SCHEMA, CONFIGSYNC_OWNER, CONFIGSYNC_CHECK_COMMAND, CONFIGSYNC_TELL_PROCESS,
# CONFIGSYNC_TELL_URL, CONFIGSYNC_TELL_COMMAND, CONFIGSYNC_TELL_FILE, CONFIGSYNC_HEALTH, CONFIGSYNC_ADMIN_HOST,
# CONFIGSYNC_CONTROL_TOKEN, CONFIGSYNC_CONTROL_TOKEN_FILE
# The control port, on the loopback address unless it is set; health and metrics.
EXPOSE 8452 8453
HEALTHCHECK --start-period=60s --timeout=6s CMD ["configsync", "health"]
ENTRYPOINT ["configsync"]

# ------------------------------------------------------------------ tlsproxy, the default: the last one

FROM base AS tlsproxy
COPY --from=builder /root-of-image/tlsproxy /opt/tlsproxy
LABEL org.opencontainers.image.title="tlsproxy" \
      org.opencontainers.image.description="A sidecar that gives a legacy service HTTPS: two variables, and it works." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      tlsproxy.variable.TLSPROXY_CERT_NAME="which certificate to serve. Several, comma-separated: the first is the default, the others are picked by SNI. *: every certificate found in CERT_DIR" \
      tlsproxy.variable.TLSPROXY_APP_PORT="the legacy app's port on APP_HOST" \
      tlsproxy.variables="tlsproxy config --docs"
# The malloc thresholds keep glibc from giving memory back and taking it anew with every large body.
ENV MALLOC_TRIM_THRESHOLD_=67108864 \
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
# HTTPS; health and metrics.
EXPOSE 8443 8444
HEALTHCHECK --start-period=60s --timeout=6s CMD ["tlsproxy", "health"]
ENTRYPOINT ["tlsproxy"]
