# syntax=docker/dockerfile:1
#
#   docker build --tag mahavishnu-pools .                  what every part of the system runs in
#   docker build --tag mahavishnu-pools:ai --target ai .   the same, with AI command lines from npm
#
# docker-compose.yml and the Deployments of Kubernetes pools use it. Nothing in it runs as root.
ARG PYTHON_VERSION=3.13
ARG NODE_VERSION=22

# ── the wheel of this checkout, installed with what it needs into an environment of its own ──────────────────────────
FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY mahavishnu_pools mahavishnu_pools
COPY workers workers
RUN python -m venv /usr/local/mahavishnu \
    && python -m pip wheel --no-deps --wheel-dir /wheels . \
    && /usr/local/mahavishnu/bin/python -m pip install "$(echo /wheels/mahavishnu_pools-*.whl)[mcp,otel]" \
    && /usr/local/mahavishnu/bin/python -m compileall -q /usr/local/mahavishnu/lib

# ── worker: the environment, git for repositories and worktrees, and a user without rights ───────────────────────────
FROM python:${PYTHON_VERSION}-slim AS worker
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 mahavishnu \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/mahavishnu --shell /usr/sbin/nologin mahavishnu \
    && install --directory --owner=10001 --group=10001 /var/lib/mahavishnu /workspace
COPY --from=build /usr/local/mahavishnu /usr/local/mahavishnu
ENV PATH=/usr/local/mahavishnu/bin:$PATH \
    HOME=/var/lib/mahavishnu \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MAHAVISHNU_DATA_DIR=/var/lib/mahavishnu
# By number: Kubernetes cannot tell from a name that it is not root.
USER 10001:10001
WORKDIR /workspace
# The agent is the first process: it waits for orphans, and TERM makes it hand back what it has.
CMD ["python", "-P", "-m", "mahavishnu_workers.agent"]

# ── the AI command lines: the versions this was tried with, where it was; name others with --build-arg ───────────────
FROM node:${NODE_VERSION}-slim AS command-lines
ARG CLAUDE_VERSION=2.1.197
ARG QWEN_VERSION=0.15.10
ARG CODEX_VERSION=latest
ARG GEMINI_VERSION=latest
RUN npm install --global --prefix /usr/local/command-lines --no-audit --no-fund \
        "@anthropic-ai/claude-code@${CLAUDE_VERSION}" \
        "@qwen-code/qwen-code@${QWEN_VERSION}" \
        "@openai/codex@${CODEX_VERSION}" \
        "@google/gemini-cli@${GEMINI_VERSION}" \
    && npm cache clean --force

FROM worker AS ai
COPY --from=command-lines /usr/local/bin/node /usr/local/bin/node
COPY --from=command-lines /usr/local/command-lines /usr/local/command-lines
ENV PATH=/usr/local/command-lines/bin:$PATH

# ── what is built when no target is named ────────────────────────────────────────────────────────────────────────────
FROM worker
