"""What lets a model through and what does not, against a server that answers as it is told: python -m unittest"""

import os
import time
import unittest
import unittest.mock
from concurrent import futures

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

import check

CONTRACT = check.Contract()
ELIGIBLE, CONDITIONS, REVIEW, INELIGIBLE, UNKNOWN = 1, 2, 3, 4, 99


class Told:
    """Answers each call with the next of `turns`: bytes of a response, or a code with its details."""

    def __init__(self, *turns):
        self.turns, self.calls, self.authorization = list(turns), [], None

    def __call__(self, _request, context):
        self.calls.append(time.monotonic())
        self.authorization = dict(context.invocation_metadata()).get("authorization")
        context.send_initial_metadata((("weighbridge-call-id", "call-1"),))
        turn = self.turns[min(len(self.calls), len(self.turns)) - 1]
        if isinstance(turn, bytes):
            return turn
        code, details = turn if isinstance(turn, tuple) else (turn, b"")
        if details:
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
        context.abort(code, "told so")


def decision(verdict):
    response = CONTRACT.response()
    response.decision.verdict = verdict
    response.decision.summary = "told so"
    return response.SerializeToString()


def status(code, *details):
    packed = status_pb2.Status(code=code.value[0], message="told so")
    for detail in details:
        any_ = any_pb2.Any()
        any_.Pack(detail)
        packed.details.append(any_)
    return code, packed.SerializeToString()


def ask(told, *, token=None, **arguments):
    server = grpc.server(futures.ThreadPoolExecutor(2))
    method = grpc.unary_unary_rpc_method_handler(told)
    service, name = check.METHOD.strip("/").split("/")
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {name: method})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with check.Gate(f"http://127.0.0.1:{port}", token=token, contract=CONTRACT) as gate:
            return gate.check("acme/one", {"purpose": "PURPOSE_COMMERCIAL"}, **arguments)
    finally:
        server.stop(None)


class Verdicts(unittest.TestCase):
    def outcome(self, turn, **arguments):
        answer = ask(Told(turn), **arguments)
        return answer.allowed, answer.exit_code

    def test_two_verdicts_let_through(self):
        self.assertEqual(self.outcome(decision(ELIGIBLE)), (True, 0))
        self.assertEqual(self.outcome(decision(CONDITIONS)), (True, 0))

    def test_conditions_block_where_asked(self):
        self.assertEqual(self.outcome(decision(CONDITIONS), strict_conditions=True), (False, 3))
        self.assertEqual(self.outcome(decision(ELIGIBLE), strict_conditions=True), (True, 0))

    def test_all_other_verdicts_block(self):
        self.assertEqual(self.outcome(decision(REVIEW)), (False, 4))
        self.assertEqual(self.outcome(decision(INELIGIBLE)), (False, 5))
        self.assertEqual(self.outcome(decision(0)), (False, 1))

    def test_a_verdict_of_a_newer_server_blocks(self):
        answer = ask(Told(decision(UNKNOWN)))
        self.assertEqual((answer.allowed, answer.exit_code), (False, 1))
        self.assertIn("99", answer.verdict)

    def test_an_answer_without_a_decision_blocks(self):
        self.assertEqual(self.outcome(b""), (False, 1))

    def test_bytes_that_are_no_answer_block(self):
        self.assertEqual(self.outcome(b"\xff\xff\xff"), (False, 1))

    def test_only_the_registry_says_that_a_model_is_not_known(self):
        info = error_details_pb2.ErrorInfo(reason="NOT_FOUND", domain="weighbridge")
        self.assertEqual(self.outcome(status(grpc.StatusCode.NOT_FOUND, info)), (False, 6))
        self.assertEqual(self.outcome(grpc.StatusCode.NOT_FOUND), (False, 1))

    def test_an_answer_that_blocks_is_false(self):
        self.assertFalse(ask(Told(decision(REVIEW))))
        self.assertFalse(ask(Told(grpc.StatusCode.INTERNAL)))
        self.assertTrue(ask(Told(decision(ELIGIBLE))))

    def test_no_proxy_of_the_environment_is_asked(self):
        proxy = "http://127.0.0.1:1"
        proxies = {"http_proxy": proxy, "grpc_proxy": proxy, "no_proxy": "", "no_grpc_proxy": ""}
        with unittest.mock.patch.dict(os.environ, proxies):
            self.assertTrue(ask(Told(decision(ELIGIBLE))))

    def test_the_id_of_the_call_is_kept(self):
        self.assertEqual(ask(Told(decision(ELIGIBLE))).call_id, "call-1")
        self.assertEqual(ask(Told(grpc.StatusCode.INTERNAL)).call_id, "call-1")


class Retries(unittest.TestCase):
    def test_unavailable_is_asked_again(self):
        told = Told(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE, decision(ELIGIBLE))
        self.assertTrue(ask(told).allowed)
        self.assertEqual(len(told.calls), 3)

    def test_retry_info_is_waited_for(self):
        info = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=700_000_000))
        told = Told(status(grpc.StatusCode.RESOURCE_EXHAUSTED, info), decision(ELIGIBLE))
        self.assertTrue(ask(told).allowed)
        self.assertGreaterEqual(told.calls[1] - told.calls[0], 0.7)

    def test_a_wait_beyond_the_deadline_is_not_begun(self):
        info = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=60))
        told = Told(status(grpc.StatusCode.RESOURCE_EXHAUSTED, info))
        began = time.monotonic()
        answer = ask(told, timeout_s=5)
        self.assertEqual((answer.allowed, answer.exit_code, len(told.calls)), (False, 1, 1))
        self.assertLess(time.monotonic() - began, 3)

    def test_attempts_end(self):
        told = Told(grpc.StatusCode.UNAVAILABLE)
        self.assertFalse(ask(told, timeout_s=60).allowed)
        self.assertEqual(len(told.calls), check.ATTEMPTS_MAX)

    def test_details_that_cannot_be_read_do_not_matter(self):
        told = Told((grpc.StatusCode.UNAVAILABLE, b"\xff\xff"), decision(ELIGIBLE))
        self.assertTrue(ask(told).allowed)

    def test_what_is_final_is_asked_once(self):
        for code in ("INTERNAL", "UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED"):
            told = Told(grpc.StatusCode[code])
            self.assertFalse(ask(told).allowed, code)
            self.assertEqual(len(told.calls), 1, code)

    def test_a_server_that_does_not_answer_blocks_at_the_deadline(self):
        def silent(_request, _context):
            time.sleep(2)
            return decision(ELIGIBLE)

        answer = ask(silent, timeout_s=0.3)
        self.assertEqual((answer.allowed, answer.exit_code), (False, 1))
        self.assertIn("DEADLINE_EXCEEDED", answer.why)


class Credentials(unittest.TestCase):
    def test_the_token_is_sent(self):
        told = Told(decision(ELIGIBLE))
        ask(told, token="wb_secret")
        self.assertEqual(told.authorization, "Bearer wb_secret")

    def test_a_token_does_not_leave_the_machine_in_the_clear(self):
        with self.assertRaises(check.UsageError):
            check.Gate("http://registry.example.com:50051", token="wb_secret", contract=CONTRACT)

    def test_addresses_that_cannot_be_right_are_refused(self):
        for server in ("registry", "ftp://a:1", "http://a", "http://a:b", "https://a:1/path"):
            with self.assertRaises(check.UsageError, msg=server):
                check.Gate(server, contract=CONTRACT)


class Requests(unittest.TestCase):
    def test_a_misspelt_fact_is_refused(self):
        with check.Gate("http://127.0.0.1:1", contract=CONTRACT) as gate, self.assertRaises(check.UsageError):
            gate.check("acme/one", {"purpos": "PURPOSE_COMMERCIAL"})


if __name__ == "__main__":
    unittest.main()
