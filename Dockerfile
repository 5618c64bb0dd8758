# Two images from one file; without --target it is the small one.
#
#   docker build -t rtl .                        predict, verify, bench and inspect; no torch
#   docker build -t rtl-train --target train .   fine-tuning and export too
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" rtl predict model.onnx lunch.jpg

FROM python:3.11-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY toolchain toolchain
RUN pip wheel --no-cache-dir --no-deps --wheel-dir wheels .

FROM python:3.11-slim AS base
# A mounted folder belongs to the host's user, whom --user brings in: home and data are for anyone.
RUN useradd --create-home --uid 1000 rtl \
    && mkdir /data \
    && chmod 1777 /home/rtl /data
ENV HOME=/home/rtl
WORKDIR /install
COPY constraints.txt ./
COPY --from=build /build/wheels wheels

FROM base AS train
# The CPU build of torch; PyPI's own is the CUDA build:
#   docker build --target train --build-arg TORCH_INDEX=https://pypi.org/simple .
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN set -- wheels/*.whl \
    && pip install --no-cache-dir -c constraints.txt --extra-index-url "$TORCH_INDEX" "$1[cpu,train]"
USER 1000
WORKDIR /data
ENTRYPOINT ["rtl"]
CMD ["--help"]

FROM base AS runtime
RUN set -- wheels/*.whl \
    && pip install --no-cache-dir -c constraints.txt "$1[cpu]"
USER 1000
WORKDIR /data
ENTRYPOINT ["rtl"]
CMD ["--help"]
