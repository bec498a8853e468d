//! Several sources, one record a model: over gRPC, on documents small enough to read here.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tonic::transport::Channel;
use tonic::{Code, Status};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::admin_service_client::AdminServiceClient;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::import_models_request::Payload;
use weighbridge::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::pb::weighbridge::v1::offering_service_client::OfferingServiceClient;

use crate::harness::{TestServer, fields, refused};

/// A document: its source, and its files by path.
type Document = (pb::ImportSource, Vec<(&'static str, String)>);

async fn send(channel: Channel, document: &Document, repository: &str) -> Result<pb::ImportReport, Status> {
    let (source, files) = document;
    let config = pb::ImportConfig {
        source: *source as i32,
        origin: "test".into(),
        validate_only: false,
        repository: repository.into(),
    };
    let mut payloads = vec![Payload::Config(config)];
    for (path, text) in files {
        payloads.push(Payload::File(pb::ImportFile { path: (*path).into() }));
        payloads.push(Payload::Chunk(text.clone().into_bytes()));
    }
    let stream: Vec<_> =
        payloads.into_iter().map(|payload| pb::ImportModelsRequest { payload: Some(payload) }).collect();
    let mut client = ModelServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let response = client.import_models(tokio_stream::iter(stream)).await?;
    Ok(response.into_inner().report.unwrap())
}

async fn import(channel: &Channel, document: &Document) -> pb::ImportReport {
    send(channel.clone(), document, "meta-llama/Widget-7B-Chat").await.unwrap()
}

const MOT: &str = "release:
  name: Widget-7B
  version: 7B
  date: '2025-01-02'
  producer: Meta
  huggingface: https://huggingface.co/meta-llama/Widget-7B
  components:
    - { name: 'Model parameters (Final)', license: MIT }
    - { name: 'Datasets', license: unlicensed }
";
const MOT_NAMED: &str = "release:
  name: Llama-2-7b-hf
  date: '2025-01-02'
  producer: Meta
  repository: https://code.example/llama
  components:
    - { name: 'Model parameters (Final)', license: Our own terms }
";
const OSAI: &str = "---
system: { name: Widget, type: text, basemodelname: Widget-7B, endmodelname: Widget-7B-Chat, endmodellicense: MIT }
org: { name: Meta }
weights_endmodel: { class: open, link: https://huggingface.co/meta-llama/Widget-7B-Chat }
licenses: { class: open, notes: 'Weights: Apache-2.0.' }
";
const COMPARIA: &str = r#"[{"name": "Meta", "models": [
    {"id": "widget-7b", "simple_name": "Widget-7B", "license": "Apache-2.0", "release_date": "03/2025", "params": 7,
     "url": "https://huggingface.co/meta-llama/Widget-7B"}]}]"#;
const EPOCH: &str = "Model,Organization,Publication date,Parameters,Confidence,Base model,Model accessibility,Training code accessibility,Inference code accessibility,Link
Widget-7B,Meta,2025-03-01,6900000000,Confident,,API access,,,
Nobody knows it,Meta,2025-03-01,1,Confident,,,,,
";
const CARD: &str = "---\nlicense: mit\nbase_model: meta-llama/Widget-7B\n---\n# Widget\n";
const API: &str = r#"{"groq": {"id": "groq", "name": "Groq", "models": {
    "meta-llama/widget-7b": {"id": "meta-llama/widget-7b", "name": "Widget 7B", "open_weights": false},
    "widget-7b-chat": {"id": "widget-7b-chat", "name": "Widget Chat", "open_weights": true},
    "what": {"id": "what", "name": "What"}}}}"#;
const CATALOG: &str = r#"{"meta/widget-7b": {"id": "meta/widget-7b", "name": "Widget 7B", "open_weights": true,
    "weights": [{"url": "https://huggingface.co/meta-llama/Widget-7B"}], "limit": {"context": 8192}}}"#;
const RECORDS: &str = r#"{"name": "publishers/acme-lab/models/gadget", "display_name": "Gadget", "aliases": ["what"]}"#;

fn documents() -> Vec<Document> {
    use pb::ImportSource as S;
    vec![
        (S::Mot, vec![("models/Widget-7B.yml", MOT.into()), ("models/named.yml", MOT_NAMED.into())]),
        (S::Osai, vec![("Widget.yaml", OSAI.into())]),
        (S::Comparia, vec![("models.json", COMPARIA.into())]),
        (S::Epoch, vec![("x.csv", EPOCH.into())]),
        (S::ModelCard, vec![("README.md", CARD.into())]),
        (S::ModelsDev, vec![("api.json", API.into())]),
        (S::ModelsDevCatalog, vec![("models.json", CATALOG.into())]),
        (S::Records, vec![("records.json", RECORDS.into())]),
    ]
}

/// Every model and offering, without what says when and in which order it was written.
async fn contents(channel: &Channel) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut models = ModelServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let mut page_token = String::new();
    loop {
        let request = pb::ListModelsRequest { page_size: 1000, page_token, ..Default::default() };
        let page = models.list_models(request).await.unwrap().into_inner();
        for mut model in page.models {
            (model.revision, model.create_time, model.update_time) = (0, None, None);
            model.etag.clear();
            out.insert(model.name.clone(), format!("{model:?}"));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut offerings = OfferingServiceClient::new(channel.clone());
    let request = pb::ListOfferingsRequest { page_size: 1000, ..Default::default() };
    for mut offering in offerings.list_offerings(request).await.unwrap().into_inner().offerings {
        (offering.revision, offering.update_time) = (0, None);
        offering.etag.clear();
        out.insert(offering.name.clone(), format!("{offering:?}"));
    }
    out
}

async fn after(order: &[usize]) -> BTreeMap<String, String> {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let documents = documents();
    for at in order {
        import(&channel, &documents[*at]).await;
    }
    contents(&channel).await
}

async fn model(channel: &Channel, name: &str) -> pb::Model {
    let mut client = ModelServiceClient::new(channel.clone());
    client.get_model(pb::GetModelRequest { name: name.into(), ..Default::default() }).await.unwrap().into_inner()
}

async fn conflicting(channel: &Channel) -> Vec<pb::Model> {
    let mut models = ModelServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let request = pb::ListModelsRequest { page_size: 1000, filter: "conflicts:*".into(), ..Default::default() };
    models.list_models(request).await.unwrap().into_inner().models
}

fn weights(model: &pb::Model) -> &pb::Component {
    model.components.iter().find(|c| c.kind() == pb::component::Kind::ModelWeights).unwrap()
}

#[tokio::test]
async fn what_several_sources_say_becomes_one_record() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let documents = documents();
    let before = conflicting(&channel).await.len();
    for document in &documents {
        let first = import(&channel, document).await;
        assert!(first.created > 0, "{:?}", document.0);
        let conflicting = i32::try_from(conflicting(&channel).await.len()).unwrap();
        assert_eq!(first.conflicting_models, conflicting, "{:?}", document.0);
        let again = import(&channel, document).await;
        assert_eq!((again.created, again.updated, again.deleted), (0, 0, 0), "{:?}", document.0);
        assert_eq!(again.revision, first.revision, "{:?}", document.0);
    }
    let widget = model(&channel, "publishers/meta/models/widget-7b").await;
    // compar:IA's word comes before MOT's, and neither read the text.
    let part = weights(&widget);
    assert_eq!((part.license_expression.as_str(), part.evidence()), ("Apache-2.0", pb::Evidence::Conflict));
    assert_eq!(part.availability(), pb::component::Availability::Available);
    assert_eq!(widget.tier(), pb::Tier::OpenWeight);
    assert_eq!(widget.parameters.unwrap().total, 6_900_000_000);
    assert_eq!((widget.context_tokens, widget.origin()), (8192, pb::Origin::Imported));
    let mut conflicts: Vec<_> = widget.conflicts.iter().map(|c| c.field.as_str()).collect();
    conflicts.sort_unstable();
    assert_eq!(conflicts, ["components[MODEL_WEIGHTS].availability", "components[MODEL_WEIGHTS].license_expression"]);
    let availability = widget.conflicts.iter().find(|c| c.field.ends_with("availability")).unwrap();
    assert!(availability.claims.iter().any(|c| c.record == "1 of 1 offerings" && c.value == "UNAVAILABLE"));
    let from = |field: &str| {
        let entry = widget.provenance.iter().find(|p| p.fields.iter().any(|f| f == field)).unwrap();
        (entry.source.as_str(), entry.record.as_str())
    };
    assert_eq!(from("parameters.total"), ("epoch", "Widget-7B"));
    assert_eq!(from("components[MODEL_WEIGHTS].license_expression"), ("comparia", "widget-7b"));
    assert_eq!(from("context_tokens"), ("models-dev-catalog", "meta/widget-7b"));
    assert!(widget.sources.iter().any(|source| source.license == "CC-BY-4.0"), "Epoch asks for credit");

    // A fine-tune: its card names its base, and the index of open models agrees about neither license.
    let chat = model(&channel, "publishers/meta/models/widget-7b-chat").await;
    assert_eq!(chat.base_models[0].model, "publishers/meta/models/widget-7b");
    assert_eq!(
        (weights(&chat).license_expression.as_str(), weights(&chat).evidence()),
        ("MIT", pb::Evidence::Conflict)
    );

    // What was read in the maker's own text stands, and the contradiction is kept.
    let llama = model(&channel, "publishers/meta/models/llama-2-7b-hf").await;
    assert_eq!(weights(&llama).license_expression, "LicenseRef-Llama-2-Community");
    assert_eq!(weights(&llama).evidence(), pb::Evidence::TextRead);
    let claims = &llama.conflicts[0].claims;
    assert!(claims.iter().any(|claim| claim.value == "LicenseRef-Unknown (`Our own terms`)"), "{claims:?}");

    let mut models = ModelServiceClient::new(channel.clone());
    // The catalog itself is larger than a page; those on which sources disagree are not.
    let mut list = async |filter: &str| {
        let request = pb::ListModelsRequest { filter: filter.into(), page_size: 1000, ..Default::default() };
        models.list_models(request).await.map(|r| r.into_inner())
    };
    let found = list("conflicts:*").await.unwrap();
    assert_eq!(found.models.len(), before + 3);
    let all = list("").await.unwrap().total_size;
    assert_eq!(list("NOT conflicts:*").await.unwrap().total_size, all - found.total_size);
    let on_availability = list("conflicts:\"components[MODEL_WEIGHTS].availability\"").await.unwrap().models;
    let on_it = |model: &pb::Model| model.conflicts.iter().any(|c| c.field == "components[MODEL_WEIGHTS].availability");
    assert_eq!(on_availability.len(), found.models.iter().filter(|model| on_it(model)).count());
    assert!(
        on_availability.iter().any(|model| model.name == widget.name) && on_availability.len() < found.models.len()
    );
    assert!(list("conflicts:* OR tier = OPEN_WEIGHT").await.unwrap().total_size > found.total_size);

    // A check of what sources contradict each other on is a review.
    let mut client = EligibilityServiceClient::new(channel.clone());
    let facts = pb::Use {
        purpose: pb::Purpose::InternalBusiness as i32,
        hosting: pb::Hosting::SelfHosted as i32,
        ..pb::Use::default()
    };
    let request = pb::CheckEligibilityRequest { model: widget.name.clone(), r#use: Some(facts), ..Default::default() };
    let decision = client.check_eligibility(request).await.unwrap().into_inner().decision.unwrap();
    assert_eq!(decision.verdict(), pb::Verdict::NeedsReview);
    assert!(decision.findings.iter().any(|f| f.reason == "LICENSE_EVIDENCE_CONFLICT"), "{:?}", decision.findings);

    let request = pb::GetStatusRequest { coverage: true };
    let status = AdminServiceClient::new(channel).get_status(request).await.unwrap().into_inner();
    let coverage = status.coverage.unwrap();
    assert_eq!(coverage.conflicting_models, found.total_size);
    let offerings = coverage.offerings.unwrap();
    assert_eq!((offerings.total, offerings.resolved, offerings.open, offerings.open_licensed), (3, 3, 2, 0));
    assert_eq!(coverage.providers[0].provider, "providers/groq");
}

/// Where it is not known which record could not be read, it may be any: nothing is taken for gone.
#[tokio::test]
async fn a_record_that_could_not_be_read_and_has_no_name_keeps_all() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let source = pb::ImportSource::Comparia;
    let document = |text: String| (source, vec![("models.json", text)]);
    import(&channel, &document(COMPARIA.into())).await;
    for (unreadable, deleted) in [(", 7", 0), ("", 2)] {
        let other = COMPARIA.replace("Widget-7B", "Widget-8B").replace("widget-7b", "widget-8b");
        let report = import(&channel, &document(other.replace("]}]", &format!("{unreadable}]}}]")))).await;
        assert_eq!(report.deleted, deleted, "{:?}", report.entries);
    }
}

#[tokio::test]
async fn a_document_that_no_longer_holds_a_record_takes_its_word_back() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let before = contents(&channel).await;
    let documents = documents();
    import(&channel, &documents[0]).await;
    let (source, files) = &documents[0];
    let one = (*source, vec![files[0].clone()]);
    let report = import(&channel, &one).await;
    // What MOT said of Llama 2, and the record merged from it.
    assert_eq!((report.deleted, report.created), (2, 0));
    // A file that can not be read is not gone.
    let broken =
        (*source, vec![files[0].clone(), ("models/x.yml", MOT.into()), ("models/Widget-7B.yml", "- x".into())]);
    let report = import(&channel, &broken).await;
    assert_eq!((report.rejected, report.deleted), (1, 0), "{:?}", report.entries);
    let other = (*source, vec![("models/named.yml", MOT_NAMED.into())]);
    import(&channel, &other).await;
    let names: Vec<_> = contents(&channel).await.into_keys().filter(|name| !before.contains_key(name)).collect();
    assert_eq!(names, [""; 0], "the models that only MOT knew are gone with it");

    // Of offerings as well.
    let api =
        |models: &str| (pb::ImportSource::ModelsDev, vec![("api.json", format!(r#"{{"p": {{"models": {models}}}}}"#))]);
    import(&channel, &api(r#"{"a/b": {}, "c": {}, "d": {}}"#)).await;
    let report = import(&channel, &api(r#"{"a/b": 7, "c": {}, "c": {}, "e": {}}"#)).await;
    assert_eq!((report.rejected, report.deleted, report.created), (3, 1, 1), "{:?}", report.entries);
    let names: Vec<_> = contents(&channel).await.into_keys().filter(|name| !before.contains_key(name)).collect();
    let offerings = ["a%2Fb", "c", "e"].map(|id| format!("providers/p/offerings/{id}"));
    assert_eq!(names, offerings);
}

#[tokio::test]
async fn a_record_that_breaks_a_limit_loses_that_field_and_not_its_terms() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let name = "publishers/meta/models/widget-7b";
    // One source has the active parameters, another fewer in all.
    let comparia = r#"[{"name": "Meta", "models": [{"id": "widget-7b", "simple_name": "Widget-7B", "license": "CC-BY-NC-4.0",
        "params": 70, "active_params": 17, "url": "https://huggingface.co/meta-llama/Widget-7B"}]}]"#;
    import(&channel, &(pb::ImportSource::Comparia, vec![("models.json", comparia.into())])).await;
    let report = import(&channel, &documents()[3]).await;
    assert!(
        report.entries.iter().any(|e| e.record == name && e.messages.iter().any(|m| m.contains("parameters.active"))),
        "{:?}",
        report.entries
    );
    let made = model(&channel, name).await;
    assert_eq!((made.parameters, &*weights(&made).license_expression), (None, "CC-BY-NC-4.0"));
    // Where the terms themselves break one, their license is in doubt.
    let bases: Vec<_> = (0..201).map(|n| format!("x/base-{n}")).collect();
    let card = format!("---\nlicense: mit\nbase_model: [{}]\n---\n", bases.join(", "));
    let document = (pb::ImportSource::ModelCard, vec![("README.md", card)]);
    let report = send(channel.clone(), &document, "meta-llama/Widget-7B").await.unwrap();
    assert!(report.entries.iter().any(|e| e.record == name), "{:?}", report.entries);
    let found = model(&channel, name).await;
    assert_eq!(weights(&found).evidence(), pb::Evidence::Conflict);
    let request = pb::CheckEligibilityRequest { model: name.into(), ..Default::default() };
    let answer = EligibilityServiceClient::new(channel).check_eligibility(request).await.unwrap().into_inner();
    assert_eq!(answer.decision.unwrap().verdict(), pb::Verdict::NeedsReview);
}

#[tokio::test]
async fn a_base_that_only_may_be_the_model_itself_is_kept() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let bases = async |base: &str| {
        let card = format!("---\nlicense: mit\nbase_model: {base}\n---\n");
        import(&channel, &(pb::ImportSource::ModelCard, vec![("README.md", card)])).await;
        let made = model(&channel, "publishers/meta/models/widget-7b-chat").await;
        made.base_models.into_iter().map(|base| base.model).collect::<Vec<_>>()
    };
    assert_eq!(bases("meta-llama/Widget-7B-Chat").await, [""; 0]);
    for kept in ["Widget-7B-Chat", "meta/widget-7b-chat", "somebody/Widget-7B-Chat"] {
        assert_eq!(bases(kept).await, [kept]);
    }
}

#[tokio::test]
async fn an_id_that_two_models_bear_is_answered_with_both() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let two = r#"{"name": "publishers/acme-lab/models/twin"}
{"name": "publishers/other-lab/models/twin"}"#;
    import(&channel, &(pb::ImportSource::Records, vec![("x.ndjson", two.into())])).await;
    let mut client = ModelServiceClient::new(channel.clone());
    let found = client
        .resolve_model(pb::ResolveModelRequest { alias: "Twin".into(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert!(found.model.is_none());
    assert_eq!(found.candidates, ["publishers/acme-lab/models/twin", "publishers/other-lab/models/twin"]);
    let request = pb::CheckEligibilityRequest { model: "Twin".into(), ..Default::default() };
    refused(EligibilityServiceClient::new(channel).check_eligibility(request).await, Code::FailedPrecondition);
}

#[tokio::test]
async fn an_imported_id_never_takes_the_place_of_a_known_models_name() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut client = ModelServiceClient::new(channel.clone());
    let mut named = async |alias: &str| {
        let request = pb::ResolveModelRequest { alias: alias.into(), ..Default::default() };
        client.resolve_model(request).await.map(|r| r.into_inner().model.unwrap_or_default().name)
    };
    let before = named("llama-3.3-70b-instruct").await.unwrap();
    let catalog = r#"{"acme-lab/Llama-3.3-70B-Instruct": {"name": "Other", "license": "MIT"}, "acme-lab/new-one": {}}"#;
    import(&channel, &(pb::ImportSource::ModelsDevCatalog, vec![("models.json", catalog.into())])).await;
    // The name of both is refused; an alias of the known one still leads to it, and the new ones have ids of their own.
    assert!(["", before.as_str()].contains(&named("llama-3.3-70b-instruct").await.unwrap().as_str()));
    assert!(["", before.as_str()].contains(&named("Llama-3.3-70B-Instruct").await.unwrap().as_str()));
    assert_eq!(named("meta-llama/Llama-3.3-70B-Instruct").await.unwrap(), before);
    assert_eq!(named("new-one").await.unwrap(), "publishers/acme-lab/models/new-one");
}

#[tokio::test]
async fn an_id_of_a_provider_is_read_as_that_provider_writes_it() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let api = r#"{"amazon-bedrock": {"models": {"x": {}}}, "nvidia": {"models": {"x": {}}}}"#;
    import(&channel, &(pb::ImportSource::ModelsDev, vec![("api.json", api.into())])).await;
    let mut client = ModelServiceClient::new(channel);
    let mut named = async |alias: &str| {
        let request = pb::ResolveModelRequest { alias: alias.into(), ..Default::default() };
        client.resolve_model(request).await.map(|r| r.into_inner().model.unwrap_or_default().name)
    };
    let haiku = "publishers/anthropic/models/claude-haiku-4-5-20251001";
    assert_eq!(named("amazon-bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0").await.unwrap(), haiku);
    let arn = "amazon-bedrock/arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0";
    assert_eq!(named(arn).await.unwrap(), haiku);
    // A publisher that also serves: its own copy of a model is another model.
    refused(named("nvidia/Llama-3.3-70B-Instruct-FP8").await, Code::NotFound);
    refused(named("us.anthropic.claude-haiku-4-5-20251001-v1:0").await, Code::NotFound);
}

#[tokio::test]
async fn an_operators_new_alias_reaches_what_was_imported_before_it() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let documents = documents();
    import(&channel, &documents[5]).await;
    let mut offerings = OfferingServiceClient::new(channel.clone());
    let mut linked = async || {
        let get = pb::GetOfferingRequest { name: "providers/groq/offerings/what".into() };
        offerings.get_offering(get).await.unwrap().into_inner().model
    };
    assert_eq!(linked().await, "");
    let mut models = ModelServiceClient::new(channel.clone());
    let model = pb::Model { aliases: vec!["groq/what".into()], ..Default::default() };
    let create = pb::CreateModelRequest {
        parent: "publishers/acme-lab".into(),
        model_id: "gadget".into(),
        model: Some(model),
        validate_only: false,
        ..Default::default()
    };
    let created = models.create_model(create).await.unwrap().into_inner();
    assert_eq!(linked().await, created.name);
    let delete = pb::DeleteModelRequest { name: created.name, ..Default::default() };
    models.delete_model(delete).await.unwrap();
    assert_eq!(linked().await, "");
}

#[tokio::test]
async fn records_go_out_and_come_back_the_same() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    for document in documents() {
        import(&channel, &document).await;
    }
    // As `weighbridge export` writes them: one JSON object a line.
    let mut lines = String::new();
    let mut exported = conflicting(&channel).await;
    exported.retain(|model| model.origin() == pb::Origin::Imported);
    let gadget = model(&channel, "publishers/acme-lab/models/gadget").await;
    for model in exported.iter().chain([&gadget]) {
        lines.push_str(&crate::catalog::json_of(model, "weighbridge.v1.Model"));
        lines.push('\n');
    }
    let other = TestServer::in_memory();
    let there = other.connect().await;
    let document = (pb::ImportSource::Records, vec![("x.ndjson", lines)]);
    let report = import(&there, &document).await;
    assert_eq!((report.created, report.rejected, report.models), (4, 0, 4), "{:?}", report.entries);
    for mut model in exported {
        let mut back = self::model(&there, &model.name).await;
        assert_eq!(back.origin(), pb::Origin::Operator);
        for model in [&mut model, &mut back] {
            (model.revision, model.create_time, model.update_time, model.origin) = (0, None, None, 0);
            model.etag.clear();
        }
        assert_eq!(model, back);
    }
    let again = import(&there, &document).await;
    assert_eq!((again.created, again.updated, again.unchanged, again.revision), (0, 0, 4, report.revision));
    // What is built in stays so, in JSON, YAML or as an answer of a list.
    let mut licenses = LicenseServiceClient::new(there.clone());
    let mit = licenses
        .get_license(pb::GetLicenseRequest { name: "licenses/MIT".into(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let mit = crate::catalog::json_of(&mit, "weighbridge.v1.License");
    for (path, text) in [("x.json", format!("{{\"licenses\": [{mit}], \"totalSize\": 1}}")), ("x.yaml", mit.clone())] {
        let report = import(&there, &(pb::ImportSource::Records, vec![(path, text)])).await;
        assert_eq!((report.unchanged, report.created, report.rejected), (1, 0, 0), "{path}: {:?}", report.entries);
    }
    let changed = mit.replace("MIT License", "Another");
    assert_ne!(changed, mit);
    let report = import(&there, &(pb::ImportSource::Records, vec![("x.json", changed)])).await;
    assert_eq!((report.rejected, report.created), (1, 0), "{:?}", report.entries);
}

#[tokio::test]
async fn records_that_are_none_say_why_and_cost_only_themselves() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let lines = r#"{"name": "publishers/a/models/good", "aliases": ["x"]}
{"name": "publishers/a/models/taken", "aliases": ["meta-llama/Llama-3.3-70B-Instruct"]}
{"name": "publishers/a/models/twice", "aliases": ["x"]}
{"name": "publishers/a/models/loop", "base_models": [{"model": "publishers/a/models/pool"}]}
{"name": "publishers/a/models/pool", "base_models": [{"model": "publishers/a/models/loop"}]}
{"name": "publishers/a/models/typo", "componets": []}
{"name": "other"}
not json
7"#;
    let report = import(&channel, &(pb::ImportSource::Records, vec![("x.ndjson", lines.into())])).await;
    assert_eq!((report.created, report.rejected), (1, 8), "{:?}", report.entries);
    let said = report.entries.iter().map(|e| e.messages.join(" ")).collect::<Vec<_>>().join("\n");
    for part in ["also stands for", "goes in a circle", "components", "neither `publishers/", "an object with a `name`"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let nothing =
        [("x.json", "{}"), ("x.json", "[]"), ("x.yaml", "- 7"), ("x.ndjson", "\n\n"), ("x.json", "{\"a\": [")];
    for (path, text) in nothing {
        let status = send(channel.clone(), &(pb::ImportSource::Records, vec![(path, text.into())]), "").await;
        let status = refused(status, Code::InvalidArgument);
        assert!(status.message().len() < 600, "{}", status.message());
    }
}

#[tokio::test]
async fn hostile_documents_of_every_source_leave_nothing_behind() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let before = crate::service::status(channel.clone()).await.revision;
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for i in 1..9 {
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(",")));
    }
    let deep = "[".repeat(300_000);
    for source in 1..=8 {
        let source = pb::ImportSource::try_from(source).unwrap();
        for text in ["\0\0\0", "[]", "{}", "\u{fffd}", "x", &bomb, &deep] {
            let document = (source, vec![("models/x.yml", text.to_owned())]);
            let status = refused(send(channel.clone(), &document, "a/b").await, Code::InvalidArgument);
            assert!(status.message().len() < 600, "{source:?}: {}", status.message());
        }
    }
    let mut client = ModelServiceClient::new(channel.clone());
    let config = pb::ImportConfig { source: pb::ImportSource::Mot as i32, ..Default::default() };
    for path in ["", "a\nb", &"x".repeat(2000)] {
        let payloads = [Payload::Config(config.clone()), Payload::File(pb::ImportFile { path: path.into() })];
        let stream: Vec<_> = payloads.into_iter().map(|p| pb::ImportModelsRequest { payload: Some(p) }).collect();
        let status = refused(client.import_models(tokio_stream::iter(stream)).await, Code::InvalidArgument);
        assert_eq!(fields(&status), ["file.path"]);
    }
    // Very many empty files cost memory, too.
    let many = std::iter::repeat_n(Payload::File(pb::ImportFile { path: "x".repeat(1000) }), 60_000);
    let stream: Vec<_> = std::iter::once(Payload::Config(config))
        .chain(many)
        .map(|payload| pb::ImportModelsRequest { payload: Some(payload) })
        .collect();
    refused(client.import_models(tokio_stream::iter(stream)).await, Code::ResourceExhausted);
    assert_eq!(crate::service::status(channel).await.revision, before);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Imports in any order, some of them repeated, give the same records.
    #[test]
    fn the_order_of_imports_does_not_show(
        order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
        again in prop::collection::vec(0..8_usize, 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let straight = runtime.block_on(after(&(0..8).collect::<Vec<_>>()));
        let turned = runtime.block_on(after(&[order, again].concat()));
        prop_assert_eq!(straight, turned);
    }
}
