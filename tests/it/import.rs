//! Imports over gRPC, on documents small enough to read here.

use tonic::transport::Channel;
use tonic::{Code, Status};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::import_models_request::Payload;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::pb::weighbridge::v1::offering_service_client::OfferingServiceClient;

use crate::harness::{TestServer, fields, refused};

fn message(payload: Payload) -> pb::ImportModelsRequest {
    pb::ImportModelsRequest { payload: Some(payload) }
}

fn config(validate_only: bool) -> pb::ImportModelsRequest {
    message(Payload::Config(pb::ImportConfig {
        source: pb::ImportSource::ModelsDev as i32,
        origin: "test".into(),
        validate_only,
        repository: String::new(),
    }))
}

/// Sends a document in chunks.
pub async fn import(channel: Channel, document: &[u8], validate_only: bool) -> Result<pb::ImportReport, Status> {
    let chunks = document.chunks(200 << 10).map(|chunk| message(Payload::Chunk(chunk.to_vec())));
    let stream: Vec<_> = std::iter::once(config(validate_only)).chain(chunks).collect();
    let mut client = ModelServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let response = client.import_models(tokio_stream::iter(stream)).await?;
    Ok(response.into_inner().report.unwrap())
}

pub const DOCUMENT: &str = r#"{
  "groq": {"id": "groq", "name": "Groq", "npm": "x", "env": ["K"], "doc": "https://groq.com/docs", "models": {
    "meta-llama/Llama-3.3-70B-Instruct": {"id": "meta-llama/Llama-3.3-70B-Instruct", "name": "Llama 3.3 70B",
      "attachment": false, "reasoning": false, "tool_call": true, "release_date": "2024-12-06",
      "last_updated": "2025-02-31", "modalities": {"input": ["text"], "output": ["text"]}, "open_weights": true,
      "limit": {"context": 131072, "output": 0}, "cost": {"input": 0.59, "output": 0.7899999999999999}},
    "house-special": {"id": "house-special", "name": "House special", "attachment": false, "reasoning": false,
      "tool_call": false, "release_date": "2025-01", "last_updated": "2025-01",
      "modalities": {"input": ["text"], "output": ["text"]}, "open_weights": false, "limit": {"context": 8192, "output": 1}}
  }}
}"#;

#[tokio::test]
async fn an_import_keeps_everything_and_changes_nothing_the_second_time() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let before = crate::service::status(channel.clone()).await.revision;
    let dry = import(channel.clone(), DOCUMENT.as_bytes(), true).await.unwrap();
    assert_eq!((dry.created, dry.revision), (3, before));

    let first = import(channel.clone(), DOCUMENT.as_bytes(), false).await.unwrap();
    assert_eq!((first.created, first.unresolved, first.providers, first.offerings), (3, 1, 1, 2));
    assert!(first.warnings > 0 && first.revision > before);
    assert!(first.entries.iter().any(|e| e.record.contains("house-special")), "{:?}", first.entries);
    let second = import(channel.clone(), DOCUMENT.as_bytes(), false).await.unwrap();
    assert_eq!((second.created, second.updated, second.deleted, second.unchanged), (0, 0, 0, 3));
    assert_eq!(second.revision, first.revision);

    let mut offerings = OfferingServiceClient::new(channel.clone());
    let list = pb::ListOfferingsRequest { model: "meta/llama-3.3-70b-instruct".into(), ..Default::default() };
    let found = offerings.list_offerings(list).await.unwrap().into_inner();
    assert_eq!(found.total_size, 1);
    let offering = &found.offerings[0];
    assert_eq!(offering.name, "providers/groq/offerings/meta-llama%2FLlama-3.3-70B-Instruct");
    assert_eq!((offering.context_tokens, offering.max_output_tokens), (131_072, 0));
    assert_eq!(offering.price.unwrap().output, Some(0.79));
    assert!(!offering.warnings.is_empty() && offering.last_updated.is_empty());
    let get = pb::GetOfferingRequest { name: offering.name.clone() };
    assert_eq!(offerings.get_offering(get).await.unwrap().into_inner(), *offering);
    let near = pb::GetOfferingRequest { name: "providers/groq/offerings/house-specal".into() };
    let status = refused(offerings.get_offering(near).await, Code::NotFound);
    assert!(status.message().contains("house-special"), "{}", status.message());
    let provider = offerings.get_provider(pb::GetProviderRequest { name: "providers/groq".into() }).await.unwrap();
    assert_eq!(provider.into_inner().offering_count, 2);

    // An offering whose model is not known is never a yes, whatever the use.
    let mut client = EligibilityServiceClient::new(channel.clone());
    let request = pb::CheckEligibilityRequest { model: "groq/house-special".into(), ..Default::default() };
    let decision = client.check_eligibility(request).await.unwrap().into_inner().decision.unwrap();
    assert_eq!(decision.verdict(), pb::Verdict::NeedsReview);
    assert_eq!(decision.findings[0].reason, "MODEL_UNRESOLVED");

    // A document without anything would remove everything.
    let empty = refused(import(channel.clone(), b"{}", false).await, Code::InvalidArgument);
    assert_eq!(fields(&empty), ["chunk"]);
    assert_eq!(crate::service::status(channel).await.offerings, 2);
}

#[tokio::test]
async fn hostile_documents_are_refused_and_nothing_is_imported() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let before = crate::service::status(channel.clone()).await.revision;
    let deep = "[".repeat(1 << 20);
    let zeros = vec![0_u8; 1 << 20];
    let garbage: &[&[u8]] = &[
        b"not json",
        b"[]",
        b"\"text\"",
        b"\xff\xfe\x00",
        &DOCUMENT.as_bytes()[..DOCUMENT.len() / 2],
        deep.as_bytes(),
        &zeros,
    ];
    for document in garbage {
        let status = refused(import(channel.clone(), document, false).await, Code::InvalidArgument);
        assert!(status.message().len() < 500, "{}", status.message());
    }
    assert_eq!(fields(&refused(import(channel.clone(), b"", false).await, Code::InvalidArgument)), ["chunk"]);

    let mut client = ModelServiceClient::new(channel.clone());
    let no_config = tokio_stream::iter([message(Payload::Chunk(b"{}".to_vec()))]);
    assert_eq!(fields(&refused(client.import_models(no_config).await, Code::InvalidArgument)), ["config"]);
    let twice = tokio_stream::iter([config(false), config(false)]);
    assert_eq!(fields(&refused(client.import_models(twice).await, Code::InvalidArgument)), ["config"]);
    let unknown = pb::ImportConfig { source: 99, ..Default::default() };
    let unknown = tokio_stream::iter([message(Payload::Config(unknown)), message(Payload::Chunk(b"{}".to_vec()))]);
    assert_eq!(fields(&refused(client.import_models(unknown).await, Code::InvalidArgument)), ["config.source"]);
    assert_eq!(crate::service::status(channel).await.revision, before);
}

#[tokio::test]
async fn a_document_beyond_the_limit_is_refused_while_it_arrives() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let chunk = || message(Payload::Chunk(vec![0; 1 << 20]));
    let stream = std::iter::once(config(false)).chain(std::iter::repeat_with(chunk).take(100));
    let mut client = ModelServiceClient::new(channel.clone());
    refused(client.import_models(tokio_stream::iter(stream)).await, Code::ResourceExhausted);
    assert_eq!(crate::service::status(channel).await.offerings, 0);
}
