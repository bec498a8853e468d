//! Lists by filter and order: the index against a plain look at every record, pages against the whole, and what a client
//! is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tonic::Code;
use tonic_types::StatusExt as _;
use weighbridge::catalog::fields::{LicenseField, ModelField, OfferingField, TermsField};
use weighbridge::catalog::filter::{self, Kind, Query, Row as _, Schema};
use weighbridge::catalog::index::{Budget, Costly};
use weighbridge::catalog::{Change, Entry, Layer, ModelRow, Put, Snapshot};
use weighbridge::domain::alias::fold;
use weighbridge::domain::license::{Measured, PermissionStatus};
use weighbridge::domain::model::{BaseModel, BaseRef, Model, Relation};
use weighbridge::domain::name::{LicenseId, ModelName};
use weighbridge::domain::tri::Tri;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::registry::{ListRequest, PageRequest, Registry};
use weighbridge::store::{MemoryStore, Store};

use crate::harness::{TestServer, fields, refused};

async fn registry_on(store: Arc<dyn Store>) -> Registry {
    Registry::open(store, Arc::new(jiff::Timestamp::now)).await.unwrap()
}

fn query(text: &str) -> Query<ModelField> {
    let node = filter::parse(text).unwrap().unwrap();
    filter::check::<ModelField>(&node, &|_, _| String::new()).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
}

/// What each field of the catalog holds, as filters write it.
fn values(snapshot: &Snapshot) -> Vec<(String, Kind, bool, Vec<String>)> {
    let of = |path: String| {
        let field = ModelField::find(&path).unwrap();
        let kind = ModelField::kind(field);
        let mut found = BTreeSet::new();
        for entry in snapshot.models() {
            for value in ModelRow::new(snapshot, entry).values(field).list.iter() {
                found.insert(value.shown(kind));
            }
        }
        // Some that no record holds.
        found.extend(match kind {
            Kind::Integer => vec!["0".to_owned(), "7B".to_owned(), "131072".to_owned()],
            Kind::Date => vec!["2023".to_owned(), "2024-07".to_owned(), "2024-07-15".to_owned()],
            Kind::Text => vec!["nobody".to_owned(), "*".to_owned(), "*a*".to_owned(), "m*".to_owned()],
            Kind::Word { words, .. } => words.iter().map(|word| (*word).to_owned()).collect(),
            Kind::Flag => vec!["true".to_owned(), "false".to_owned()],
            Kind::Amount => Vec::new(),
        });
        (path, kind, ModelField::repeated(field), found.into_iter().collect())
    };
    ModelField::paths().into_iter().map(of).collect()
}

/// Filters over the fields of the catalog.
fn filters(snapshot: &Snapshot) -> impl Strategy<Value = String> + use<> {
    let table = Arc::new(values(snapshot));
    let quoted = |text: &String| {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{escaped}\"")
    };
    let test = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(
        move |(field, operator, value)| {
            let (path, kind, repeated, values) = field.get(&table);
            let operators: &[&str] = match kind {
                _ if *repeated => &[":"],
                Kind::Text | Kind::Flag => &["=", "!=", ":"],
                _ => &["=", "!=", "<", "<=", ">", ">=", ":"],
            };
            format!("{path} {} {}", operator.get(operators), quoted(value.get(values)))
        },
    );
    let words = prop::sample::select(vec!["llama", "qwen", "meta", "3", "instruct", "nothing-like-it", "Llama 3.1"]);
    let leaf = prop_oneof![6 => test, 1 => words.prop_map(|word| format!("\"{word}\""))];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let several = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several().prop_map(|parts| format!("({})", parts.join(" AND "))),
            several().prop_map(|parts| format!("({})", parts.join(" OR "))),
            inner.clone().prop_map(|part| format!("NOT {part}")),
            inner.prop_map(|part| format!("unknown({part})")),
        ]
    })
}

fn drawn<T>(runner: &mut TestRunner, strategy: &impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).unwrap().current()
}

#[track_caller]
fn agrees_with_a_plain_look(snapshot: &Snapshot, text: &str) {
    let query = query(text);
    let found = snapshot.select_models(&query, snapshot.model_index().all(), Budget::default()).unwrap();
    for entry in snapshot.models() {
        let row = snapshot.model_index().row(entry.record.name.as_str()).unwrap();
        let expected = query.holds(&ModelRow::new(snapshot, entry));
        let answer = match (found.yes.contains(row), found.unknown.contains(row)) {
            (true, false) => Tri::True,
            (false, true) => Tri::Unknown,
            (false, false) => Tri::False,
            (true, true) => panic!("{text}: both"),
        };
        assert_eq!(answer, expected, "{text}: {}", entry.record.name);
    }
}

#[tokio::test]
async fn the_index_answers_what_a_look_at_every_record_does() {
    let registry = registry_on(Arc::new(MemoryStore::new())).await;
    let snapshot = registry.snapshot();
    let mut runner = TestRunner::deterministic();
    let filters = filters(&snapshot);
    for path in ModelField::paths() {
        agrees_with_a_plain_look(&snapshot, &format!("{path}:*"));
        agrees_with_a_plain_look(&snapshot, &format!("unknown({path}:*)"));
    }
    for _ in 0..400 {
        agrees_with_a_plain_look(&snapshot, &drawn(&mut runner, &filters));
    }
}

fn asked(filter: &str, order_by: &str, size: i32, token: String) -> ListRequest {
    ListRequest {
        filter: filter.into(),
        order_by: order_by.into(),
        read_mask: vec!["name".into()],
        page: PageRequest { size, token },
        view: None,
    }
}

/// Every page of a list, one after the other.
fn pages(registry: &Registry, filter: &str, order_by: &str, size: i32) -> Vec<String> {
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = registry.list_models("", &asked(filter, order_by, size, token)).unwrap();
        assert!(page.models.len() <= usize::try_from(size).unwrap());
        names.extend(page.models.into_iter().map(|model| model.name));
        token = page.next_page_token;
        if token.is_empty() {
            assert_eq!(usize::try_from(page.total_size).unwrap(), names.len(), "{filter} by {order_by}");
            return names;
        }
    }
}

#[tokio::test]
async fn pages_are_the_whole_list_at_every_size_and_in_every_order() {
    let registry = registry_on(Arc::new(MemoryStore::new())).await;
    let snapshot = registry.snapshot();
    let mut runner = TestRunner::deterministic();
    let filters = filters(&snapshot);
    let ordered: Vec<String> = ModelField::paths()
        .into_iter()
        .filter(|path| !ModelField::repeated(ModelField::find(path).unwrap()) && !path.starts_with("components."))
        .collect();
    let order = (prop::sample::subsequence(ordered, 0..3), any::<bool>(), any::<bool>()).prop_map(|(fields, a, b)| {
        let directions = [a, b].map(|desc| if desc { " desc" } else { "" });
        let parts: Vec<String> = fields.iter().zip(directions).map(|(f, d)| format!("{f}{d}")).collect();
        parts.join(", ")
    });
    for case in 0..24 {
        let (filter, order_by) = (drawn(&mut runner, &filters), drawn(&mut runner, &order));
        // Every model now and then: walks along an index only happen where many rows are left.
        let filter = if case % 3 == 0 { String::new() } else { filter };
        let whole = pages(&registry, &filter, &order_by, 1_000);
        let unique: BTreeSet<&String> = whole.iter().collect();
        assert_eq!(unique.len(), whole.len(), "{filter} by {order_by}");
        assert_eq!(whole, by_sorting(&snapshot, &filter, &order_by), "{filter} by {order_by}");
        for size in [23, 200] {
            assert_eq!(pages(&registry, &filter, &order_by, size), whole, "{filter} by {order_by} in {size}s");
        }
    }
}

/// The list by looking at every record and sorting what is found.
fn by_sorting(snapshot: &Snapshot, filter: &str, order_by: &str) -> Vec<String> {
    let query = (!filter.is_empty()).then(|| query(filter));
    let mut rows: Vec<_> = snapshot
        .models()
        .filter(|entry| query.as_ref().is_none_or(|q| q.holds(&ModelRow::new(snapshot, entry)) == Tri::True))
        .collect();
    rows.sort_by(|a, b| {
        for part in order_by.split(", ").filter(|part| !part.is_empty()) {
            let (path, desc) = part.strip_suffix(" desc").map_or((part, false), |path| (path, true));
            let field = ModelField::find(path).unwrap();
            let (a, b) = (ModelRow::new(snapshot, a), ModelRow::new(snapshot, b));
            let (a, b) = (a.values(field), b.values(field));
            let found = match (a.list.first(), b.list.first()) {
                (Some(a), Some(b)) if desc => b.cmp(a),
                (Some(a), Some(b)) => a.cmp(b),
                (a, b) => b.is_some().cmp(&a.is_some()),
            };
            if found.is_ne() {
                return found;
            }
        }
        a.record.name.cmp(&b.record.name)
    });
    rows.into_iter().map(|entry| entry.record.name.to_string()).collect()
}

fn weights(license: &str) -> Vec<pb::Component> {
    vec![pb::Component {
        kind: pb::component::Kind::ModelWeights as i32,
        availability: pb::component::Availability::Available as i32,
        license_expression: license.into(),
        ..Default::default()
    }]
}

async fn put(registry: &Registry, name: &str, model: pb::Model) {
    let model = pb::Model { name: format!("publishers/{name}"), ..model };
    let request = pb::UpdateModelRequest {
        model: Some(model),
        update_mask: Some(prost_types::FieldMask { paths: vec!["*".into()] }),
        allow_missing: true,
        validate_only: false,
        ..Default::default()
    };
    registry.update_model(request).await.unwrap();
}

/// Writes in any order leave the index as it is built from what is stored.
#[tokio::test]
async fn what_writes_leave_is_what_a_start_builds() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let registry = registry_on(store.clone()).await;
    let made_from = |base: &str| pb::BaseModel {
        model: format!("publishers/{base}"),
        relation: pb::base_model::Relation::FineTune as i32,
        ..Default::default()
    };
    let child =
        |base: &str| pb::Model { components: weights("MIT"), base_models: vec![made_from(base)], ..Default::default() };
    // A child comes before its base, which comes before its own.
    put(&registry, "zed/models/grandchild", child("zed/models/child")).await;
    put(&registry, "zed/models/child", child("acme/models/base")).await;
    put(&registry, "acme/models/base", pb::Model { components: weights("CC-BY-NC-4.0"), ..Default::default() }).await;
    let terms = |registry: &Registry, name: &str| {
        let snapshot = registry.snapshot();
        let entry = snapshot.model_by_name(&format!("publishers/zed/models/{name}")).unwrap().clone();
        let field = ModelField::Terms(TermsField::CommercialUse);
        let shown = |value: &filter::Value<'_>| value.shown(ModelField::kind(field));
        ModelRow::new(&snapshot, &entry).values(field).list.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(terms(&registry, "grandchild"), ["PROHIBITED"]);
    // The base gets a milder license.
    put(&registry, "acme/models/base", pb::Model { components: weights("Apache-2.0"), ..Default::default() }).await;
    assert_eq!(terms(&registry, "grandchild"), ["ALLOWED"]);
    put(&registry, "acme/models/base", pb::Model { components: weights("LicenseRef-Mine"), ..Default::default() })
        .await;
    // The terms of a license come later.
    let mine = pb::License {
        display_name: "Mine".into(),
        url: "https://example.com/mine".into(),
        category: pb::license::Category::NonCommercial as i32,
        confidence: pb::license::Confidence::SecondarySource as i32,
        permissions: Some(pb::Permissions {
            commercial_use: Some(pb::Permission {
                status: pb::permission::Status::Prohibited as i32,
                clause: "1".into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = pb::CreateLicenseRequest {
        license_id: "LicenseRef-Mine".into(),
        license: Some(mine),
        validate_only: false,
        ..Default::default()
    };
    registry.create_license(request).await.unwrap();
    assert_eq!(terms(&registry, "child"), ["PROHIBITED"]);

    let fresh = registry_on(store).await;
    let (grown, built) = (registry.snapshot(), fresh.snapshot());
    assert_eq!(grown.model_count(), built.model_count());
    for entry in grown.models() {
        let other = built.model_entry(&entry.record.name).unwrap();
        for path in ModelField::paths() {
            let field = ModelField::find(&path).unwrap();
            let (a, b) = (ModelRow::new(&grown, entry), ModelRow::new(&built, other));
            assert_eq!(a.values(field), b.values(field), "{}: {path}", entry.record.name);
        }
    }
    let groups = |snapshot: &Snapshot| {
        let mut all: Vec<u64> =
            snapshot.model_index().groups().map(|group| group.among(snapshot.model_index().all()).len()).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(groups(&grown), groups(&built));
    let mut runner = TestRunner::deterministic();
    let filters = filters(&grown);
    for _ in 0..100 {
        agrees_with_a_plain_look(&grown, &drawn(&mut runner, &filters));
    }
}

/// A change of one of a few records: the layer, the record, and what is put; `None` deletes it.
type Step = (Layer, usize, Option<(usize, usize, usize)>);

/// One of a few models: with the parts of a model of the catalog, made from another of the few, or from one of the catalog.
fn drawn_model(catalog: &[Model], at: usize, (parts, base, alias): (usize, usize, usize)) -> Model {
    let name = |at: usize| ModelName::new(["acme", "zed"][at % 2], &format!("model-{at}")).unwrap();
    let base = match base % 8 {
        0..4 if base % 4 != at => Some(BaseRef::Record(name(base % 4))),
        4 => Some(BaseRef::Record(catalog[parts].name.clone())),
        5 => Some(BaseRef::Written("elsewhere".into())),
        _ => None,
    };
    let base = base.map(|model| BaseModel { model, relation: Relation::FineTune, expression: None });
    Model {
        name: name(at),
        aliases: vec![format!("Alias {alias}").into(), format!("{alias}/Of-{at}").into()],
        base_models: base.into_iter().collect(),
        ..catalog[parts].clone()
    }
}

/// Whatever is written in whatever order and in whatever commits leaves the index as it is when only what is left is written,
/// and older snapshots as they were.
#[tokio::test]
async fn no_history_shows_in_the_index() {
    let registry = registry_on(Arc::new(MemoryStore::new())).await;
    let start = registry.snapshot();
    let catalog: Vec<Model> = start.models().step_by(40).map(|entry| entry.record.clone()).collect();
    let licenses: Vec<_> = ["Apache-2.0", "MIT", "LicenseRef-Llama-3.3-Community"]
        .map(|id| start.license_entry(&LicenseId::new(id).unwrap()).unwrap().record.clone())
        .into();
    let mut gates = licenses[2].scale_gates.clone();
    gates.iter_mut().for_each(|gate| gate.measured = Measured::MonthBeforeRelease);
    assert!(!gates.is_empty());
    let change = |(layer, at, what): &Step| match (*at, *what) {
        (at @ 0..4, what) => {
            let model = drawn_model(&catalog, at, what.unwrap_or_default());
            let put = what.map(|_| Put { record: model.clone(), payload: Box::default() });
            Change::Model(*layer, model.name, put)
        }
        (at, what) => {
            let mut license = licenses[at % licenses.len()].clone();
            license.permissions.commercial_use.status = PermissionStatus::Prohibited;
            // A gate that is measured at a model's release makes that date count.
            license.scale_gates = what.filter(|(parts, ..)| parts % 2 == 0).map(|_| gates.clone()).unwrap_or_default();
            let put = what.map(|_| Box::new(Put { record: license.clone(), payload: Box::default() }));
            // The built-in record stays, so that there is one to fall back on.
            Change::License(Layer::Operator, license.id, put)
        }
    };
    let layers = prop::sample::select(vec![Layer::BuiltIn, Layer::Imported, Layer::Operator]);
    let what = prop::option::weighted(0.7, (0..catalog.len(), 0..8_usize, 0..3_usize));
    let commits = prop::collection::vec(prop::collection::vec((layers, 0..7_usize, what), 1..5), 1..8);
    let shown = |snapshot: &Snapshot| {
        let mut shown = Vec::new();
        // The few, and some of the catalog, under the licenses that change as well.
        let few = |entry: &Entry<Model>| ["acme", "zed"].contains(&entry.record.name.publisher());
        for (_, entry) in snapshot.models().enumerate().filter(|(at, entry)| at % 50 == 0 || few(entry)) {
            let row = ModelRow::new(snapshot, entry);
            for path in ModelField::paths().into_iter().filter(|path| path != "revision") {
                shown.push(format!(
                    "{}: {path}: {:?}",
                    entry.record.name,
                    row.values(ModelField::find(&path).unwrap())
                ));
            }
        }
        let ids = (0..3).flat_map(|alias| (0..4).map(move |at| format!("{alias}/Of-{at}")));
        for id in ids.chain((0..3).map(|alias| format!("Alias {alias}"))).chain(["acme/model-0".into()]) {
            let aliases = snapshot.aliases();
            shown.push(format!("{id}: {:?} {:?}", aliases.exact(&id), aliases.folded(&fold(&id))));
        }
        let index = snapshot.model_index();
        let mut groups: Vec<Vec<&str>> = (index.groups())
            .map(|group| {
                group.among(index.all()).iter().map(|row| index.entry(row).unwrap().record.name.as_str()).collect()
            })
            .collect();
        groups.iter_mut().for_each(|names: &mut Vec<&str>| names.sort_unstable());
        groups.sort_unstable();
        shown.push(format!("{groups:?}"));
        shown
    };
    let mut runner = TestRunner::deterministic();
    for round in 0..40 {
        let history = drawn(&mut runner, &commits);
        let (mut grown, mut last, mut kept) = ((*start).clone(), BTreeMap::new(), None);
        for (revision, commit) in (start.revision() + 1..).zip(&history) {
            grown.apply(revision, commit.iter().map(change).collect());
            last.extend(commit.iter().map(|step| ((if step.1 < 4 { Some(step.0) } else { None }, step.1 % 7), step)));
            if kept.is_none() {
                kept = Some((grown.clone(), shown(&grown)));
            }
        }
        let mut built = (*start).clone();
        built.apply(start.revision() + 1, last.values().rev().map(|step| change(step)).collect());
        let (grown_shows, built_shows) = (shown(&grown), shown(&built));
        let differs = grown_shows.iter().zip(&built_shows).find(|(a, b)| a != b);
        assert!(differs.is_none() && grown_shows.len() == built_shows.len(), "{round}: {differs:?} after {history:?}");
        if let Some((older, showed)) = kept {
            assert!(shown(&older) == showed, "{round}: an older snapshot changed by {history:?}");
        }
        for text in
            ["license.commercial_use = ALLOWED", "unknown(license.commercial_use = ALLOWED)", "model-1", "ancestors:*"]
        {
            agrees_with_a_plain_look(&grown, text);
        }
    }
}

#[tokio::test]
async fn pages_stay_with_the_revision_of_the_first() {
    let registry = registry_on(Arc::new(MemoryStore::new())).await;
    let before = pages(&registry, "", "release_date desc", 1_000);
    let first = registry.list_models("", &asked("", "release_date desc", 10, String::new())).unwrap();
    let mut names: Vec<String> = first.models.iter().map(|model| model.name.clone()).collect();
    let mut token = first.next_page_token.clone();
    let mut writes = 0;
    while !token.is_empty() {
        // Models come, change their place and go while the list is read.
        let model = pb::Model { release_date: "2027-01-01".into(), components: weights("MIT"), ..Default::default() };
        if writes < 10 {
            put(&registry, &format!("acme/models/new-{writes}"), model).await;
            writes += 1;
        }
        let page = registry.list_models("", &asked("", "release_date desc", 100, token)).unwrap();
        assert_eq!(page.revision, first.revision);
        names.extend(page.models.into_iter().map(|model| model.name));
        token = page.next_page_token;
    }
    assert_eq!(names, before);
    assert_eq!(pages(&registry, "", "release_date desc", 1_000).len(), before.len() + writes);
    // A list that nobody went on with for long is over.
    for i in 0..20 {
        put(
            &registry,
            &format!("acme/models/newer-{i}"),
            pb::Model { components: weights("MIT"), ..Default::default() },
        )
        .await;
        registry.list_models("", &asked("", "", 5, String::new())).unwrap();
    }
    let late = registry.list_models("", &asked("", "release_date desc", 10, first.next_page_token.clone()));
    assert!(late.unwrap_err().to_string().contains("start again"));
    // A token is of one list.
    for (filter, order_by) in [("", ""), ("tier = OPEN_WEIGHT", "release_date desc")] {
        let other = registry.list_models("", &asked(filter, order_by, 10, first.next_page_token.clone()));
        assert!(other.unwrap_err().to_string().contains("not one of this list"));
    }
}

#[tokio::test]
async fn hostile_filters_are_refused_or_answered() {
    let registry = registry_on(Arc::new(MemoryStore::new())).await;
    let list = |filter: &str| registry.list_models("", &asked(filter, "", 5, String::new()));
    assert!(list(&"x".repeat(64 * 1024)).is_err());
    assert!(list(&"a ".repeat(10_000)).is_err());
    assert!(list(&"(".repeat(10_000)).is_err());
    assert!(list(&vec!["tier = OPEN_WEIGHT"; 600].join(" OR ")).is_ok());
    assert!(list(&format!("display_name = \"{}b\"", "a*".repeat(5_000))).is_ok());
    // What would look into more records than it may says so instead of taking its time.
    let snapshot = registry.snapshot();
    let text = vec!["NOT display_name = \"*x*\""; 20].join(" AND ");
    let all = snapshot.model_index().all();
    assert_eq!(snapshot.select_models(&query(&text), all, Budget(5_000)), Err(Costly));
    assert!(snapshot.select_models(&query(&text), all, Budget(100_000)).is_ok());
}

#[tokio::test]
async fn a_client_is_told_what_is_wrong_with_its_list() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    let request = pb::ListModelsRequest {
        filter: "teir = OPEN AND context_tokens > many".into(),
        order_by: "relaese_date desc, aliases, name up".into(),
        page_size: -1,
        ..Default::default()
    };
    let status = refused(models.list_models(request).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["filter", "filter", "order_by", "order_by", "order_by", "page_size"]);
    let told: Vec<String> =
        status.get_details_bad_request().unwrap().field_violations.into_iter().map(|v| v.description).collect();
    assert!(told[0].contains("at character 1") && told[0].contains("`tier`"), "{told:?}");
    assert!(told[1].contains("at character 34") && told[1].contains("128k"), "{told:?}");
    assert!(told[2].contains("`release_date`"), "{told:?}");
    let request = pb::ListModelsRequest {
        read_mask: Some(prost_types::FieldMask { paths: vec!["nmae".into(), "components.kind".into()] }),
        ..Default::default()
    };
    let status = refused(models.list_models(request).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["read_mask"]);

    let request = pb::ListModelsRequest {
        filter: "publisher = meta AND license.commercial_use != PROHIBITED".into(),
        read_mask: Some(prost_types::FieldMask { paths: vec!["name".into(), "components.kind".into()] }),
        ..Default::default()
    };
    let page = models.list_models(request).await.unwrap().into_inner();
    assert!(page.total_size > 5 && page.revision > 0);
    for model in &page.models {
        assert!(!model.name.is_empty() && model.display_name.is_empty() && model.tier == 0);
        assert!(model.components.iter().all(|c| c.kind != 0 && c.license_expression.is_empty() && c.availability == 0));
    }
}

#[tokio::test]
async fn counts_are_those_of_the_lists() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    let request = pb::AggregateModelsRequest {
        filter: "publisher = (meta OR google)".into(),
        fields: vec!["tier".into(), "license.commercial_use".into(), "input_modalities".into(), "publisher".into()],
        ..Default::default()
    };
    let counted = models.aggregate_models(request).await.unwrap().into_inner();
    assert_eq!(counted.facets.len(), 4);
    for facet in &counted.facets {
        assert_eq!(usize::try_from(facet.distinct_values).unwrap(), facet.values.len());
        assert!(facet.values.is_sorted_by(|a, b| a.models >= b.models), "{facet:?}");
        for count in &facet.values {
            let operator = if facet.field == "input_modalities" { ":" } else { "=" };
            let filter = format!("publisher = (meta OR google) AND {} {operator} \"{}\"", facet.field, count.value);
            let request = pb::ListModelsRequest { filter, page_size: 1, ..Default::default() };
            let listed = models.list_models(request).await.unwrap().into_inner().total_size;
            assert_eq!(listed, count.models, "{} {}", facet.field, count.value);
        }
    }
    let request = pb::AggregateModelsRequest {
        fields: vec!["name".into(), "teir".into()],
        max_values: 5_000,
        ..Default::default()
    };
    let status = refused(models.aggregate_models(request).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["max_values", "fields[0]", "fields[1]"]);
}

#[tokio::test]
async fn licenses_are_listed_by_their_terms() {
    let server = TestServer::in_memory();
    let mut client = LicenseServiceClient::new(server.connect().await);
    let mut list = async |filter: &str, order_by: &str| {
        let request = pb::ListLicensesRequest {
            filter: filter.into(),
            order_by: order_by.into(),
            page_size: 1_000,
            ..Default::default()
        };
        client.list_licenses(request).await.unwrap().into_inner()
    };
    let all = list("", "").await;
    let barred = list("commercial_use = PROHIBITED", "display_name desc").await;
    assert!(barred.total_size > 10 && barred.total_size < all.total_size);
    assert!(barred.licenses.is_sorted_by(|a, b| a.display_name >= b.display_name));
    let gated = list("scale_gates.monthly_active_users >= 700M AND license.commercial_use != PROHIBITED", "").await;
    assert!(gated.licenses.iter().any(|license| license.name.contains("Llama-3.3")), "{}", gated.total_size);
    assert!(list("llama 3", "").await.licenses.iter().all(|license| license.name.contains("Llama-3")));
}

#[test]
fn every_field_is_found_by_its_path() {
    fn check<S: Schema>() {
        for path in S::paths() {
            assert!(S::find(&path).is_some(), "{path}");
        }
    }
    check::<ModelField>();
    check::<LicenseField>();
    check::<OfferingField>();
}
