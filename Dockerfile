# syntax=docker/dockerfile:1

# The bases, by tag: readable, and they get the fixes of their Debian release when the image is built again. A tag can be moved
# to something else, though. Where a build has to be the same each time, pin what a tag points to today:
#
#   docker buildx imagetools inspect rust:1.95-bookworm            # prints `Digest: sha256:…`
#   docker build --build-arg RUST_IMAGE=rust@sha256:… --build-arg RUNTIME_IMAGE=gcr.io/distroless/cc-debian12@sha256:… .
#
# Both are of the same Debian release, so that both have the same C library. Change them together.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

# Three build stages and a small runtime. The dependencies are a layer of their own, keyed by Cargo.toml and Cargo.lock
# alone: a change in src/ compiles this crate and nothing else. cargo-chef makes that layer from a recipe; the usual
# substitute, a fake main.rs, breaks as soon as a manifest names a second target.
FROM ${RUST_IMAGE} AS chef
RUN ["cargo", "install", "--locked", "cargo-chef", "--version", "0.1.78"]
# The image holds the store on etcd as well (`--features etcd` below), and the build of etcd's client asks protoc and the
# well-known types to compile its protos. Neither is in the runtime. By name alone: Debian takes a version away when the next is there.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libprotobuf-dev protobuf-compiler \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The recipe: what Cargo.toml and Cargo.lock ask for. It is the same file as long as they are.
FROM chef AS recipe
COPY . .
RUN ["cargo", "chef", "prepare", "--recipe-path", "recipe.json"]

FROM chef AS builder
COPY --from=recipe /build/recipe.json recipe.json
RUN ["cargo", "chef", "cook", "--locked", "--profile", "dist", "--features", "etcd", "--bin", "weighbridge", \
     "--recipe-path", "recipe.json"]
COPY . .
RUN ["cargo", "build", "--locked", "--profile", "dist", "--features", "etcd", "--bin", "weighbridge"]
# The data directory comes into being here: the runtime image has no shell and no mkdir.
RUN ["mkdir", "-p", "/runtime/data"]

# Why distroless: the binary needs the C library, libgcc and the list of certificate authorities, and this image holds
# little else. No shell and no package manager is what an attacker finds, and what a scanner has to report on.
FROM ${RUNTIME_IMAGE}

LABEL org.opencontainers.image.title="weighbridge" \
      org.opencontainers.image.description="A gRPC registry that decides whether an AI model may be used" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=builder /build/target/dist/weighbridge /usr/local/bin/weighbridge
COPY --from=builder /build/LICENSE /usr/share/doc/weighbridge/LICENSE
COPY --from=builder --chown=65532:65532 /runtime/data /var/lib/weighbridge

# By number, so that an orchestrator can see that it is not root. It is the image's own `nonroot`.
USER 65532:65532

# After the directory exists with its owner: a new volume takes both over. It is the only place that is written to, so the image
# runs with `--read-only --cap-drop ALL --security-opt no-new-privileges`, and without a /tmp.
# With `--store etcd` nothing is written to it.
VOLUME ["/var/lib/weighbridge"]

# gRPC; and with --metrics-listen 0.0.0.0:9464 the figures and probes over HTTP.
EXPOSE 50051 9464

# The server is asked as any client asks it, so the check works with TLS and credentials as soon as the container's environment
# says how a client reaches it:
#
#   WEIGHBRIDGE_SERVER=https://localhost:50051        a name that the certificate holds
#   WEIGHBRIDGE_CA_CERT=/etc/weighbridge/ca.pem       what it is verified against
#   WEIGHBRIDGE_TOKEN_FILE=/run/secrets/probe-token   of a token with the role `reader`
#
# (WEIGHBRIDGE_CLIENT_CERT and WEIGHBRIDGE_CLIENT_KEY where callers show certificates.) Without them it asks
# http://127.0.0.1:50051, the default of every command. The image has no curl, so /readyz is for orchestrators; these
# should ask it in place of this check.
#
# It fails as well while the store takes no writes, though checks are answered then. Docker only shows that; Swarm restarts
# the container, which does not mend a full disk: replace the check there.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/weighbridge", "status"]

# SIGTERM, the default, drains: health turns to NOT_SERVING, calls in flight finish, the store is flushed. Docker kills after
# ten seconds, which --drain-s alone takes by default: stop with `docker stop -t 45`, or set a stop_grace_period of 45s.
STOPSIGNAL SIGTERM

ENTRYPOINT ["/usr/local/bin/weighbridge"]

# A container has to listen beyond its own loopback, and there the server starts with TLS and credentials only. So this command
# says what is missing and ends, until it is told: by WEIGHBRIDGE_TLS_CERT, WEIGHBRIDGE_TLS_KEY and WEIGHBRIDGE_CREDENTIALS, by
# a file (`serve --config FILE` in place of this command), or, to try it out on this machine,
#
#   docker run --rm -p 127.0.0.1:50051:50051 -e WEIGHBRIDGE_INSECURE=true weighbridge
#
# Flags and not ENV: a variable of the image would count before the file of whoever runs it, and nobody would see why.
CMD ["serve", "--listen", "0.0.0.0:50051", "--data-dir", "/var/lib/weighbridge"]
