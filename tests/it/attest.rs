//! What is shown to others later: receipts, by the server's key, verified by the command without a server; bills of materials.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use serde_json::{Value, json};
use tonic::Code;
use weighbridge::attest::{self, Signer};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::server::ServerOptions;
use weighbridge::service::Signing;

use crate::cli::{Serving, weighbridge};
use crate::harness::{TestServer, reason, refused};

const LLAMA: &str = "meta-llama/Llama-3.3-70B-Instruct";
const COMMIT: &str = "6f6073b423013f6a7d4d9f39144961bfbfbc386b";

fn signed(signer: &Signer) -> ServerOptions {
    let signing = Signing { signer: signer.clone(), verifier: "https://registry.example.com".into() };
    ServerOptions { signing: Some(Arc::new(signing)), ..ServerOptions::default() }
}

fn use_of(users: i64) -> pb::Use {
    pb::Use {
        purpose: pb::Purpose::Commercial.into(),
        hosting: pb::Hosting::SelfHosted.into(),
        measures: vec![pb::Measure {
            metric: "monthly_active_users".into(),
            subject: pb::MeasureSubject::Group.into(),
            value: Some(users),
            period: "2024-11".into(),
        }],
        labels: [("environment".to_owned(), "production".to_owned())].into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_receipt_says_what_the_decision_says() {
    let signer = Signer::of([1; 32]);
    let server = TestServer::with_options(signed(&signer));
    let mut client = EligibilityServiceClient::new(server.connect().await);
    let pinned = pb::Use { model_revision: COMMIT.into(), ..use_of(5) };
    for (use_, passes) in [(use_of(5), true), (use_of(900_000_000), false), (pb::Use::default(), false), (pinned, true)]
    {
        let request =
            pb::CheckEligibilityRequest { model: LLAMA.into(), r#use: Some(use_), record: true, ..Default::default() };
        let decision = client.check_eligibility(request).await.unwrap().into_inner().decision.unwrap();
        let request = pb::GetDecisionReceiptRequest { name: decision.name.clone() };
        let envelope = client.get_decision_receipt(request.clone()).await.unwrap().into_inner();
        assert_eq!(envelope.payload_type, "application/vnd.in-toto+json");
        let statement = attest::verify(&envelope, &[signer.public()]).unwrap();
        let receipt = attest::read(statement).unwrap();
        let kept = client.get_decision(pb::GetDecisionRequest { name: decision.name.clone() }).await.unwrap();
        assert_eq!(receipt.decision, kept.into_inner());
        assert_eq!(receipt.verifier, "https://registry.example.com");
        let tree: Value = serde_json::from_slice(statement).unwrap();
        assert_eq!(tree["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(tree["predicateType"], "https://slsa.dev/verification_summary/v1");
        let predicate = &tree["predicate"];
        let verdict = decision.verdict().as_str_name().trim_start_matches("VERDICT_");
        let (result, level) =
            if passes { ("PASSED", format!("WEIGHBRIDGE_{verdict}")) } else { ("FAILED", "FAILED".to_owned()) };
        assert_eq!(predicate["verificationResult"], result, "{verdict}");
        assert_eq!(predicate["verifiedLevels"], json!([level]));
        assert_eq!(predicate["resourceUri"], format!("weighbridge:{}", decision.model));
        let itself = json!({ "name": decision.name, "digest": { "sha256": receipt.decision.digest } });
        // Never a commit that the caller named: nobody here has seen it.
        assert_eq!(tree["subject"], json!([itself]));

        // The same decision gives the same receipt.
        assert_eq!(client.get_decision_receipt(request).await.unwrap().into_inner(), envelope);
        // What was signed and contradicts itself is no receipt either.
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut other = tree.clone();
            change(&mut other);
            attest::read(&serde_json::to_vec(&other).unwrap()).map(drop)
        };
        assert_eq!(changed(&|_| ()), Ok(()));
        for (i, change) in [
            &(|tree: &mut Value| tree["predicate"]["verificationResult"] = json!("OTHER")) as &dyn Fn(&mut Value),
            &|tree| tree["predicate"]["verifiedLevels"] = json!(["WEIGHBRIDGE_ELIGIBLE_X"]),
            &|tree| tree["predicate"]["weighbridge_decision"]["verdict"] = json!("ELIGIBLE"),
            &|tree| tree["predicate"]["weighbridge_decision"]["use"] = json!({}),
            &|tree| tree["predicate"]["weighbridge_decision"]["else"] = json!(1),
            &|tree| tree["predicate"]["weighbridge_decision"] = json!(null),
            &|tree| tree["predicate"]["resourceUri"] = json!("weighbridge:other"),
            &|tree| tree["predicate"]["timeVerified"] = json!("2026-01-01T00:00:00Z"),
            &|tree| tree["predicate"]["timeVerified"] = json!("soon"),
            &|tree| tree["subject"] = json!([]),
            &|tree| tree["subject"][0]["digest"] = json!({ "sha256": "00" }),
            &|tree| tree["predicateType"] = json!("https://slsa.dev/provenance/v1"),
            &|tree| *tree = json!([]),
            &|tree| *tree = json!({ "predicate": tree["predicate"] }),
        ]
        .iter()
        .enumerate()
        {
            assert!(changed(change).is_err(), "{i}");
        }
    }
    let missing = pb::GetDecisionReceiptRequest { name: "decisions/000000000000-000000".into() };
    refused(client.get_decision_receipt(missing).await, Code::NotFound);
    let without = TestServer::in_memory();
    let mut keyless = EligibilityServiceClient::new(without.connect().await);
    let request = pb::GetDecisionReceiptRequest { name: "decisions/1".into() };
    let status = refused(keyless.get_decision_receipt(request).await, Code::FailedPrecondition);
    assert_eq!(reason(&status), "NO_RECEIPT_KEY");
}

fn run(arguments: &[&str]) -> Output {
    weighbridge().args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

#[test]
fn the_command_verifies_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (key, public, other, receipt) = (path("key.pem"), path("key.pub"), path("other.pub"), path("receipt.json"));
    let keygen = |key: &str, public: &str| {
        let made = run(&["receipt", "keygen", key]);
        assert!(made.status.success(), "{made:?}");
        std::fs::write(public, &made.stdout).unwrap();
    };
    keygen(&key, &public);
    keygen(&path("other.pem"), &other);
    // Nothing is written over, and nobody else reads it.
    assert_eq!(run(&["receipt", "keygen", &key]).status.code(), Some(1));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let serving = Serving::start(Path::new(&path("data")), &["--store", "memory", "--receipt-key", &key]);
    let server = ["--server", serving.address()];
    let check = [
        "check",
        LLAMA,
        "--purpose",
        "commercial",
        "--hosting",
        "self-hosted",
        "--record",
        "--format",
        "json",
        "--label",
        "environment=production",
    ];
    let checked = run(&[&check[..], &server].concat());
    let answer: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let decision = answer.get("decision").unwrap_or(&answer);
    let got = run(&[&["receipt", "get", decision["name"].as_str().unwrap()][..], &server].concat());
    assert!(got.status.success(), "{got:?}");
    std::fs::write(&receipt, &got.stdout).unwrap();
    drop(serving);

    let verify = |file: &str, more: &[&str]| run(&[&["receipt", "verify", file][..], more].concat());
    let held = verify(&receipt, &["--key", &other, "--key", &public, "--model", LLAMA, "--max-age-h", "1"]);
    assert_eq!(held.status.code(), checked.status.code(), "{held:?}");
    assert_eq!(held.status.code(), Some(4));
    assert!(told(&held).contains("NEEDS_REVIEW") && told(&held).contains("verified"), "{held:?}");
    let written = verify(&receipt, &["--key", &public, "--format", "json"]);
    let written: Value = serde_json::from_slice(&written.stdout).unwrap();
    assert_eq!(written["name"], decision["name"]);

    let refused = |output: Output, code: i32, text: &str| {
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(told(&output).contains(text), "{output:?}");
    };
    refused(verify(&receipt, &["--key", &other]), 1, "no signature is of a key");
    refused(verify(&receipt, &["--key", &public, "--model", "allenai/OLMo-2-1124-7B"]), 1, "it is about");
    let of = |more: &[&str]| verify(&receipt, &[&["--key", &public][..], more].concat());
    assert_eq!(of(&["--label", "environment=production", "--min-revision", "1"]).status.code(), Some(4));
    for (more, said) in [
        (&["--label", "environment=staging"][..], "environment=staging"),
        (&["--label", "owner=x"], "owner=x"),
        (&["--min-revision", "1000"], "before 1000"),
        (&["--actor", "token:ci"], "not `token:ci`"),
        (&["--profile", "eu"], "not `eu`"),
    ] {
        refused(of(more), 1, said);
    }
    refused(of(&["--label", "environment"]), 2, "KEY=VALUE");
    refused(verify(&receipt, &["--key", &key]), 2, "no public");
    refused(verify(&receipt, &[]), 2, "--key");
    refused(verify(&path("nothing.json"), &["--key", &public]), 1, "nothing.json");
    let text = std::fs::read_to_string(&receipt).unwrap();
    for (i, changed) in [
        text.replacen("ey", "eZ", 1),
        text.replace("vnd.in-toto", "vnd.other"),
        text.replace("\"signatures\"", "\"others\""),
        text.get(..text.len() / 2).unwrap().to_owned(),
        String::new(),
        "[1]".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        assert_ne!(changed, text);
        let file = path(&format!("changed-{i}.json"));
        std::fs::write(&file, changed).unwrap();
        assert_eq!(verify(&file, &["--key", &public]).status.code(), Some(1), "{i}");
    }

    // A key that is none is said before anything is served.
    let serve = ["serve", "--store", "memory", "--listen", "127.0.0.1:0"];
    refused(run(&[&serve[..], &["--receipt-key", &public]].concat()), 2, "no private");
    refused(run(&[&serve[..], &["--receipt-verifier", "no uri"]].concat()), 2, "no URI");
}

/// Every `bom-ref` of a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("bom-ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_model_has_a_bill_of_materials() {
    let server = TestServer::in_memory();
    let mut client = ModelServiceClient::new(server.connect().await);
    let mut models: Vec<pb::Model> = Vec::new();
    let mut page_token = String::new();
    loop {
        let request =
            pb::ListModelsRequest { parent: "publishers/-".into(), page_size: 1000, page_token, ..Default::default() };
        let page = client.list_models(request).await.unwrap().into_inner();
        models.extend(page.models);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(models.len() > 1_000);
    let mut numbers = BTreeSet::new();
    for model in &models {
        let mut ancestors: Vec<pb::Model> = Vec::new();
        let mut open = vec![model];
        while let Some(of) = open.pop() {
            for base in &of.base_models {
                let record = models.iter().find(|known| known.name == base.model && known.name != model.name);
                if let Some(record) = record.filter(|record| ancestors.iter().all(|known| known.name != record.name)) {
                    ancestors.push(record.clone());
                    open.push(record);
                }
            }
        }
        let bom = attest::bill(model, &ancestors);
        assert_eq!(bom, attest::bill(model, &ancestors));
        assert!(numbers.insert(bom["serialNumber"].to_string()), "{}", model.name);
        // Each thing is named once, and what is pointed at is there.
        let mut refs = Vec::new();
        references(&bom, &mut refs);
        let unique: BTreeSet<&String> = refs.iter().collect();
        assert_eq!(unique.len(), refs.len(), "{}", model.name);
        let there = |name: &Value| unique.contains(&name.as_str().unwrap().to_owned());
        for dependency in bom["dependencies"].as_array().unwrap() {
            assert!(there(&dependency["ref"]), "{}", model.name);
            let on = dependency.get("dependsOn").and_then(Value::as_array).cloned().unwrap_or_default();
            assert!(on.iter().all(there), "{}: {on:?}", model.name);
        }
        let main = &bom["metadata"]["component"];
        let datasets = main["modelCard"]["modelParameters"].get("datasets").and_then(|list| list.as_array()).cloned();
        assert!(datasets.unwrap_or_default().iter().all(|data| there(&data["ref"])), "{}", model.name);
        // A license that is not known is never stated.
        let stated = main.get("licenses").map(|licenses| licenses[0]["expression"].clone());
        let known = !model.license_expression.is_empty() && model.license_expression != "LicenseRef-Unknown";
        assert_eq!(stated, known.then(|| json!(model.license_expression)), "{}", model.name);
    }
}
