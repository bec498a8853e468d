//! Answers as of an earlier revision: the law that what was is what a store of that time shows, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use weighbridge::catalog::fields::ModelField;
use weighbridge::catalog::filter::{self, Schema as _};
use weighbridge::catalog::index::Budget;
use weighbridge::catalog::{Entry, Layer, Snapshot};
use weighbridge::convert::{self, AsOf};
use weighbridge::domain::alias::fold;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::batch_check_eligibility_response::result::Outcome;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::pb::weighbridge::v1::use_profile_service_client::UseProfileServiceClient;
use weighbridge::pb::weighbridge::v1::waiver_service_client::WaiverServiceClient;
use weighbridge::registry::{ImportFile, ImportRequest, LogLevel, LogSettings, Registry, RequestId};
use weighbridge::store::{
    Batch, BoxFuture, Commit, MemoryStore, Record, Revision, Sink, Store, StoreError, StoreStatus, Take, Version, Write,
};

use crate::harness::{TestServer, fields, new_store_to_compact, reason, refused};

/// A store that takes no writes: a registry that is opened on it adds nothing of its own.
struct Frozen(MemoryStore);

impl Frozen {
    async fn of(commits: &[Vec<Write>]) -> Arc<Self> {
        let store = MemoryStore::new();
        for (i, writes) in commits.iter().enumerate() {
            let time_ms = DAY_MS * i64::try_from(i + 1).unwrap();
            store.commit(Batch { writes: writes.clone(), time_ms, ..Batch::default() }).await.unwrap();
        }
        Arc::new(Self(store))
    }
}

const DAY_MS: i64 = 86_400_000;

impl Store for Frozen {
    fn load_each(&self, take: Take) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.0.load_each(take)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, StoreError>> {
        panic!("nothing is to be written: {batch:?}")
    }

    fn changes_since(&self, after: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Arc<Commit>>, StoreError>> {
        self.0.changes_since(after, limit)
    }

    fn record_as_of(&self, key: &[u8], revision: Revision) -> BoxFuture<'_, Result<Option<Record>, StoreError>> {
        self.0.record_as_of(key, revision)
    }

    fn records_as_of(
        &self,
        keys: Vec<Bytes>,
        revision: Revision,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>, StoreError>> {
        self.0.records_as_of(keys, revision)
    }

    fn history(&self, key: &[u8], before: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Version>, StoreError>> {
        self.0.history(key, before, limit)
    }

    fn revision_at(&self, time_ms: i64) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.0.revision_at(time_ms)
    }

    fn compact(&self, oldest: Revision) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.0.compact(oldest)
    }

    fn backup(&self, sink: Sink) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.0.backup(sink)
    }

    fn subscribe(&self) -> tokio::sync::mpsc::UnboundedReceiver<Arc<Commit>> {
        self.0.subscribe()
    }

    fn status(&self) -> StoreStatus {
        StoreStatus { writable: false, ..self.0.status() }
    }
}

async fn registry_on(store: Arc<dyn Store>) -> Registry {
    Registry::open(store, Arc::new(jiff::Timestamp::now)).await.unwrap()
}

fn weights(expression: &str) -> Vec<pb::Component> {
    vec![pb::Component {
        kind: pb::component::Kind::ModelWeights as i32,
        availability: pb::component::Availability::Available as i32,
        license_expression: expression.into(),
        ..Default::default()
    }]
}

fn whole() -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: vec!["*".into()] })
}

async fn put(registry: &Registry, name: &str, model: pb::Model) {
    let model = pb::Model { name: format!("publishers/{name}"), ..model };
    let request =
        pb::UpdateModelRequest { model: Some(model), update_mask: whole(), allow_missing: true, ..Default::default() };
    registry.update_model(request).await.unwrap();
}

async fn delete(registry: &Registry, name: &str) {
    let request = pb::DeleteModelRequest { name: format!("publishers/{name}"), ..Default::default() };
    registry.delete_model(request).await.unwrap();
}

async fn put_license(registry: &Registry, id: &str, commercial_use: pb::permission::Status, providers: &[&str]) {
    let request = pb::UpdateLicenseRequest {
        license: Some(license(id, commercial_use, providers)),
        update_mask: whole(),
        allow_missing: true,
        ..Default::default()
    };
    registry.update_license(request).await.unwrap();
}

fn license(id: &str, commercial_use: pb::permission::Status, providers: &[&str]) -> pb::License {
    pb::License {
        name: format!("licenses/{id}"),
        display_name: id.into(),
        url: "https://example.com/terms".into(),
        category: match providers {
            [] => pb::license::Category::OpenWeightCommunity,
            _ => pb::license::Category::ServiceTerms,
        } as i32,
        confidence: pb::license::Confidence::SecondarySource as i32,
        providers: providers.iter().map(|id| (*id).to_owned()).collect(),
        permissions: Some(pb::Permissions {
            commercial_use: Some(pb::Permission {
                status: commercial_use as i32,
                clause: "1".into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

const MODELS_DEV: &str = r#"{"groq": {"id": "groq", "name": "Groq", "npm": "x", "env": ["K"], "doc": "https://groq.com/docs", "models": {
    "Acme/One": {"id": "Acme/One", "name": "One", "attachment": false, "reasoning": false, "tool_call": true,
      "release_date": "2024-12-06", "last_updated": "2025-02-01", "modalities": {"input": ["text"], "output": ["text"]},
      "open_weights": true, "limit": {"context": 131072, "output": 0}, "cost": {"input": 0.59, "output": 0.79}},
    "house-special": {"id": "house-special", "name": "House special", "attachment": false, "reasoning": false,
      "tool_call": false, "release_date": "2025-01", "last_updated": "2025-01",
      "modalities": {"input": ["text"], "output": ["text"]}, "open_weights": false, "limit": {"context": 8192, "output": 1}}
  }}}"#;

/// What operators and imports write over some time.
async fn lived(registry: &Registry) {
    let made_from = |base: &str| pb::BaseModel {
        model: format!("publishers/{base}"),
        relation: pb::base_model::Relation::FineTune as i32,
        ..Default::default()
    };
    let named = |expression: &str, aliases: &[&str]| pb::Model {
        components: weights(expression),
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        ..Default::default()
    };
    put(registry, "acme/models/one", named("MIT", &["Acme/One", "one:7b"])).await;
    registry.import(offerings(MODELS_DEV)).await.unwrap();
    put_license(registry, "LicenseRef-Acme", pb::permission::Status::Allowed, &["groq"]).await;
    let child =
        pb::Model { base_models: vec![made_from("acme/models/one")], ..named("LicenseRef-Acme", &["Acme/Two"]) };
    put(registry, "acme/models/two", child).await;
    put(registry, "acme/models/three", named("MIT AND LicenseRef-Acme", &["house-special"])).await;
    put_license(registry, "LicenseRef-Acme", pb::permission::Status::Prohibited, &[]).await;
    put(registry, "acme/models/one", named("CC-BY-NC-4.0", &["Acme/Two-B"])).await;
    // A built-in license and a built-in model are overlaid, and show again.
    put_license(registry, "MIT", pb::permission::Status::Prohibited, &[]).await;
    let llama = "meta/models/llama-3.3-70b-instruct";
    put(registry, llama, named("Apache-2.0", &["meta-llama/Llama-3.3-70B-Instruct"])).await;
    registry
        .create_named::<pb::UseProfile>(
            &RequestId::default(),
            "eu",
            Some(pb::UseProfile {
                r#use: Some(pb::Use { purpose: pb::Purpose::Commercial as i32, ..Default::default() }),
                ..Default::default()
            }),
            false,
        )
        .await
        .unwrap();
    let waiver = pb::Waiver {
        reason: "COMMERCIAL_USE_PROHIBITED".into(),
        license: "licenses/MIT".into(),
        approver: "legal@acme.example".into(),
        justification: "A separate agreement.".into(),
        ticket: "https://acme.example/1".into(),
        expire_time: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        ..Default::default()
    };
    registry.create_named(&RequestId::default(), "one", Some(waiver), false).await.unwrap();
    let request = pb::DeleteLicenseRequest { name: "licenses/MIT".into(), ..Default::default() };
    registry.delete_license(request).await.unwrap();
    delete(registry, llama).await;
    registry.delete_named::<pb::Waiver>(&RequestId::default(), "waivers/one", "", false).await.unwrap();
    delete(registry, "acme/models/two").await;
    delete(registry, "acme/models/three").await;
    put(registry, "acme/models/one", named("MIT", &["Acme/One", "Acme/Two", "house-special"])).await;
    registry.import(offerings(&MODELS_DEV.replace("Acme/One", "Acme/Two"))).await.unwrap();
    delete(registry, "acme/models/one").await;
}

fn offerings(document: &str) -> ImportRequest {
    ImportRequest {
        config: pb::ImportConfig { source: pb::ImportSource::ModelsDev as i32, ..Default::default() },
        files: vec![ImportFile { path: "api.json".into(), bytes: document.as_bytes().into() }],
    }
}

/// The commits of a life, with few of the records of the built-in catalog: a registry of them opens fast.
async fn commits() -> Vec<Vec<Write>> {
    let store = Arc::new(MemoryStore::new());
    let registry = registry_on(store.clone()).await;
    lived(&registry).await;
    let commits = store.changes_since(0, 1_000).await.unwrap();
    let few = |(at, write): &(usize, &Write)| {
        let key = String::from_utf8_lossy(&write.key).into_owned();
        let kept = ["llama-3.3", "LicenseRef-Llama-3.3", "/MIT", "/Apache-2.0", "CC-BY-NC-4.0", "use-policies"];
        !key.starts_with("b/") || at % 40 == 0 || kept.iter().any(|part| key.contains(part))
    };
    commits
        .iter()
        .map(|commit| commit.writes.iter().enumerate().filter(few).map(|(_, write)| write.clone()).collect())
        .collect()
}

fn of<T>(what: &str, entry: &Entry<T>, name: &dyn std::fmt::Display) -> String {
    format!("{what} {name} {:?} {} {:?}", entry.layer, entry.revision, xxhash_rust::xxh3::xxh3_64(&entry.payload))
}

const ALIASES: [&str; 9] = [
    "Acme/One",
    "one:7b",
    "Acme/Two",
    "acme-two",
    "Acme/Two-B",
    "house-special",
    "groq/Acme/One",
    "meta-llama/Llama-3.3-70B-Instruct",
    "publishers/acme/models/one",
];

const FILTERS: [&str; 8] = [
    "license.commercial_use = PROHIBITED",
    "unknown(license.commercial_use = ALLOWED)",
    "license.id:MIT",
    "ancestors:*",
    "origin = OPERATOR OR conflicts:*",
    "providers:groq",
    "acme",
    "tier = OPEN_WEIGHT AND context_tokens >= 128k",
];

/// All that a snapshot answers, as lines.
fn shown(registry: &Registry, snapshot: &Arc<Snapshot>) -> Vec<String> {
    let mut out = vec![format!("revision {}", snapshot.revision())];
    let layers = [Layer::BuiltIn, Layer::Imported, Layer::Operator];
    for entry in snapshot.models() {
        let name = &entry.record.name;
        out.push(of("model", entry, name));
        out.extend(layers.iter().filter_map(|layer| snapshot.model_in(*layer, name)).map(|e| of("layer", e, name)));
        out.push(format!("{:?}", snapshot.providers_of(name).collect::<Vec<_>>()));
        for field in weighbridge::catalog::fields::TermsField::ALL {
            out.push(format!("{:?}", snapshot.model_index().terms_of(name, *field)));
        }
    }
    for layer in layers {
        out.extend(snapshot.models_of(layer).map(|entry| of("of layer", entry, &entry.record.name)));
    }
    for entry in snapshot.licenses() {
        let id = &entry.record.id;
        out.push(of("license", entry, id));
        out.extend(layers.iter().filter_map(|layer| snapshot.license_in(*layer, id)).map(|e| of("layer", e, id)));
        out.push(format!("{:?}", weighbridge::domain::eligibility::Records::license(&**snapshot, id)));
    }
    out.extend(snapshot.use_policies().map(|entry| of("policy", entry, &entry.record.id)));
    out.extend(snapshot.providers().map(|entry| of("provider", entry, &entry.record.id.as_str())));
    for id in snapshot.providers().map(|entry| entry.record.id.as_str()).chain(["groq"]) {
        let mut terms: Vec<_> = snapshot.service_terms_of(id).iter().map(ToString::to_string).collect();
        terms.sort_unstable();
        out.push(format!("terms of {id}: {terms:?}"));
    }
    out.extend(snapshot.offerings().map(|entry| of("offering", entry, &entry.record.name.resource_name())));
    out.push(format!("{:?} {}", snapshot.offering_counts(), snapshot.record_count()));
    out.extend(snapshot.source_records().map(|(id, payload)| format!("{id:?} {}", payload.len())));
    for id in snapshot.use_profile_ids() {
        out.push(of("profile", snapshot.use_profile(id).unwrap(), &id));
    }
    out.extend(snapshot.waivers().map(|entry| of("waiver", entry, &entry.record.name)));

    let index = snapshot.model_index();
    for text in FILTERS {
        let node = filter::parse(text).unwrap().unwrap();
        let query = filter::check::<ModelField>(&node, &|_, _| String::new()).unwrap();
        let found = snapshot.select_models(&query, index.all(), Budget::default()).unwrap();
        let names = |rows: &roaring::RoaringBitmap| {
            rows.iter().map(|row| index.entry(row).unwrap().record.name.to_string()).collect::<BTreeSet<_>>()
        };
        out.push(format!("{text}: {:?} {:?}", names(&found.yes), names(&found.unknown)));
    }
    for field in ModelField::paths().iter().filter_map(|path| ModelField::find(path)) {
        out.push(format!("{field:?}: {:?}", index.count(field, index.all())));
    }
    let mut groups: Vec<Vec<&str>> = index
        .groups()
        .map(|group| {
            let rows = group.among(index.all());
            rows.iter().map(|row| index.entry(row).unwrap().record.name.as_str()).collect()
        })
        .collect();
    groups.iter_mut().for_each(|names: &mut Vec<&str>| names.sort_unstable());
    groups.sort_unstable();
    out.push(format!("{groups:?}"));
    for id in ALIASES {
        let mut exact: Vec<_> = snapshot.aliases().exact(id).iter().map(ToString::to_string).collect();
        exact.sort_unstable();
        out.push(format!("{id}: {exact:?} {:?}", snapshot.aliases().folded(&fold(id))));
        for use_ in uses() {
            out.push(format!("{id}: {:?}", decision(registry, snapshot, id, use_)));
        }
    }
    out
}

fn uses() -> [pb::Use; 3] {
    let commercial = pb::Use { purpose: pb::Purpose::Commercial as i32, ..Default::default() };
    let hosted = |hosting: pb::Hosting| pb::Use { hosting: hosting as i32, ..commercial.clone() };
    let tuned = pb::Use {
        activities: vec![pb::Activity::FineTune as i32, pb::Activity::RedistributeDerivative as i32],
        ..hosted(pb::Hosting::SelfHosted)
    };
    [tuned, hosted(pb::Hosting::VendorApi), pb::Use::default()]
}

fn decision(registry: &Registry, snapshot: &Arc<Snapshot>, model: &str, use_: pb::Use) -> Result<pb::Decision, String> {
    let request = pb::CheckEligibilityRequest { model: model.into(), r#use: Some(use_), ..Default::default() };
    let request = convert::check_request(request, None, &snapshot.reference().vocabulary).unwrap();
    registry
        .check_on(snapshot, &request, |checked| {
            let mut decision = convert::decision(&checked.decision, checked.name, checked.revision);
            registry.explain(snapshot, checked, &mut decision);
            decision
        })
        .map_err(|error| error.to_string())
}

#[track_caller]
fn same(revision: Revision, past: &[String], built: &[String]) {
    let differs = past.iter().zip(built).find(|(a, b)| a != b);
    assert!(differs.is_none() && past.len() == built.len(), "as of {revision}: {differs:#?}");
}

/// What a registry says of each of its revisions is what one says that was opened on a store that holds nothing later.
async fn holds(commits: &[Vec<Write>], order: &[usize]) {
    let registry = registry_on(Frozen::of(commits).await).await;
    for at in order {
        let until = at + 1;
        let revision = Revision::try_from(until).unwrap();
        let built = registry_on(Frozen::of(&commits[..until]).await).await;
        let built_shows = shown(&built, &built.snapshot());
        let past = registry.snapshot_as_of(AsOf::Revision(revision)).await.unwrap();
        same(revision, &shown(&registry, &past), &built_shows);
        let by_time = registry.snapshot_as_of(AsOf::Time(DAY_MS * i64::try_from(until).unwrap() + 1)).await.unwrap();
        assert_eq!(by_time.revision(), revision);
    }
}

#[tokio::test]
async fn what_was_is_what_a_store_of_that_time_shows() {
    let commits = commits().await;
    assert!(commits.len() > 20, "{}", commits.len());
    let order: Vec<usize> = (0..commits.len()).rev().collect();
    holds(&commits, &order).await;
}

#[tokio::test]
async fn what_was_is_what_a_store_of_that_time_shows_whatever_was_written() {
    // Each record as it ever was, which can come in any layer and any order.
    let lived = commits().await;
    let mut known: BTreeMap<String, BTreeSet<Bytes>> = BTreeMap::new();
    for write in lived.iter().flatten() {
        let key = String::from_utf8(write.key.to_vec()).unwrap();
        let often = ["acme", "llama-3.3", "/MIT", "groq", "LicenseRef-Llama-3.3", "use-profiles", "waivers"];
        if let (Some(value), true) = (&write.value, often.iter().any(|part| key.contains(part))) {
            known.entry(key.split_once('/').unwrap().1.to_owned()).or_default().insert(value.clone());
        }
    }
    let known: Vec<(String, Vec<Bytes>)> =
        known.into_iter().map(|(key, values)| (key, values.into_iter().collect())).collect();
    let layer = |key: &str, any: usize| match key.split('/').next().unwrap() {
        "models" | "licenses" => ["b", "i", "o"][any % 3],
        "use-policies" => "b",
        "use-profiles" | "waivers" => "o",
        _ => "i",
    };
    let step = (0..known.len(), 0..3_usize, prop::option::weighted(0.7, any::<prop::sample::Index>()));
    let strategy = prop::collection::vec(prop::collection::vec(step, 1..6), 6..18);
    let mut runner = TestRunner::deterministic();
    for _ in 0..12 {
        let drawn = strategy.new_tree(&mut runner).unwrap().current();
        let mut commits = vec![lived[0].clone()];
        for commit in drawn {
            let mut writes: BTreeMap<String, Option<Bytes>> = BTreeMap::new();
            for (at, any, value) in commit {
                let (key, values) = &known[at];
                writes.insert(format!("{}/{key}", layer(key, any)), value.map(|value| value.get(values).clone()));
            }
            let write = |(key, value): (String, Option<Bytes>)| Write { key: key.into_bytes().into(), value };
            commits.push(writes.into_iter().map(write).collect());
        }
        let order: Vec<usize> = (0..commits.len()).map(|at| at * 7 % commits.len()).collect();
        holds(&commits, &order).await;
    }
}

/// Writes over gRPC, and checks.
struct Client {
    models: ModelServiceClient<Channel>,
    licenses: LicenseServiceClient<Channel>,
    profiles: UseProfileServiceClient<Channel>,
    waivers: WaiverServiceClient<Channel>,
    eligibility: EligibilityServiceClient<Channel>,
}

impl Client {
    async fn of(server: &TestServer) -> Self {
        let channel = server.connect().await;
        Self {
            models: ModelServiceClient::new(channel.clone()),
            licenses: LicenseServiceClient::new(channel.clone()),
            profiles: UseProfileServiceClient::new(channel.clone()),
            waivers: WaiverServiceClient::new(channel.clone()),
            eligibility: EligibilityServiceClient::new(channel),
        }
    }

    async fn put(&mut self, name: &str, expression: &str, aliases: &[&str]) -> pb::Model {
        let model = pb::Model {
            name: format!("publishers/{name}"),
            components: weights(expression),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            ..Default::default()
        };
        let request = pb::UpdateModelRequest {
            model: Some(model),
            update_mask: whole(),
            allow_missing: true,
            ..Default::default()
        };
        self.models.update_model(request).await.unwrap().into_inner()
    }

    async fn put_license(&mut self, id: &str, commercial_use: pb::permission::Status) -> pb::License {
        let request = pb::UpdateLicenseRequest {
            license: Some(license(id, commercial_use, &[])),
            update_mask: whole(),
            allow_missing: true,
            ..Default::default()
        };
        self.licenses.update_license(request).await.unwrap().into_inner()
    }

    async fn put_profile(&mut self, use_: pb::Use) {
        let profile = pb::UseProfile { name: "useProfiles/ours".into(), r#use: Some(use_), ..Default::default() };
        let request = pb::UpdateUseProfileRequest {
            use_profile: Some(profile),
            update_mask: whole(),
            allow_missing: true,
            ..Default::default()
        };
        self.profiles.update_use_profile(request).await.unwrap();
    }

    async fn check(&mut self, request: pb::CheckEligibilityRequest) -> pb::Decision {
        self.eligibility.check_eligibility(request).await.unwrap().into_inner().decision.unwrap()
    }
}

fn commercial() -> pb::Use {
    pb::Use { purpose: pb::Purpose::Commercial as i32, hosting: pb::Hosting::SelfHosted as i32, ..Default::default() }
}

/// What a decision stands for, whenever it is made: all but the name it is recorded under and when.
fn told(decision: &pb::Decision) -> pb::Decision {
    // Each call has an id of its own.
    pb::Decision { name: String::new(), create_time: None, call_id: String::new(), ..decision.clone() }
}

/// The request that repeats a recorded decision.
fn again(decision: &pb::Decision) -> pb::CheckEligibilityRequest {
    pb::CheckEligibilityRequest {
        model: decision.requested_model.clone(),
        r#use: decision.r#use.clone(),
        use_profile: decision.use_profile.clone(),
        as_of_revision: decision.revision,
        record: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_recorded_decision_comes_out_the_same_whatever_changed_since() {
    let folder = tempfile::tempdir().unwrap();
    let settings = LogSettings { level: LogLevel::Off, ..LogSettings::default() };
    let start = || TestServer::logging_at(folder.path(), settings);
    let server = start();
    let mut client = Client::of(&server).await;
    client.put_license("LicenseRef-Acme", pb::permission::Status::Prohibited).await;
    client.put("acme/models/one", "LicenseRef-Acme", &["Acme/One"]).await;
    client.put_profile(commercial()).await;
    let waiver = pb::Waiver {
        name: "waivers/one".into(),
        reason: "COMMERCIAL_USE_PROHIBITED".into(),
        license: "licenses/LicenseRef-Acme".into(),
        use_profile: "useProfiles/ours".into(),
        approver: "legal@acme.example".into(),
        justification: "A separate agreement.".into(),
        ticket: "https://acme.example/1".into(),
        expire_time: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        ..Default::default()
    };
    let request = pb::CreateWaiverRequest { waiver_id: "one".into(), waiver: Some(waiver), ..Default::default() };
    client.waivers.create_waiver(request).await.unwrap();

    // With a waiver and a profile, without them, and of a model whose license changed over time.
    let asked = |model: &str, use_: pb::Use, use_profile: &str| pb::CheckEligibilityRequest {
        model: model.into(),
        r#use: Some(use_),
        use_profile: use_profile.into(),
        record: true,
        ..Default::default()
    };
    let past = pb::Use { at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }), ..commercial() };
    let mut decisions = Vec::new();
    for request in [
        asked("Acme/One", pb::Use::default(), "useProfiles/ours"),
        asked("Acme/One", commercial(), ""),
        asked("01-ai/Yi-34B", commercial(), ""),
        asked("01-ai/Yi-34B", past, ""),
        asked("meta-llama/Llama-3.3-70B-Instruct", commercial(), "useProfiles/ours"),
    ] {
        decisions.push(client.check(request).await);
    }
    let verdicts: Vec<_> = decisions.iter().take(2).map(pb::Decision::verdict).collect();
    assert_eq!(verdicts, [pb::Verdict::NeedsReview, pb::Verdict::Ineligible]);
    assert!(decisions[0].findings.iter().any(|finding| !finding.waived_by.is_empty()));
    // Nothing has changed yet.
    for decision in &decisions {
        assert_eq!(told(&client.check(again(decision)).await), told(decision));
    }

    client.put_license("LicenseRef-Acme", pb::permission::Status::Allowed).await;
    client.put("acme/models/one", "MIT", &["Acme/First"]).await;
    client.put("acme/models/other", "CC-BY-NC-4.0", &["Acme/One"]).await;
    client.put("01-ai/models/yi-34b", "CC-BY-NC-4.0", &["01-ai/Yi-34B"]).await;
    client.put_license("LicenseRef-Llama-3.3-Community", pb::permission::Status::Prohibited).await;
    client.put_profile(pb::Use { purpose: pb::Purpose::Research as i32, ..Default::default() }).await;
    let request = pb::DeleteWaiverRequest { name: "waivers/one".into(), ..Default::default() };
    client.waivers.delete_waiver(request).await.unwrap();
    let request = pb::DeleteUseProfileRequest { name: "useProfiles/ours".into(), ..Default::default() };
    client.profiles.delete_use_profile(request).await.unwrap();
    let now = client.check(pb::CheckEligibilityRequest { as_of_revision: 0, ..again(&decisions[1]) }).await;
    assert_eq!((now.model.as_str(), now.verdict()), ("publishers/acme/models/other", pb::Verdict::Ineligible));
    for decision in &decisions {
        assert_eq!(told(&client.check(again(decision)).await), told(decision));
    }
    drop(client);
    server.stop().unwrap();

    let server = start();
    let mut client = Client::of(&server).await;
    for decision in &decisions {
        let kept = pb::GetDecisionRequest { name: decision.name.clone() };
        let kept = client.eligibility.get_decision(kept).await.unwrap().into_inner();
        let repeated = client.check(again(&kept)).await;
        assert_eq!((told(&repeated), &repeated.digest), (told(decision), &decision.digest));
    }
}

#[tokio::test]
async fn what_is_read_is_as_it_stood() {
    let (store, _alone) = new_store_to_compact();
    let server = TestServer::on(store.clone());
    let mut client = Client::of(&server).await;
    let name = "publishers/acme/models/one".to_owned();
    client.put_license("LicenseRef-Acme", pb::permission::Status::Prohibited).await;
    let before = client.put("acme/models/one", "LicenseRef-Acme", &["Acme/One"]).await;
    let as_of_revision = before.revision;
    client.put("acme/models/one", "MIT", &["Acme/First"]).await;
    let after = client.put_license("LicenseRef-Acme", pb::permission::Status::Allowed).await;
    client.put("acme/models/two", "MIT", &["Acme/One"]).await;

    let get = pb::GetModelRequest { name: name.clone(), as_of_revision, ..Default::default() };
    assert_eq!(client.models.get_model(get).await.unwrap().into_inner(), before);
    let names = vec![name.clone(), "publishers/acme/models/two".into()];
    let batch = pb::BatchGetModelsRequest { names, as_of_revision, ..Default::default() };
    let status = refused(client.models.batch_get_models(batch).await, Code::NotFound);
    assert!(status.message().contains("acme/models/two") && !status.message().contains("one"), "{}", status.message());
    let resolve = pb::ResolveModelRequest { alias: "Acme/One".into(), as_of_revision, ..Default::default() };
    assert_eq!(client.models.resolve_model(resolve).await.unwrap().into_inner().model.unwrap(), before);
    let get = pb::GetLicenseRequest { name: after.name.clone(), as_of_revision, ..Default::default() };
    assert_ne!(client.licenses.get_license(get).await.unwrap().into_inner(), after);
    let filter = "publisher = acme".to_owned();
    let count = pb::AggregateModelsRequest {
        filter: filter.clone(),
        fields: vec!["license.commercial_use".into()],
        as_of_revision,
        ..Default::default()
    };
    let counted = client.models.aggregate_models(count).await.unwrap().into_inner();
    assert_eq!((counted.total_size, counted.revision), (1, as_of_revision));
    assert_eq!(counted.facets[0].values[0].value, "PROHIBITED");
    let list =
        pb::ListLicensesRequest { filter: "commercial_use = ALLOWED".into(), as_of_revision, ..Default::default() };
    let listed = client.licenses.list_licenses(list).await.unwrap().into_inner();
    assert!(listed.licenses.iter().all(|license| license.name != after.name) && listed.revision == as_of_revision);

    // By the time of a commit it is the same.
    let commits = store.changes_since(u64::try_from(as_of_revision).unwrap() - 1, 2).await.unwrap();
    let at = |time_ms: i64| {
        let nanos = i32::try_from(time_ms.rem_euclid(1_000)).unwrap() * 1_000_000;
        Some(prost_types::Timestamp { seconds: time_ms.div_euclid(1_000), nanos })
    };
    if commits[0].time_ms < commits[1].time_ms {
        let get = pb::GetModelRequest { name: name.clone(), as_of_time: at(commits[0].time_ms), ..Default::default() };
        assert_eq!(client.models.get_model(get).await.unwrap().into_inner(), before);
    }
    // Before the first commit nothing was there.
    let list = pb::ListModelsRequest { as_of_time: at(0), ..Default::default() };
    let listed = client.models.list_models(list).await.unwrap().into_inner();
    assert_eq!((listed.total_size, listed.revision), (0, 0));

    // Pages stay with it, and their tokens are bound to it.
    let page = |page_token: String, as_of_revision| pb::ListModelsRequest {
        page_size: 400,
        page_token,
        as_of_revision,
        ..Default::default()
    };
    let first = client.models.list_models(page(String::new(), as_of_revision)).await.unwrap().into_inner();
    let mut names: Vec<_> = first.models.into_iter().map(|model| model.name).collect();
    let mut token = first.next_page_token.clone();
    while !token.is_empty() {
        client.put("acme/models/three", "MIT", &[&token]).await;
        let next = client.models.list_models(page(token, as_of_revision)).await.unwrap().into_inner();
        assert_eq!((next.revision, next.total_size), (as_of_revision, first.total_size));
        names.extend(next.models.into_iter().map(|model| model.name));
        token = next.next_page_token;
    }
    assert_eq!(names.len(), usize::try_from(first.total_size).unwrap());
    assert!(names.contains(&name) && !names.contains(&"publishers/acme/models/two".into()));
    for other in [0, as_of_revision + 1] {
        let status = client.models.list_models(page(first.next_page_token.clone(), other)).await;
        assert_eq!(fields(&refused(status, Code::InvalidArgument)), ["page_token"]);
    }

    // One use: checked, in a batch and in a list.
    let check = |as_of_revision| pb::CheckEligibilityRequest {
        model: "Acme/One".into(),
        r#use: Some(commercial()),
        as_of_revision,
        ..Default::default()
    };
    let single = client.check(check(as_of_revision)).await;
    assert_eq!((single.model.as_str(), single.verdict()), (name.as_str(), pb::Verdict::Ineligible));
    let requests = vec![check(0), check(as_of_revision), check(as_of_revision + 1)];
    let batch = pb::BatchCheckEligibilityRequest { requests, as_of_revision, ..Default::default() };
    let answers = client.eligibility.batch_check_eligibility(batch).await.unwrap().into_inner();
    assert_eq!(answers.revision, as_of_revision);
    let outcomes: Vec<_> = answers.results.into_iter().map(|result| result.outcome.unwrap()).collect();
    let decided = Outcome::Decision(single);
    assert_eq!(outcomes[..2], [decided.clone(), decided]);
    assert!(matches!(&outcomes[2], Outcome::Status(status) if status.message.contains("as_of_revision")));
    let list =
        pb::ListEligibleModelsRequest { r#use: Some(commercial()), filter, as_of_revision, ..Default::default() };
    let eligible = client.eligibility.list_eligible_models(list).await.unwrap().into_inner();
    assert_eq!((eligible.total_size, eligible.revision), (0, as_of_revision));
    assert_eq!(eligible.verdict_counts[0].verdict(), pb::Verdict::Ineligible);

    // What is no longer kept is not answered from, whether it is at hand or not.
    let newest = store.status().revision;
    store.compact(newest).await.unwrap();
    let status = refused(client.eligibility.check_eligibility(check(as_of_revision)).await, Code::OutOfRange);
    assert_eq!(reason(&status), "REVISION_COMPACTED");
    assert_eq!(status.get_error_details().error_info().unwrap().metadata["oldest_revision"], newest.to_string());
    let early = pb::GetModelRequest { name: name.clone(), as_of_time: at(0), ..Default::default() };
    refused(client.models.get_model(early).await, Code::OutOfRange);
    let oldest = check(i64::try_from(newest).unwrap());
    assert_eq!(client.check(oldest.clone()).await.revision, oldest.as_of_revision);
    client.put("acme/models/one", "CC-BY-NC-4.0", &[]).await;
    assert_eq!(client.check(oldest).await.verdict(), pb::Verdict::Eligible);
}

#[tokio::test]
async fn a_moment_that_is_none_is_refused_with_everything_else() {
    let server = TestServer::in_memory();
    let mut client = Client::of(&server).await;
    let time = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 });
    let check = pb::CheckEligibilityRequest {
        min_revision: 1,
        as_of_revision: -1,
        as_of_time: time,
        r#use: Some(pb::Use { purpose: 99, ..Default::default() }),
        ..Default::default()
    };
    let status = refused(client.eligibility.check_eligibility(check.clone()).await, Code::InvalidArgument);
    let mut found = fields(&status);
    found.sort_unstable();
    assert_eq!(found, ["as_of_revision", "as_of_time", "min_revision", "model", "use.purpose"]);
    let list = pb::ListModelsRequest {
        filter: "teir = X".into(),
        page_size: -1,
        as_of_revision: 1,
        as_of_time: time,
        ..Default::default()
    };
    let status = refused(client.models.list_models(list).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["as_of_time", "filter", "page_size"]);
    let to_come = Some(prost_types::Timestamp { seconds: 100_000_000_000, nanos: 0 });
    let get = pb::GetModelRequest { name: "llama".into(), as_of_time: to_come, ..Default::default() };
    let status = refused(client.models.get_model(get).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["as_of_time", "name"]);
    let batch = pb::BatchCheckEligibilityRequest { min_revision: 1, as_of_time: to_come, ..Default::default() };
    let status = refused(client.eligibility.batch_check_eligibility(batch).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["requests", "min_revision"]);
    let get = pb::GetLicenseRequest { name: "licenses/MIT".into(), as_of_revision: i64::MAX, ..Default::default() };
    let status = refused(client.licenses.get_license(get).await, Code::FailedPrecondition);
    assert_eq!(reason(&status), "REVISION_NOT_REACHED");
    let get = pb::GetWaiverRequest { name: "waivers/x".into(), as_of_revision: -1, ..Default::default() };
    refused(client.waivers.get_waiver(get).await, Code::InvalidArgument);
    let get = pb::GetUseProfileRequest { name: "useProfiles/x".into(), as_of_revision: 1, ..Default::default() };
    refused(client.profiles.get_use_profile(get).await, Code::NotFound);
}
