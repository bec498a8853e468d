//! One decision in this process: `cargo bench --bench decision`.
//!
//! What costs most is a model with bespoke terms of its own and two ancestors with others. Beside it stand a permissive
//! license, and the verdict alone, which keeps no finding.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark stops at the first thing that is not as it expects"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use weighbridge::catalog::{PolicySet, Snapshot};
use weighbridge::convert::{self, text};
use weighbridge::domain::date::Date;
use weighbridge::domain::eligibility::{
    Activity, BusinessTypes, Hosting, OrganizationType, Purpose, Use, Waivers, evaluate, verdict,
};
use weighbridge::domain::license::Expression;
use weighbridge::domain::model::{BaseModel, BaseRef, Model, Relation};
use weighbridge::domain::name::ModelName;
use weighbridge::domain::place::{Country, CountrySet};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::registry::Registry;
use weighbridge::store::MemoryStore;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn catalog() -> Arc<Snapshot> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let registry = Registry::open(Arc::new(MemoryStore::new()), Arc::new(jiff::Timestamp::now));
    runtime.block_on(registry).unwrap().snapshot()
}

fn model(catalog: &Snapshot, alias: &str) -> Model {
    let [name] = catalog.aliases().exact(alias)[..] else { panic!("{alias} is not one model") };
    catalog.model_entry(name).unwrap().record.clone()
}

/// Under the DeepSeek license, merged from a Llama and a Qwen.
fn two_ancestors(catalog: &Snapshot) -> Model {
    let mut merged = model(catalog, "allenai/OLMo-2-1124-7B");
    merged.name = ModelName::new("bench", "merged").unwrap();
    merged.components[0].expression = Some(Expression::parse("LicenseRef-DeepSeek-Model-1.0").unwrap());
    let base = |alias: &str| BaseModel {
        model: BaseRef::Record(model(catalog, alias).name),
        relation: Relation::Merge,
        expression: None,
    };
    merged.base_models = vec![base("meta-llama/Llama-3.3-70B-Instruct"), base("Qwen/Qwen2.5-72B-Instruct")].into();
    merged
}

fn use_() -> Use {
    let mut countries = CountrySet::default();
    countries.insert(Country::parse("US").unwrap());
    let mut out = Use {
        purpose: Some(Purpose::Commercial),
        hosting: Some(Hosting::SelfHosted),
        deployment_countries: Some(countries),
        end_user_countries: Some(countries),
        activities: [Activity::OfferAsService].into_iter().collect(),
        ..Use::default()
    };
    out.organization.country = Country::parse("US");
    out.organization.kind = Some(OrganizationType::Company);
    out.organization.business_types = BusinessTypes::Known(Vec::new());
    out.organization.monthly_active_users = Some(1_000_000);
    out
}

fn decisions(criterion: &mut Criterion) {
    let catalog = catalog();
    let (use_, now) = (use_(), Date::parse("2026-06-01").unwrap());
    let cases = [
        ("permissive", model(&catalog, "allenai/OLMo-2-1124-7B")),
        ("bespoke", model(&catalog, "meta-llama/Llama-3.3-70B-Instruct")),
        ("bespoke, two ancestors", two_ancestors(&catalog)),
    ];
    for (name, model) in &cases {
        let decide = || evaluate(&*catalog, black_box(model), black_box(&use_), now, Waivers::default());
        let decision = decide();
        println!("{name}: {} with {} findings", decision.verdict, decision.findings.len());
        criterion.bench_function(&format!("decision, {name}"), |b| b.iter(decide));
        criterion.bench_function(&format!("verdict, {name}"), |b| {
            b.iter(|| verdict(&*catalog, black_box(model), black_box(&use_), now, Waivers::default()));
        });
    }
}

/// The twenty policies of `benches/peers/`.
fn twenty() -> PolicySet {
    let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/policies.yaml")).unwrap();
    let tree = text::parse(&text, text::Syntax::Yaml, &text::Limits::default()).unwrap();
    let descriptor = convert::descriptor("weighbridge.v1.Policy").unwrap();
    let list = tree["policies"].as_array().unwrap();
    let read = |tree| convert::policy(&text::read_as::<pb::Policy>(tree, &descriptor).unwrap(), "").unwrap();
    list.iter().map(|tree| Arc::new(read(tree))).collect()
}

/// What policies add to a decision: none, and twenty of which none is met.
fn policies(criterion: &mut Criterion) {
    let catalog = catalog();
    let ruled = catalog.with_policy_set(twenty());
    let now = Date::parse("2026-06-01").unwrap();
    let label = |key: &str, value: &str| (Box::from(key), Box::from(value));
    let mut use_ = use_();
    use_.labels = vec![
        label("criticality", "low"),
        label("data-agreement", "2026-7"),
        label("environment", "staging"),
        label("owner", "search"),
        label("service", "chat"),
    ];
    for (name, alias) in [("permissive", "allenai/OLMo-2-1124-7B"), ("bespoke", "meta-llama/Llama-3.3-70B-Instruct")] {
        let model = model(&catalog, alias);
        for (count, on) in [("no policies", &*catalog), ("20 policies", &ruled)] {
            let decide = || evaluate(on, black_box(&model), black_box(&use_), now, Waivers::default());
            let decision = decide();
            let met: Vec<_> = decision.findings.iter().filter_map(|f| f.policy()).map(|p| &*p.name).collect();
            println!("{name}, {count}: {} with {} findings, met {met:?}", decision.verdict, decision.findings.len());
            criterion.bench_function(&format!("decision, {name}, {count}"), |b| b.iter(decide));
            criterion.bench_function(&format!("verdict, {name}, {count}"), |b| {
                b.iter(|| verdict(on, black_box(&model), black_box(&use_), now, Waivers::default()));
            });
        }
    }
}

criterion_group!(benches, decisions, policies);
criterion_main!(benches);
