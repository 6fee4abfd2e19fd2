# One image for the three services and the command line: what runs is chosen by the argument (services.portal, services.billing,
# services.notifier, portico).
#   podman build -t portico:dev .                                (or docker, buildah; `make image` finds the one that is there)
#   podman build -t portico-sandbox:dev --target sandbox .       (the stand-ins for Stripe and the mailbox, for development)
# Tag and digest are raised together; the digest is what counts.
ARG PYTHON_IMAGE=docker.io/library/python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

# ---- The packages, each checked against the hash in requirements.txt, in an environment of their own
FROM ${PYTHON_IMAGE} AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
RUN python3 -m venv --without-pip /opt/portico \
    && python3 -m venv /opt/pip
COPY requirements.txt /tmp/
# `portico` is a command, of the sources that the last stage copies.
RUN printf '#!/bin/sh\nPYTHONPATH=/srv/portico exec /opt/portico/bin/python -P -m portico "$@"\n' >/opt/portico/bin/portico \
    && chmod 755 /opt/portico/bin/portico
# Wheels only: nothing is compiled, and no package's own script runs. Bytecode is made here, since the root is read-only later.
RUN /opt/pip/bin/pip --python /opt/portico/bin/python install --quiet --require-hashes --only-binary :all: \
        --no-compile -r /tmp/requirements.txt \
    && /opt/portico/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/portico/lib

# ---- The same and Flask, for the sandbox alone
FROM packages AS sandbox-packages
COPY requirements-sandbox.txt /tmp/
RUN /opt/pip/bin/pip --python /opt/portico/bin/python install --quiet --require-hashes --only-binary :all: \
        -r /tmp/requirements.txt -r /tmp/requirements-sandbox.txt

# ---- What every image of ours has: a user without a name or rights, and Python that writes nothing
FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/portico/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /srv/portico
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# No shell between: the service is process 1 and gets the SIGTERM.
ENTRYPOINT ["python", "-m"]

# ---- Development only: the stand-ins, and the host application that makes their demo customers
FROM base AS sandbox
COPY --from=sandbox-packages /opt/portico /opt/portico
COPY shared shared
COPY examples examples
COPY sandbox sandbox
CMD ["sandbox.server"]

# ---- Production; last, so that a build without --target makes it
FROM base AS portico
LABEL org.opencontainers.image.title="Portico" \
      org.opencontainers.image.version="1.0.0" \
      org.opencontainers.image.description="Customer-side billing self-service for businesses that bill through Stripe"
COPY --from=packages /opt/portico /opt/portico
COPY shared shared
COPY services services
COPY portico portico
CMD ["services.portal"]
