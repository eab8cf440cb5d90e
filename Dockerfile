# syntax=docker/dockerfile:1
# nsp with ONNX Runtime and TensorRT on an NVIDIA GPU; docs/docker.md shows how to build and run it, and the way without
# a GPU. What is built is the wheel, installed in a virtual environment with the versions of constraints.txt.

ARG BASE=nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04

# hadolint ignore=DL3006
FROM ${BASE} AS build
ARG EXTRAS=gpu,tensorrt
# The distribution's newest Python 3.12; older ones leave its archive, so that a pinned version would break the build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY nsp_pipeline nsp_pipeline
COPY export export
COPY recipes recipes
RUN python3 -m venv /tmp/builder \
    && /tmp/builder/bin/pip install --no-cache-dir -c constraints.txt hatchling \
    && /tmp/builder/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .
# Classic TensorRT's libraries are in NVIDIA's own index.
RUN python3 -m venv --without-pip /opt/nsp \
    && /tmp/builder/bin/pip --python /opt/nsp/bin/python install --no-cache-dir -c constraints.txt \
        --extra-index-url https://pypi.nvidia.com "$(echo /wheel/nsp_pipeline-*.whl)[${EXTRAS}]"

# hadolint ignore=DL3006
FROM ${BASE}
LABEL org.opencontainers.image.title="nsp-pipeline" \
      org.opencontainers.image.description="Cleans folders of noisy photos with a denoiser fitted to your camera" \
      org.opencontainers.image.licenses="Apache-2.0"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home nsp \
    && install -d -o nsp -g nsp -m 1777 /photos /cache /data
COPY --from=build /opt/nsp /opt/nsp
# /cache: engines, built once for a GPU; /data: your own profiles. Anybody may write there, so that
# `docker run --user "$(id -u):$(id -g)"` leaves clean photos that belong to you.
ENV PATH=/opt/nsp/bin:$PATH \
    XDG_CACHE_HOME=/cache \
    XDG_DATA_HOME=/data \
    PYTHONUNBUFFERED=1
VOLUME ["/photos", "/cache", "/data"]
WORKDIR /photos
USER 10001:10001
ENTRYPOINT ["nsp"]
CMD ["--help"]
