# syntax=docker/dockerfile:1
# The container agent in a container, for machines where everything is one. It runs executions as containers of the
# engine beside it, whose socket it is given:
#
#   docker build -f packaging/images/agent.Dockerfile -t patchbay-agent .
#   docker run -d --name patchbay-agent -v /run/docker.sock:/run/docker.sock -v /var/lib/patchbay-agent:/var/lib/patchbay-agent \
#     -e PATCHBAY_URL=https://patchbay.example.com -e PATCHBAY_TOKEN_FILE=/run/secrets/patchbay-token … patchbay-agent
#
# The state directory must have the same path outside and inside: the engine mounts workspaces from it. Who may use the
# engine's socket is root on the machine, in a container or not: the systemd unit beside this gives an agent less, and
# its executions more walls.

ARG RUST=1.95
FROM rust:${RUST}-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo native --locked -p container-agent \
 && install -D -m 755 target/*/native/patchbay-agent /out/patchbay-agent

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/patchbay-agent /usr/local/bin/patchbay-agent
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/patchbay-agent"]
CMD ["run"]
