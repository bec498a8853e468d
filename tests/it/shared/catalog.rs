//! What is made of the whole catalog: the built-in records and imports, by several replicas at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tonic::transport::Channel;
use weighbridge::convert;
use weighbridge::pb::weighbridge::storage::v1::record::Record as Kind;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::import_models_request::Payload;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::pb::weighbridge::v1::offering_service_client::OfferingServiceClient;
use weighbridge::registry::builtin::CATALOG_VERSION;
use weighbridge::registry::{ImportFile, ImportRequest, Registry};
use weighbridge::store::{Batch, EtcdOptions, EtcdStore, MemoryStore, Record, Store, Write};

use super::{Replica, all_models, assert_same};
use crate::harness::TestServer;
use crate::harness::etcd::anew;

/// As `serve` does it.
async fn start(options: &EtcdOptions) -> (Arc<dyn Store>, Registry) {
    let mut opened = None;
    let registry = Registry::open_with(Arc::new(Timestamp::now), |take| {
        let (store, revision) = EtcdStore::open_loading(options, take)?;
        let store: Arc<dyn Store> = Arc::new(store);
        opened = Some(store.clone());
        Ok((store, Some(revision)))
    });
    let registry = registry.await.unwrap();
    (opened.unwrap(), registry)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn replicas_that_start_together_write_the_built_in_catalog_once() {
    for _ in 0..5 {
        let options = anew();
        let mut starting = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let (options, handle) = (options.clone(), tokio::runtime::Handle::current());
            starting.spawn_blocking(move || handle.block_on(start(&options)));
        }
        let replicas = starting.join_all().await;
        let commits = replicas[0].0.changes_since(0, 9).await.unwrap();
        let actors: Vec<_> = commits.iter().map(|commit| convert::decode_note(&commit.about).actor).collect();
        assert_eq!(actors, [format!("builtin/{CATALOG_VERSION}")]);
        for (store, registry) in &replicas {
            assert_eq!(
                (store.status().revision, registry.snapshot().revision()),
                (commits[0].revision, commits[0].revision)
            );
        }
        let models = |registry: &Registry| registry.snapshot().models().count();
        assert!(models(&replicas[0].1) > 0);
        assert!(replicas.iter().all(|(_, registry)| models(registry) == models(&replicas[0].1)));
        // One that comes later has nothing to add.
        let (late, _) = start(&options).await;
        assert_eq!(late.status().revision, commits[0].revision);
    }
}

/// The stored records, without when they were written.
async fn stored(store: &dyn Store) -> BTreeMap<Vec<u8>, Kind> {
    let records = store.load().await.unwrap().records;
    records.iter().map(|r| (r.key.to_vec(), convert::decode(&r.value).unwrap().record.unwrap())).collect()
}

/// A record as another release would have written it.
fn of_release(record: &Record, actor: &str, change: impl Fn(&mut Kind)) -> Write {
    let mut stored = convert::decode(&record.value).unwrap();
    stored.actor = actor.into();
    change(stored.record.as_mut().unwrap());
    Write { key: record.key.clone(), value: Some(convert::encode(stored)) }
}

fn renamed(kind: &mut Kind) {
    match kind {
        Kind::License(license) => license.display_name = "Renamed".into(),
        Kind::Model(model) => model.description = "Merged otherwise.".into(),
        _ => panic!("another kind"),
    }
}

#[tokio::test]
async fn an_older_release_does_not_take_back_what_a_newer_one_brought() {
    let options = anew();
    let (store, registry) = start(&options).await;
    let files = vec![ImportFile { path: "api.json".into(), bytes: crate::import::DOCUMENT.as_bytes().into() }];
    let config = pb::ImportConfig { source: pb::ImportSource::ModelsDev.into(), ..Default::default() };
    let card = b"---\nlicense: mit\n---\n".as_slice();
    registry.import(ImportRequest { config, files }).await.unwrap();
    let files = vec![ImportFile { path: "README.md".into(), bytes: card.into() }];
    let config = pb::ImportConfig {
        source: pb::ImportSource::ModelCard.into(),
        repository: "acme/carded".into(),
        ..Default::default()
    };
    registry.import(ImportRequest { config, files }).await.unwrap();
    drop(registry);
    let of_this_release = stored(&*store).await;
    let records = store.load().await.unwrap().records;
    let below = |prefix: &str| records.iter().find(|record| record.key.starts_with(prefix.as_bytes())).unwrap();
    let (license, gone, merged) = (below("b/licenses/"), below("b/models/"), below("i/models/"));

    let newer = [
        of_release(license, "builtin/99.0.0", renamed),
        Write { key: gone.key.clone(), value: None },
        of_release(merged, "merge/99.0.0", renamed),
    ];
    let revision = store.commit(Batch::of(newer)).await.unwrap();
    let of_newer = stored(&*store).await;
    assert_ne!(of_newer, of_this_release);
    drop(store);
    let (store, _registry) = start(&options).await;
    assert_eq!(store.status().revision, revision);
    assert_eq!(stored(&*store).await, of_newer);

    // What an older one left is brought up.
    let older = [of_release(license, "builtin/0.0.1", renamed)];
    store.commit(Batch::of(older)).await.unwrap();
    drop((store, _registry));
    let (store, _registry) = start(&options).await;
    assert_eq!(stored(&*store).await, of_this_release);
}

/// An import: its source, of what repository, and the document.
type Document = (pb::ImportSource, String, String);

async fn import(channel: Channel, (source, repository, text): Document, validate_only: bool) -> pb::ImportReport {
    let config = pb::ImportConfig { source: source.into(), origin: "test".into(), validate_only, repository };
    let chunks = text.as_bytes().chunks(200 << 10).map(|chunk| Payload::Chunk(chunk.to_vec()));
    let payloads: Vec<_> = std::iter::once(Payload::Config(config))
        .chain(chunks)
        .map(|payload| pb::ImportModelsRequest { payload: Some(payload) })
        .collect();
    let mut client = ModelServiceClient::new(channel).max_decoding_message_size(64 << 20);
    client.import_models(tokio_stream::iter(payloads)).await.unwrap().into_inner().report.unwrap()
}

/// What is sold of many models, in one round.
fn offered(round: usize) -> Document {
    let offering = |at: usize| {
        let id = format!("acme/m{at}");
        serde_json::json!({
            "id": id, "name": format!("M {at}"), "attachment": false, "reasoning": false, "tool_call": false,
            "release_date": "2025-01", "last_updated": "2025-01", "open_weights": true,
            "modalities": {"input": ["text"], "output": ["text"]},
            "limit": {"context": 1_000 * (round + 1) + at, "output": 1}, "cost": {"input": round, "output": 1},
        })
    };
    let models: serde_json::Map<_, _> = (0..150).map(|at| (format!("acme/m{at}"), offering(at))).collect();
    let provider = serde_json::json!({"id": "groq", "name": "Groq", "npm": "x", "env": ["K"], "doc": "https://groq.com", "models": models});
    (pb::ImportSource::ModelsDev, String::new(), serde_json::json!({"groq": provider}).to_string())
}

/// Records of the operator for the same models, so that offerings come to be theirs.
fn recorded(round: usize) -> Document {
    let line = |at: usize| {
        format!(
            "{{\"name\": \"publishers/acme/models/m{at}\", \"aliases\": [\"acme/m{at}\"], \"description\": \"{round}\"}}\n"
        )
    };
    (pb::ImportSource::Records, String::new(), (0..150).filter(|at| at % (round + 2) > 0).map(line).collect())
}

fn carded(round: usize) -> Document {
    let license = ["mit", "apache-2.0", "cc-by-nc-4.0"][round % 3];
    let text = format!("---\nlicense: {license}\n---\n");
    (pb::ImportSource::ModelCard, "meta-llama/Llama-3.3-70B-Instruct".into(), text)
}

/// All models and offerings, without when they were written.
async fn shown(channel: &Channel) -> (Vec<pb::Model>, Vec<pb::Offering>) {
    let mut models = all_models(channel).await;
    for model in &mut models {
        (model.revision, model.create_time, model.update_time) = (0, None, None);
        model.etag.clear();
    }
    let mut client = OfferingServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let request = pb::ListOfferingsRequest { page_size: 1_000, ..Default::default() };
    let page = client.list_offerings(request).await.unwrap().into_inner();
    assert_eq!(page.next_page_token, "");
    let mut offerings = page.offerings;
    for offering in &mut offerings {
        (offering.revision, offering.update_time) = (0, None);
        offering.etag.clear();
    }
    (models, offerings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_at_once_come_to_what_they_come_to_one_after_the_other() {
    let options = anew();
    let (a, b) = (Replica::start(&options).await, Replica::start(&options).await);
    let alone = TestServer::on(Arc::new(MemoryStore::new()));
    let alone = alone.connect().await;
    type Make = fn(usize) -> Document;
    let pairs: [(Make, Make); 4] = [(offered, recorded), (carded, offered), (offered, offered), (recorded, carded)];
    for (round, (one, other)) in pairs.into_iter().enumerate() {
        let (one, other) = (one(round), other(round));
        let at_a = tokio::spawn(import(a.channel.clone(), one.clone(), false));
        let at_b = tokio::spawn(import(b.channel.clone(), other.clone(), false));
        let (at_a, at_b) = (at_a.await.unwrap(), at_b.await.unwrap());
        assert_eq!((at_a.rejected, at_b.rejected), (0, 0), "{at_a:?} {at_b:?}");
        import(alone.clone(), one, false).await;
        import(alone.clone(), other, false).await;
        let revision = at_a.revision.max(at_b.revision);
        a.reaches(revision).await;
        b.reaches(revision).await;
        let expected = shown(&alone).await;
        assert_eq!(expected.1.len(), if round == 0 { 150 } else { expected.1.len() });
        for replica in [&a, &b] {
            let found = shown(&replica.channel).await;
            assert_same(&found.0, &expected.0);
            assert!(found.1 == expected.1, "offerings of round {round}");
        }
    }
    // All of it is there for one that comes later.
    let late = Replica::start(&options).await;
    assert!(shown(&late.channel).await == shown(&alone).await);
    assert_same(&late.all().await, &a.all().await);
    assert_same(&a.all().await, &b.all().await);
    let before = a.store.status().revision;
    let dry = import(a.channel.clone(), offered(9), true).await;
    assert_eq!((dry.updated, dry.revision), (150, i64::try_from(before).unwrap()));
}
