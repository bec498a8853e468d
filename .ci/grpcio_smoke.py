#!/usr/bin/env python3
"""Calls a running server as a client that shares no code with it: grpcio, and messages built from reflection.

    .ci/grpcio_smoke.py 127.0.0.1:50051

The server holds the built-in catalog. Reflection here is v1alpha, which is what grpcio-reflection speaks; `.ci/run` uses
v1 through buf. Prints one line for each check and ends with status 1 when one of them failed.
"""

import re
import sys
import time

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

START_LIMIT_S = 60
CALL_LIMIT_S = 10

LLAMA = "meta-llama/Llama-3.3-70B-Instruct"
MONTHLY_USERS = "organization.monthly_active_users"


def llama_request(monthly_users=None):
    """A commercial, self-hosted use of a model with a gate at 700 million monthly users of the whole group."""
    use = {"purpose": "PURPOSE_COMMERCIAL", "hosting": "HOSTING_SELF_HOSTED"}
    if monthly_users is not None:
        use["measures"] = [
            {
                "metric": "monthly_active_users",
                "subject": "MEASURE_SUBJECT_GROUP",
                "period": "2024-11",
                "value": monthly_users,
            }
        ]
    return {"model": LLAMA, "use": use}


class Client:
    """Calls a method by name; requests and answers are dictionaries in the proto3 JSON mapping."""

    def __init__(self, channel):
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def services(self):
        return set(self.database.get_services())

    def call(self, service, method, request):
        descriptor = self.pool.FindServiceByName(service).FindMethodByName(method)
        request_class = message_factory.GetMessageClass(descriptor.input_type)
        response_class = message_factory.GetMessageClass(descriptor.output_type)
        stub = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        response = stub(ParseDict(request, request_class()), timeout=CALL_LIMIT_S)
        return MessageToDict(response, preserving_proto_field_name=True)

    def decide(self, request):
        answer = self.call("weighbridge.v1.EligibilityService", "CheckEligibility", request)
        return answer["decision"]

    def refuse(self, service, method, request):
        """The status of a call that has to fail, and its details."""
        try:
            answer = self.call(service, method, request)
        except grpc.RpcError as error:
            return error.code(), details_of(error)
        raise AssertionError(f"the call succeeded with {answer}")


def details_of(error):
    """The google.rpc details of a status, by the name of their type."""
    details = {}
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for packed in status_pb2.Status.FromString(value).details:
                name = packed.TypeName().rpartition(".")[2]
                detail = getattr(error_details_pb2, name)()
                packed.Unpack(detail)
                details[name] = detail
    return details


def expect(condition, shown):
    """An assertion that stays when Python runs with -O and shows what it saw."""
    if not condition:
        raise AssertionError(f"got {shown}")


def expect_error_info(details):
    info = details.get("ErrorInfo")
    expect(info is not None, f"details {sorted(details)} without ErrorInfo")
    expect(info.domain == "weighbridge", f"domain {info.domain!r}")
    expect(re.fullmatch(r"[A-Z][A-Z0-9_]*[A-Z0-9]", info.reason), f"reason {info.reason!r}")


def health_is_serving(client):
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        answer = client.call("grpc.health.v1.Health", "Check", {})
        if answer.get("status") == "SERVING":
            return
        expect(time.monotonic() < deadline, answer)
        time.sleep(0.1)


def reflection_lists_the_services(client):
    wanted = {
        "grpc.health.v1.Health",
        "weighbridge.v1.EligibilityService",
        "weighbridge.v1.ModelService",
    }
    services = client.services()
    expect(wanted <= services, sorted(services))


def above_the_gate_is_ineligible(client):
    decision = client.decide(llama_request(800_000_000))
    expect(decision.get("verdict") == "VERDICT_INELIGIBLE", decision)
    reasons = [finding["reason"] for finding in decision.get("findings", [])]
    expect("SCALE_GATE_EXCEEDED" in reasons, reasons)


def at_the_gate_is_answered_and_not_refused(client):
    decision = client.decide(llama_request(700_000_000))
    allowed = {"VERDICT_ELIGIBLE", "VERDICT_ELIGIBLE_WITH_CONDITIONS"}
    expect(decision.get("verdict") in allowed, decision)


def a_missing_figure_is_reviewed_and_named(client):
    decision = client.decide(llama_request())
    expect(decision.get("verdict") == "VERDICT_NEEDS_REVIEW", decision)
    expect(MONTHLY_USERS in decision.get("missing_facts", []), decision)


def an_unknown_model_is_not_found(client):
    request = {**llama_request(), "model": "nobody/no-such-model"}
    code, details = client.refuse("weighbridge.v1.EligibilityService", "CheckEligibility", request)
    expect(code is grpc.StatusCode.NOT_FOUND, code)
    expect_error_info(details)


def a_malformed_request_is_an_invalid_argument(client):
    request = {**llama_request(), "model": ""}
    code, details = client.refuse("weighbridge.v1.EligibilityService", "CheckEligibility", request)
    expect(code is grpc.StatusCode.INVALID_ARGUMENT, code)
    expect_error_info(details)
    violations = details["BadRequest"].field_violations if "BadRequest" in details else []
    fields = [violation.field for violation in violations]
    expect("model" in fields, f"violations of {fields}")


def models_are_listed_in_pages(client):
    answer = client.call("weighbridge.v1.ModelService", "ListModels", {"page_size": 2})
    first = [model["name"] for model in answer.get("models", [])]
    expect(len(first) == 2 and answer.get("next_page_token"), answer)
    answer = client.call(
        "weighbridge.v1.ModelService",
        "ListModels",
        {"page_size": 2, "page_token": answer["next_page_token"]},
    )
    second = [model["name"] for model in answer.get("models", [])]
    expect(second and not set(first) & set(second), f"{first} and then {second}")


CHECKS = (
    health_is_serving,
    reflection_lists_the_services,
    above_the_gate_is_ineligible,
    at_the_gate_is_answered_and_not_refused,
    a_missing_figure_is_reviewed_and_named,
    an_unknown_model_is_not_found,
    a_malformed_request_is_an_invalid_argument,
    models_are_listed_in_pages,
)


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} HOST:PORT")
    failed = []
    with grpc.insecure_channel(sys.argv[1], options=[("grpc.enable_http_proxy", 0)]) as channel:
        started = time.monotonic()
        try:
            grpc.channel_ready_future(channel).result(timeout=START_LIMIT_S)
        except grpc.FutureTimeoutError:
            sys.exit(f"no server at {sys.argv[1]} within {START_LIMIT_S} s")
        print(f"connected after {time.monotonic() - started:.1f} s")
        client = Client(channel)
        for check in CHECKS:
            try:
                check(client)
            # Whatever goes wrong in one check, the others still run and all are reported.
            except Exception as error:  # pylint: disable=broad-exception-caught
                failed.append(check.__name__)
                print(f"FAILED {check.__name__}: {type(error).__name__}: {error}")
            else:
                print(f"ok     {check.__name__}")
    if failed:
        sys.exit(f"{len(failed)} of {len(CHECKS)} checks failed")


if __name__ == "__main__":
    main()
