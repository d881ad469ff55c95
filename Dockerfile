# The image of the sidecar: two variables and a mounted certificate make it a function that serves HTTPS.
#
#   podman build -t tlsproxy .        or: docker build -t tlsproxy .
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim

FROM ${PYTHON_IMAGE} AS builder
WORKDIR /build
# Two environments: what installs stays here, what is installed has no pip and goes into the image.
RUN python -m venv tools && python -m venv --without-pip /opt/tlsproxy
COPY requirements.lock requirements-build.lock ./
RUN tools/bin/pip --no-cache-dir --disable-pip-version-check install --require-hashes --requirement requirements-build.lock
RUN tools/bin/pip --no-cache-dir --disable-pip-version-check --python /opt/tlsproxy/bin/python \
    install --require-hashes --only-binary :all: --compile --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY tlsproxy tlsproxy
RUN tools/bin/pip --disable-pip-version-check wheel --no-build-isolation --no-deps --no-index --wheel-dir dist . \
    && tools/bin/pip --disable-pip-version-check --python /opt/tlsproxy/bin/python \
        install --no-deps --no-index --compile dist/*.whl

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="tlsproxy" \
      org.opencontainers.image.description="A sidecar that gives a legacy service HTTPS: two variables, and it works." \
      org.opencontainers.image.licenses="Apache-2.0" \
      tlsproxy.variable.TLSPROXY_CERT_NAME="which certificate in /certs to serve" \
      tlsproxy.variable.TLSPROXY_APP_PORT="the legacy app's port on localhost" \
      tlsproxy.variables="tlsproxy config --docs"
COPY --from=builder /opt/tlsproxy /opt/tlsproxy
# The two that matter, with their defaults. The malloc thresholds keep glibc from giving memory back and taking it anew
# with every large body.
ENV TLSPROXY_CERT_NAME=tls \
    TLSPROXY_APP_PORT=8080 \
    MALLOC_TRIM_THRESHOLD_=67108864 \
    MALLOC_MMAP_THRESHOLD_=33554432 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/tlsproxy/bin:$PATH
WORKDIR /
# Nobody's number: it owns no file and has no name.
USER 65532:65532
# HTTPS; health and metrics.
EXPOSE 8443 8444
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=60s --timeout=6s CMD ["tlsproxy", "health"]
ENTRYPOINT ["tlsproxy"]
