"""Has what is written for others read by their own libraries: bills of materials by CycloneDX's, receipts by in-toto's and
securesystemslib's, SARIF by sarif-tools.

    python3 scripts/foreign-readers.py target/debug/weighbridge [--models 40]

Needs the packages of .ci/requirements.txt. Ends with an error at the first thing that is not read as it was meant.
"""

import argparse
import copy
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.vsa.v1.vsa_pb2 import VerificationSummary
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from sarif import loader
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from cryptography.hazmat.primitives.serialization import load_pem_public_key

START_LIMIT_S = 60
LLAMA = "meta-llama/Llama-3.3-70B-Instruct"
# Among the models in any case: with ancestors, of which one is no record; with every part; proprietary; of unknown license.
ALWAYS = ["deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "allenai/OLMo-2-1124-7B", "openai/gpt-4o", LLAMA]


class Weighbridge:
    """The command, and a server that it asks."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.binary = binary
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("WEIGHBRIDGE_")}
        key = folder / "key.pem"
        self.public = self.run("receipt", "keygen", str(key)).stdout
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        arguments = ["serve", "--store", "memory", "--listen", f"127.0.0.1:{port}", "--receipt-key", str(key)]
        self.server = subprocess.Popen([binary, *arguments], stderr=subprocess.DEVNULL, env=self.environment)
        self.environment["WEIGHBRIDGE_SERVER"] = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_LIMIT_S
        while self.run("status", codes=(0, 1)).returncode != 0:
            if self.server.poll() is not None or time.monotonic() > deadline:
                sys.exit("FAILED the server does not answer")
            time.sleep(0.2)

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        ran = subprocess.run([self.binary, *arguments], env=self.environment, capture_output=True, text=True, check=False)
        if ran.returncode not in codes:
            sys.exit(f"FAILED weighbridge {' '.join(arguments)}: {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran

    def json(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> dict:
        return json.loads(self.run(*arguments, "--format", "json", codes=codes).stdout)


def bills(weighbridge: Weighbridge, count: int) -> None:
    """Validates bills of materials strictly against the schema, and reads them."""
    names = [model["name"] for model in weighbridge.json("models", "list")["models"]]
    chosen = ALWAYS + names[:: max(1, len(names) // count)][:count]
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for name in chosen:
        text = weighbridge.run("models", "bom", name).stdout
        if (error := validator.validate_str(text)) is not None:
            sys.exit(f"FAILED the bill of {name} is not valid: {error}")
        bom = Bom.from_json(json.loads(text))
        assert bom.metadata.component is not None and bom.metadata.component.type == "machine-learning-model"
    # The validator does refuse what is wrong.
    wrong = text.replace('"machine-learning-model"', '"model"')
    assert wrong != text and validator.validate_str(wrong) is not None
    print(f"ok     {len(chosen)} bills of materials are valid (CycloneDX 1.6, strict)")


def receipts(weighbridge: Weighbridge) -> None:
    """Verifies receipts and reads them as statements with a verification summary."""
    key = SSlibKey.from_crypto(load_pem_public_key(weighbridge.public.encode()))
    facts = ["--purpose", "commercial", "--hosting", "self-hosted", "--record"]
    for users, result in [("5@2024-11:group", "PASSED"), ("900M@2024-11:group", "FAILED")]:
        checked = weighbridge.json("check", LLAMA, *facts, "--mau", users, codes=(0, 5))
        decision = checked.get("decision", checked)
        written = json.loads(weighbridge.run("receipt", "get", decision["name"]).stdout)
        # It takes apart what it is given.
        envelope = Envelope.from_dict(copy.deepcopy(written))
        assert list(envelope.signatures) == [written["signatures"][0]["keyid"]]
        # The ids of keys are hints, and this library makes them otherwise.
        envelope.signatures = {key.keyid: sig for sig in envelope.signatures.values()}
        for sig in envelope.signatures.values():
            sig.keyid = key.keyid
        assert envelope.verify([key], 1)
        envelope.payload += b" "
        try:
            envelope.verify([key], 1)
        except VerificationError:
            pass
        else:
            sys.exit("FAILED a receipt that was changed is verified")
        statement = json_format.Parse(envelope.payload, StatementMessage())
        Statement.copy_from_pb(statement).validate()
        assert statement.predicate_type == "https://slsa.dev/verification_summary/v1"
        predicate = json_format.MessageToDict(statement.predicate)
        assert predicate.pop("weighbridge_decision")["name"] == decision["name"]
        # A list in the specification; the library's message has one text in its place.
        levels = predicate.pop("verifiedLevels")
        assert isinstance(levels, list) and len(levels) == 1 and not levels[0].startswith("SLSA_"), levels
        summary = json_format.ParseDict(predicate, VerificationSummary(), ignore_unknown_fields=True)
        assert summary.verification_result == result, summary
        assert summary.policy.uri and summary.resource_uri and summary.verifier.id and summary.time_verified.seconds
    print("ok     receipts are verified (DSSE, in-toto statement, verification summary)")


def sarif(weighbridge: Weighbridge, folder: Path) -> None:
    """Reads the findings of a list of models."""
    (models := folder / "models.txt").write_text(f"{LLAMA}\nallenai/OLMo-2-1124-7B\nnobody/knows-it\n")
    check = ["check", "--models", str(models), "--purpose", "commercial", "--hosting", "self-hosted", "--format", "sarif"]
    (report := folder / "weighbridge.sarif").write_text(weighbridge.run(*check, codes=(6,)).stdout)
    read = loader.load_sarif_file(str(report))
    counts = read.get_report().get_issue_type_histogram_for_severity
    found = {severity: counts(severity) for severity in ("error", "warning", "note")}
    assert any("NO_ANSWER" in kind for kind in found["error"]), found
    assert found["warning"], found
    print(f"ok     SARIF is read: {({severity: sum(kinds.values()) for severity, kinds in found.items()})}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--models", type=int, default=40, help="bills that are validated")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weighbridge = Weighbridge(arguments.binary, Path(folder))
        try:
            bills(weighbridge, arguments.models)
            receipts(weighbridge)
            sarif(weighbridge, Path(folder))
        finally:
            weighbridge.server.terminate()
            weighbridge.server.wait(timeout=30)


if __name__ == "__main__":
    main()
