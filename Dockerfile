# The server of scores. A model is mounted, not built in:
#   docker build -t reward-model .                          torch for CPUs
#   docker build -t reward-model --build-arg DEVICE=cuda .  torch with CUDA; run it with --gpus all
#   docker run -p 8000:8000 -v "$PWD/outputs/multidim/best:/model:ro" reward-model
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG DEVICE=cpu
RUN pip install --no-cache-dir 'uv>=0.8,<1'
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY data data
COPY datagen datagen
COPY judge judge
COPY reward_model reward_model
# The wheels of torch that pip finds by itself bring CUDA with them.
RUN case "$DEVICE" in cpu) torch="--torch-backend=cpu" ;; cuda) torch="" ;; \
      *) echo "DEVICE is $DEVICE; expected cpu or cuda" >&2; exit 2 ;; esac \
    && uv venv /opt/reward \
    && uv pip install --no-cache --compile-bytecode --python /opt/reward/bin/python $torch '.[serve]'

FROM python:${PYTHON}-slim
COPY --from=build /opt/reward /opt/reward
# A number, so that a cluster sees that it is not root.
RUN useradd --uid 10001 --create-home reward
USER 10001
ENV PATH=/opt/reward/bin:$PATH HF_HUB_OFFLINE=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["reward-model", "serve"]
CMD ["/model", "--host", "0.0.0.0", "--port", "8000"]
