# CPU image:
#   docker build -t lora-nlu .
#   docker run --rm -it -v "$PWD/output:/lora/output" lora-nlu bash scripts/roberta_base_rte.sh
# TORCH_INDEX may name PyTorch's index of CPU wheels (its install page has the address): the image is then some
# gigabytes smaller, as pip's default torch brings CUDA libraries along.
FROM python:3.11-slim-bookworm

ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 LORA_PYTHON=python

# g++ compiles DeepSpeed's communication on CPU, git names the commit in a run's record.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ git \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /lora
COPY environment.yml ./
RUN sed -n 's/^ *- \(.*==.*\)$/\1/p' environment.yml > pins.txt \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' pins.txt)" \
    && pip install -r pins.txt

COPY setup.py pyproject.toml ./
COPY src ./src
COPY examples ./examples
COPY scripts ./scripts
RUN pip install --no-deps --editable .

CMD ["bash"]
