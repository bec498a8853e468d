//! What the catalog is shown with: licenses by name, `licenses compare`, `notice`.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tonic::Code;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::license_service_client::LicenseServiceClient;

use crate::harness::{TestServer, refused};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge"));
    command.env_remove("WEIGHBRIDGE_SERVER").env_remove("WEIGHBRIDGE_FORMAT").stdin(Stdio::null());
    command.args(arguments).output().unwrap()
}

/// What a command that must succeed prints.
fn stdout(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refusal(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_listed_license_is_known_by_name() {
    let server = TestServer::in_memory();
    let mut licenses = LicenseServiceClient::new(server.connect().await);
    let mut get = async |id: &str| {
        licenses.get_license(pb::GetLicenseRequest { name: format!("licenses/{id}"), ..Default::default() }).await
    };

    let listed = get("0BSD").await.unwrap().into_inner();
    assert_eq!(
        listed,
        pb::License {
            name: "licenses/0BSD".into(),
            display_name: "BSD Zero Clause License".into(),
            url: "https://spdx.org/licenses/0BSD.html".into(),
            osi_approved: true,
            spdx_listed: true,
            notes: vec!["listed by SPDX; its terms are not modelled".into()],
            origin: pb::Origin::BuiltIn as i32,
            ..Default::default()
        }
    );
    assert!(get("AFL-1.1").await.unwrap().into_inner().fsf_libre);
    assert!(!get("MIT").await.unwrap().into_inner().etag.is_empty());
    // Near names come from the records and from the list.
    let status = refused(get("0BDS").await, Code::NotFound);
    assert!(status.message().contains("licenses/0BSD"), "{}", status.message());
    let status = refused(get("LicenseRef-Llama-3.3-Comunity").await, Code::NotFound);
    assert!(status.message().contains("licenses/LicenseRef-Llama-3.3-Community"), "{}", status.message());
    refused(get("MIT+").await, Code::NotFound);
}

#[tokio::test]
async fn a_listed_license_is_written_over_like_any_other() {
    let server = TestServer::in_memory();
    let mut licenses = LicenseServiceClient::new(server.connect().await);
    let license = pb::License {
        name: "licenses/0BSD".into(),
        display_name: "Zero".into(),
        category: pb::license::Category::OsiPermissive as i32,
        permissions: Some(pb::Permissions::default()),
        ..Default::default()
    };
    let update = pb::UpdateLicenseRequest { license: Some(license.clone()), ..Default::default() };
    let status = refused(licenses.update_license(update.clone()).await, Code::NotFound);
    assert!(!status.message().contains("did you mean `licenses/0BSD`"), "{}", status.message());
    licenses.update_license(pb::UpdateLicenseRequest { allow_missing: true, ..update }).await.unwrap();
    let name = license.name;
    let found = licenses
        .get_license(pb::GetLicenseRequest { name: name.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((found.display_name.as_str(), found.origin()), ("Zero", pb::Origin::Operator));
    licenses.delete_license(pb::DeleteLicenseRequest { name: name.clone(), ..Default::default() }).await.unwrap();
    let found = licenses
        .get_license(pb::GetLicenseRequest { name: name.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.display_name, "BSD Zero Clause License");
    refused(licenses.delete_license(pb::DeleteLicenseRequest { name, ..Default::default() }).await, Code::NotFound);
}

const LLAMA_3_1: &str = "LicenseRef-Llama-3.1-Community";
const LLAMA_3_3: &str = "licenses/LicenseRef-Llama-3.3-Community";

#[test]
fn two_licenses_are_shown_side_by_side() {
    let text = stdout(&["licenses", "compare", "--offline", LLAMA_3_1, LLAMA_3_3]);
    for part in ["≠ territory", "EU excluded", "≠ scale gate monthly active users", "once, in 2024-06", "[AUP 2.1]"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("= permission use"), "{text}");
    let all = stdout(&["licenses", "compare", "--offline", "--all", LLAMA_3_1, LLAMA_3_3]);
    assert!(all.contains("= permission use") && all.contains("≠ territory"), "{all}");

    let json = stdout(&["licenses", "compare", "--offline", "--format", "json", LLAMA_3_1, LLAMA_3_3]);
    let value: Value = serde_json::from_str(&json).unwrap();
    let rows = value["topics"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["differs"] == true));
    let gate = rows.iter().find(|row| row["topic"] == "scale gate monthly active users").unwrap();
    assert_eq!(gate["sides"][0]["clause"], "2");

    let (code, told) = refusal(&["licenses", "compare", "--offline", "MIT", "Apache-2"]);
    assert!(code == 6 && told.contains("licenses/Apache-2.0"), "{told}");
    let (code, told) = refusal(&["licenses", "compare", "--offline", "MIT", "0BSD"]);
    assert!(code == 1 && told.contains("not modelled"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_and_notice_say_the_same_with_and_without_a_server() {
    let server = TestServer::in_memory();
    let address = server.address.clone();
    // The first call waits for the server.
    drop(server.connect().await);
    let models = ["deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "gpt-5", "01-ai/Yi-34B", "THUDM/cogvlm-chat-hf"];
    let models: Vec<&str> = models.into_iter().filter(|m| run(&["notice", "--offline", m]).status.success()).collect();
    assert!(models.len() >= 3, "{models:?}");
    for format in ["text", "json"] {
        let compare = ["licenses", "compare", "--all", LLAMA_3_1, LLAMA_3_3, "--format", format];
        let notice = [&["notice", "--format", format][..], &models].concat();
        for command in [&compare[..], &notice] {
            let online = stdout(&[command, &["--server", &address]].concat());
            assert_eq!(online, stdout(&[command, &["--offline"]].concat()));
        }
    }
}

#[test]
fn a_notice_holds_the_wording_and_that_of_ancestors() {
    let text = stdout(&["notice", "--offline", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "gpt-5"]);
    let (head, rest) = text.split_once("====").unwrap();
    assert!(
        head.contains("Models without a known license") && head.contains("publishers/openai/models/gpt-5"),
        "{head}"
    );
    for part in [
        "MIT License",
        "Llama 3.3 Community License Agreement",
        "https://github.com/meta-llama/llama-models/blob/main/models/llama3_3/LICENSE",
        "whose weights are inside publishers/deepseek/models/deepseek-r1-distill-llama-70b",
        "Built with Llama",
        "clause 1.b.i(B)",
        "Llama 3.3 is licensed under the Llama 3.3 Community License, Copyright © Meta Platforms, Inc.",
    ] {
        assert!(rest.contains(part), "{part} is not in {rest}");
    }
    // The same model asked for twice, by two names, is there once.
    let twice = stdout(&["notice", "--offline", "gpt-5", "publishers/openai/models/gpt-5"]);
    assert_eq!(twice.matches("by openai").count(), 1, "{twice}");
    let (code, told) = refusal(&["notice", "--offline", "no-such/model"]);
    assert!(code == 6, "{told}");
    assert_eq!(refusal(&["notice", "--offline"]).0, 2);
}

#[test]
fn a_license_without_a_record_is_said_to_be_one() {
    let value: Value = serde_json::from_str(&stdout(&[
        "notice",
        "--offline",
        "--format",
        "json",
        "meta-llama/Llama-3.3-70B-Instruct",
    ]))
    .unwrap();
    assert_eq!(value["licenses"][0]["license"], LLAMA_3_3);
    assert_eq!(value["licenses"][0]["duties"][0]["kind"], "attribution_notice");
    assert_eq!(value["unlicensed"], serde_json::json!([]));
}

#[tokio::test]
async fn a_notice_follows_the_weights_of_other_publishers() {
    let registry = super::registry().await;
    let base = |model: &str, relation: pb::base_model::Relation, license: &str| pb::BaseModel {
        model: model.into(),
        relation: relation as i32,
        license_expression: license.into(),
        ..Default::default()
    };
    let create = async |publisher: &str, id: &str, license: &str, base_models: Vec<pb::BaseModel>| {
        let weights = pb::Component {
            kind: pb::component::Kind::ModelWeights as i32,
            availability: pb::component::Availability::Available as i32,
            license_expression: license.into(),
            ..Default::default()
        };
        let model = pb::Model { components: vec![weights], base_models, ..Default::default() };
        let parent = format!("publishers/{publisher}");
        let request = pb::CreateModelRequest { parent, model_id: id.into(), model: Some(model), ..Default::default() };
        registry.create_model(request).await.unwrap().name
    };
    use pb::base_model::Relation::{FineTune, Merge, Quantized, TrainedOnOutputs};
    let first = create("acme", "first", "LicenseRef-Unwritten", vec![]).await;
    let own = create("acme", "own", "GPL-3.0-or-later", vec![base(&first, FineTune, "")]).await;
    let teacher = create("teacher", "teacher", "CC-BY-NC-4.0", vec![]).await;
    let bases = vec![base(&own, Merge, ""), base(&teacher, TrainedOnOutputs, ""), base("Old Base", Merge, "0BSD")];
    let merged = create("other", "merged", "MIT OR Apache-2.0", bases).await;
    let unstated = create("other", "unstated", "", vec![base(&merged, Quantized, "")]).await;

    let notice = registry.notice(std::slice::from_ref(&unstated)).unwrap();
    assert_eq!(notice.unlicensed.len(), 1);
    assert_eq!(notice.unlicensed[0].model.name, unstated);
    let ids: Vec<&str> = notice.licenses.iter().map(|license| license.id.as_str()).collect();
    // The own base of `own` was relicensed, and a teacher's weights are not inside.
    assert_eq!(ids, ["0BSD", "Apache-2.0", "GPL-3.0-or-later", "MIT"]);
    let [listed, apache, later, _] = &notice.licenses[..] else { panic!("{notice:?}") };
    assert!(listed.title == "BSD Zero Clause License" && listed.caveat.contains("not modelled"), "{listed:?}");
    assert_eq!((listed.models[0].name.as_str(), listed.models[0].inside.as_str()), ("Old Base", merged.as_str()));
    assert!(!apache.duties.is_empty() && !later.duties.is_empty(), "{later:?}");
    let text = notice.to_string();
    assert!(text.contains("license expression: MIT OR Apache-2.0"), "{text}");

    // Without its own statement, what the owner's base says still holds.
    let silent = create("acme", "silent", "", vec![base(&first, FineTune, "")]).await;
    let notice = registry.notice(&[silent]).unwrap();
    assert_eq!(notice.licenses[0].id.as_str(), "LicenseRef-Unwritten");
    assert!(notice.licenses[0].url.is_empty());
}
