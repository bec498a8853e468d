#!/usr/bin/env python3
"""Asks a Weighbridge server whether a model may be used, and fails closed.

    check.py meta-llama/Llama-3.3-70B-Instruct --use use.json
    check.py Qwen/Qwen3-32B --profile useProfiles/eu-production \\
        --server https://registry.example.com:50051 --ca-cert ca.pem --token-file token

Only the verdicts ELIGIBLE and ELIGIBLE_WITH_CONDITIONS let a model through. Everything else blocks: any other verdict, one
that this client does not know, an answer without a decision, and any failure to get an answer.

The exit codes are those of `weighbridge check`: 0 may be used, 3 with conditions and --strict-conditions, 4 needs a review,
5 ineligible, 6 the model is not known, 2 wrong arguments, 1 no answer.

In a program: `Gate(...).check(model, use)`, and go on only if `answer.allowed`.
"""

import argparse
import json
import os
import pathlib
import random
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message, message_factory
from google.rpc import error_details_pb2, status_pb2

# The public contract, as a set of descriptors. A program elsewhere keeps a copy of this one file beside itself.
DESCRIPTORS = pathlib.Path(__file__).resolve().parents[3] / "proto" / "weighbridge-v1.binpb"
METHOD = "/weighbridge.v1.EligibilityService/CheckEligibility"

# Nothing was decided, and asking again may help. All else is final: a second try would get the same answer.
RETRIED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
ATTEMPTS_MAX = 5
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0

CHANNEL_OPTIONS = [
    # Retries are made here, where RetryInfo is read: gRPC's own do not look at it, and both together would multiply.
    ("grpc.enable_retries", 0),
    # A channel that could not connect fails every call until it tries again. By default that is a second later, and the
    # first retries would never reach the network.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A proxy from the environment would be asked even for this machine, and could answer in the registry's place.
    ("grpc.enable_http_proxy", 0),
    ("grpc.primary_user_agent", "weighbridge-example-python"),
]

EXIT_ALLOWED, EXIT_NO_ANSWER, EXIT_USAGE = 0, 1, 2
EXIT_CONDITIONS, EXIT_REVIEW, EXIT_INELIGIBLE, EXIT_NOT_FOUND = 3, 4, 5, 6


class UsageError(Exception):
    """The arguments cannot be right, whatever the server says."""


@dataclass
class Answer:
    """What came of a check. `allowed` is set in one place only, `_judge`."""

    allowed: bool
    verdict: str
    why: str
    exit_code: int
    call_id: str = ""
    duties: list = field(default_factory=list)
    missing_facts: list = field(default_factory=list)

    def __bool__(self):
        # `if gate.check(…)` means what it reads like.
        return self.allowed


class Contract:
    """Message classes of the public contract."""

    def __init__(self, path=DESCRIPTORS):
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(path).read_bytes())
        pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            pool.Add(file)

        def message_class(name):
            return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))

        self.request = message_class("weighbridge.v1.CheckEligibilityRequest")
        self.response = message_class("weighbridge.v1.CheckEligibilityResponse")
        self.verdicts = pool.FindEnumTypeByName("weighbridge.v1.Verdict").values_by_number


class Gate:
    """Asks one server. Keep one for the life of the program: it holds the connection."""

    def __init__(self, server, *, ca_cert=None, client_cert=None, client_key=None, token=None, contract=None):
        self._contract = contract or Contract()
        self._channel = _connect(server, ca_cert, client_cert, client_key, token)
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        self._call = self._channel.unary_unary(
            METHOD,
            request_serializer=self._contract.request.SerializeToString,
            response_deserializer=self._contract.response.FromString,
        )

    def close(self):
        self._channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def check(self, model, use=None, *, profile="", timeout_s=10.0, strict_conditions=False):
        """Whether `model` may be used. `use` is a dictionary in the proto3 JSON mapping of `weighbridge.v1.Use`.

        `timeout_s` bounds all attempts together. Never raises on what the network or the server does.
        """
        request = self._request(model, use, profile)
        try:
            response, call_id = self._ask(request, timeout_s)
            return self._judge(response, call_id, strict_conditions)
        except grpc.RpcError as error:
            return _unanswered(error)
        except Exception as error:  # INVARIANT: whatever goes wrong between here and the verdict blocks.
            return Answer(False, "none", f"the check failed: {type(error).__name__}: {error}", EXIT_NO_ANSWER)

    def _request(self, model, use, profile):
        # Unknown fields are refused: a misspelt fact would be a fact that is silently not given.
        try:
            written = {"model": model, "use": use or {}, "use_profile": profile}
            return json_format.ParseDict(written, self._contract.request())
        except json_format.ParseError as error:
            raise UsageError(f"the use cannot be read: {error}") from error

    def _ask(self, request, timeout_s):
        deadline = time.monotonic() + timeout_s
        attempt = 0
        while True:
            attempt += 1
            left_s = deadline - time.monotonic()
            try:
                # The deadline travels with the call, so the server gives up when the client does.
                response, call = self._call.with_call(request, timeout=max(left_s, 0.001), metadata=self._metadata)
                return response, _metadata_value(call.initial_metadata(), "weighbridge-call-id")
            except grpc.RpcError as error:
                if error.code() not in RETRIED or attempt >= ATTEMPTS_MAX:
                    raise
                wait_s = _wait_s(attempt, _retry_info_s(error))
                # A wait that ends after the deadline could only turn this error into a less telling one.
                if time.monotonic() + wait_s >= deadline:
                    raise
            time.sleep(wait_s)

    def _judge(self, response, call_id, strict_conditions):
        if not response.HasField("decision"):
            return Answer(False, "none", "the answer holds no decision", EXIT_NO_ANSWER, call_id)
        decision = response.decision
        # proto3 enums are open: a verdict of a newer server arrives as a number without a name, and blocks like any other.
        known = self._contract.verdicts.get(decision.verdict)
        verdict = known.name.removeprefix("VERDICT_") if known else f"unknown ({decision.verdict})"
        allowed, exit_code = {
            "ELIGIBLE": (True, EXIT_ALLOWED),
            "ELIGIBLE_WITH_CONDITIONS": (True, EXIT_ALLOWED),
            "NEEDS_REVIEW": (False, EXIT_REVIEW),
            "INELIGIBLE": (False, EXIT_INELIGIBLE),
        }.get(verdict, (False, EXIT_NO_ANSWER))
        if strict_conditions and verdict == "ELIGIBLE_WITH_CONDITIONS":
            allowed, exit_code = False, EXIT_CONDITIONS
        return Answer(
            allowed,
            verdict,
            decision.summary,
            exit_code,
            call_id,
            [duty.text for duty in decision.duties],
            list(decision.missing_facts),
        )


def _connect(server, ca_cert, client_cert, client_key, token):
    url = urlsplit(server if "://" in server else f"http://{server}")
    try:
        port = url.port
    except ValueError as error:
        raise UsageError(f"`{server}` is no address: {error}") from error
    if url.scheme not in ("http", "https") or not url.hostname or port is None or url.path not in ("", "/"):
        raise UsageError(f"`{server}` is no address: write https://HOST:PORT")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    target = f"{host}:{port}"
    if bool(client_cert) != bool(client_key):
        raise UsageError("a client certificate and its key go together")
    if url.scheme == "https":
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(ca_cert), private_key=_read(client_key), certificate_chain=_read(client_cert)
        )
        return grpc.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
    if ca_cert or client_cert:
        raise UsageError("certificates need https://")
    # Who reads a token on its way can use it.
    if token and url.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise UsageError("a token is only sent over https://, or to this machine")
    return grpc.insecure_channel(target, options=CHANNEL_OPTIONS)


def _read(path):
    return pathlib.Path(path).read_bytes() if path else None


def _wait_s(attempt, told_s):
    """How long to wait after an attempt that failed; `told_s` is what the server asked for, or None."""
    backoff_s = min(BACKOFF_FIRST_S * 2 ** (attempt - 1), BACKOFF_MAX_S)
    # Clients that were turned away together must not come back together.
    jittered_s = backoff_s * random.uniform(0.5, 1.0)
    # The server knows when there is room; the jitter still comes on top.
    return jittered_s if told_s is None else told_s + jittered_s


def _retry_info_s(error):
    info = _detail(error, error_details_pb2.RetryInfo())
    if info is None:
        return None
    return max(info.retry_delay.seconds + info.retry_delay.nanos / 1e9, 0.0)


def _detail(error, wanted):
    """The detail of a status with the type of `wanted`, or None."""
    packed = _metadata_value(error.trailing_metadata(), "grpc-status-details-bin")
    try:
        for any_ in status_pb2.Status.FromString(packed or b"").details:
            if any_.Unpack(wanted):
                return wanted
    except message.DecodeError:
        # A proxy can send anything; the status itself still counts.
        pass
    return None


def _metadata_value(metadata, key):
    return next((value for name, value in metadata or () if name == key), "")


def _unanswered(error):
    code = error.code()
    info = _detail(error, error_details_pb2.ErrorInfo())
    reason = f" ({info.reason})" if info is not None else ""
    # Only the registry's own word says that a model, or a profile, is not known: a proxy that finds no route says NOT_FOUND, too.
    is_not_found = code is grpc.StatusCode.NOT_FOUND and info is not None and info.domain == "weighbridge"
    call_id = _metadata_value(error.initial_metadata(), "weighbridge-call-id") or _metadata_value(
        error.trailing_metadata(), "weighbridge-call-id"
    )
    if is_not_found:
        exit_code = EXIT_NOT_FOUND
    elif code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED):
        exit_code = EXIT_USAGE
    else:
        exit_code = EXIT_NO_ANSWER
    return Answer(False, "none", f"{code.name}{reason}: {error.details()}", exit_code, call_id)


def _arguments():
    parser = argparse.ArgumentParser(description="Ask whether a model may be used. Anything but a clear yes blocks.")
    parser.add_argument("model", help="resource name, or any id it is known by")
    parser.add_argument("--use", type=pathlib.Path, help="facts of the use, JSON; `-` reads standard input")
    parser.add_argument("--profile", default="", help="useProfiles/…, whose facts apply where the use is silent")
    parser.add_argument("--server", default=os.environ.get("WEIGHBRIDGE_SERVER", "http://127.0.0.1:50051"))
    parser.add_argument("--ca-cert", type=pathlib.Path, help="roots of the server's certificate, PEM")
    parser.add_argument("--client-cert", type=pathlib.Path, help="PEM")
    parser.add_argument("--client-key", type=pathlib.Path, help="PEM")
    # A token as an argument would be shown to everybody who lists processes, so there is none.
    parser.add_argument("--token-file", type=pathlib.Path, help="or the variable WEIGHBRIDGE_TOKEN")
    parser.add_argument("--timeout-s", type=float, default=10.0, help="for all attempts together")
    parser.add_argument("--strict-conditions", action="store_true", help="block where duties remain")
    return parser.parse_args()


def _token(arguments):
    if arguments.token_file is not None:
        token = arguments.token_file.read_text(encoding="ascii").strip()
        if not token:
            raise UsageError(f"`{arguments.token_file}` is empty")
        return token
    return os.environ.get("WEIGHBRIDGE_TOKEN", "").strip() or None


def _use(path):
    if path is None:
        return {}
    text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    use = json.loads(text)
    if not isinstance(use, dict):
        raise UsageError(f"`{path}` holds no JSON object")
    return use


def main():
    arguments = _arguments()
    try:
        gate = Gate(
            arguments.server,
            ca_cert=arguments.ca_cert,
            client_cert=arguments.client_cert,
            client_key=arguments.client_key,
            token=_token(arguments),
        )
        with gate:
            answer = gate.check(
                arguments.model,
                _use(arguments.use),
                profile=arguments.profile,
                timeout_s=arguments.timeout_s,
                strict_conditions=arguments.strict_conditions,
            )
    except (UsageError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    print(f"{'ALLOWED' if answer.allowed else 'BLOCKED'}  {answer.verdict}  {answer.why}")
    for duty in answer.duties:
        print(f"  duty: {duty}")
    for fact in answer.missing_facts:
        print(f"  missing: {fact}")
    if answer.call_id:
        print(f"  call: {answer.call_id}")
    return answer.exit_code


if __name__ == "__main__":
    sys.exit(main())
