# syntax=docker/dockerfile:1
# What executions find in their sandbox where the machine's own programs are not wanted: common toolchains, and the coding
# agents' command lines, each at a pinned version. No daemon, no package manager's cache, no root: the user is 1000.
#
#   docker build -f packaging/images/base.Dockerfile -t patchbay-base packaging/images
#
# Execution: {"image": "registry.example.com/patchbay-base@sha256:…"}. Patchbay's own tools (`apply_patch`, the MCP server)
# are brought in by the container agent, so that they are never older than it.

ARG NODE=22
FROM node:${NODE}-bookworm-slim AS node

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      bash build-essential ca-certificates cmake curl file git git-lfs jq less openssh-client patch pkg-config procps \
      python3 python3-dev python3-pip python3-venv ripgrep sqlite3 unzip xz-utils zip \
 && rm -rf /var/lib/apt/lists/*

COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
 && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx

ARG RUST=1.95.0
ENV RUSTUP_HOME=/opt/rustup CARGO_HOME=/opt/cargo
RUN curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs \
    | sh -s -- -y --profile minimal --component clippy,rustfmt --default-toolchain ${RUST} --no-modify-path \
 && chmod -R a+rX /opt/rustup /opt/cargo

# The coding agents. A version is one argument; `--ignore-scripts` is not given, because some fetch their binary so.
ARG CLAUDE_CODE=2.1.330
ARG CODEX=0.169.0
ARG OPENCODE=1.18.33
ARG GEMINI_CLI=0.61.0
RUN npm install --global --no-fund --no-audit \
      @anthropic-ai/claude-code@${CLAUDE_CODE} @openai/codex@${CODEX} opencode-ai@${OPENCODE} @google/gemini-cli@${GEMINI_CLI} \
 && npm cache clean --force
# aider has many dependencies of its own: they stay apart from the project's.
ARG AIDER=0.86.2
RUN python3 -m venv /opt/aider \
 && /opt/aider/bin/pip install --no-cache-dir aider-chat==${AIDER} \
 && ln -s /opt/aider/bin/aider /usr/local/bin/aider

# What writes a cache in $HOME does it in the sandbox's own, so nothing here needs to be written.
ENV PATH=/opt/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    CARGO_HOME=/home/agent/.cargo RUSTUP_HOME=/opt/rustup
RUN useradd --uid 1000 --create-home --shell /bin/bash agent
USER 1000
WORKDIR /workspace
CMD ["bash"]
