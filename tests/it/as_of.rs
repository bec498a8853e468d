//! Answers as of an earlier revision: the law that what was is what a store of that time shows, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use weighbridge::catalog::fields::ModelField;
use weighbridge::catalog::filter::{self, Schema as _};
use weighbridge::catalog::index::Budget;
use weighbridge::catalog::{Entry, Layer, Snapshot};
use weighbridge::convert::{self, AsOf};
use weighbridge::domain::alias::fold;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::registry::{ImportFile, ImportRequest, Registry};
use weighbridge::store::{
    Batch, BoxFuture, Commit, MemoryStore, Record, Revision, Sink, Store, StoreError, StoreStatus, Take, Version, Write,
};

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
    let license = pb::License {
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
    };
    let request = pb::UpdateLicenseRequest {
        license: Some(license),
        update_mask: whole(),
        allow_missing: true,
        ..Default::default()
    };
    registry.update_license(request).await.unwrap();
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
    registry.create_named("one", Some(waiver), false).await.unwrap();
    let request = pb::DeleteLicenseRequest { name: "licenses/MIT".into(), ..Default::default() };
    registry.delete_license(request).await.unwrap();
    delete(registry, llama).await;
    registry.delete_named::<pb::Waiver>("waivers/one", "", false).await.unwrap();
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
