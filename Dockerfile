# syntax=docker/dockerfile:1

# Three build stages and a small runtime. The dependencies are a layer of their own, keyed by Cargo.toml and Cargo.lock
# alone: a change in src/ compiles this crate and nothing else. cargo-chef makes that layer from a recipe; the usual
# substitute, a fake main.rs, breaks as soon as a manifest names a second target.
FROM rust:1.95-bookworm AS chef
RUN ["cargo", "install", "--locked", "cargo-chef", "--version", "0.1.78"]
WORKDIR /build

# The recipe: what Cargo.toml and Cargo.lock ask for. It is the same file as long as they are.
FROM chef AS recipe
COPY . .
RUN ["cargo", "chef", "prepare", "--recipe-path", "recipe.json"]

FROM chef AS builder
COPY --from=recipe /build/recipe.json recipe.json
RUN ["cargo", "chef", "cook", "--locked", "--profile", "dist", "--bin", "weighbridge", "--recipe-path", "recipe.json"]
COPY . .
RUN ["cargo", "build", "--locked", "--profile", "dist", "--bin", "weighbridge"]
# The data directory comes into being here: the runtime image has no shell and no mkdir.
RUN ["mkdir", "-p", "/runtime/data"]

# Why distroless: the binary needs the C library, libgcc and the list of certificate authorities, and this image holds
# little else. No shell and no package manager is what an attacker finds, and what a scanner has to report on. It is the
# same Debian release as the builder, so both have the same C library.
FROM gcr.io/distroless/cc-debian12:nonroot

LABEL org.opencontainers.image.title="weighbridge" \
      org.opencontainers.image.description="A gRPC registry that decides whether an AI model may be used" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=builder /build/target/dist/weighbridge /usr/local/bin/weighbridge
COPY --from=builder /build/LICENSE /usr/share/doc/weighbridge/LICENSE
COPY --from=builder --chown=65532:65532 /runtime/data /var/lib/weighbridge

# By number, so that an orchestrator can see that it is not root. It is the image's own `nonroot`.
USER 65532:65532

# After the directory exists with its owner: a new volume takes both over.
VOLUME ["/var/lib/weighbridge"]

EXPOSE 50051

# The server speaks for itself. When the listener has TLS or asks for a token, replace this check with the
# orchestrator's own gRPC probe.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/weighbridge", "status", "--server", "http://127.0.0.1:50051"]

# SIGTERM, the default, drains: health turns to NOT_SERVING, calls in flight finish, the store is flushed.
STOPSIGNAL SIGTERM

ENTRYPOINT ["/usr/local/bin/weighbridge"]

# A container has to listen beyond its own loopback, and without a certificate the server only does so when told
# `--insecure`. That fits a private network or a mesh that brings TLS; anywhere else, give it a certificate and drop it.
CMD ["serve", "--listen", "0.0.0.0:50051", "--insecure", "--data-dir", "/var/lib/weighbridge"]
