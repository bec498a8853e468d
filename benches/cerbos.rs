//! The twenty policies of `benches/peers/` here and in Cerbos: the same answers where facts are complete, and the time of both.
//!
//! `cargo bench --bench cerbos -- --cerbos PROGRAM [--requests 20000]`; with `cargo test --bench cerbos -- --cerbos PROGRAM --check` only
//! the answers are compared. PROGRAM is the server itself: in the npm package `cerbos` it is
//! `node_modules/@cerbos/cerbos-linux-x64/cerbos-linux-x64`.
//!
//! Both servers are processes of their own and are asked over gRPC by the same client. Ours makes the whole decision beside the
//! policies (license terms, lineage, duties); Cerbos is given the facts of the model in each request.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a benchmark stops at the first thing that is not as it expects"
)]

mod binary;
mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use binary::{Server, cpu_of};
use peers::{CERBOS_CHECK, Cerbos, FOLDER, activity, api, ask, connect, list_of, of, principal, question, text_of};
use prost_types::Value as Attribute;
use prost_types::value::Kind as ValueKind;
use tonic::transport::Channel;
use weighbridge::catalog::fields::ModelField;
use weighbridge::catalog::filter::{Kind, Row as _, Schema as _, Value};
use weighbridge::catalog::{ModelRow, PolicySet, Snapshot};
use weighbridge::convert::{self, text};
use weighbridge::domain::date::Date;
use weighbridge::domain::eligibility::{Detail, Waivers, evaluate, verdict};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::policy_service_client::PolicyServiceClient;
use weighbridge::registry::Registry;
use weighbridge::store::MemoryStore;

const OUR_CHECK: &str = "/weighbridge.v1.EligibilityService/CheckEligibility";
const POLICIES: usize = 20;
/// `EFFECT_DENY`.
const DENIED: i32 = 2;
/// Calls under way at once.
const STREAMS: usize = 32;

/// The policies as they are written.
fn written() -> Vec<pb::Policy> {
    let text = std::fs::read(Path::new(FOLDER).join("policies.yaml")).unwrap();
    let tree = text::parse(&text, text::Syntax::Yaml, &text::Limits::default()).unwrap();
    let descriptor = convert::descriptor("weighbridge.v1.Policy").unwrap();
    let list = tree["policies"].as_array().unwrap();
    list.iter().map(|tree| text::read_as(tree, &descriptor).unwrap()).collect()
}

// ---- facts

/// A value of a field as others write it.
fn attribute(field: ModelField, value: &Value<'_>) -> Attribute {
    match value {
        Value::Flag(flag) => of(ValueKind::BoolValue(*flag)),
        Value::Word(at) => {
            let Kind::Word { words, .. } = ModelField::kind(field) else { panic!("{field:?} has words") };
            text_of(words[usize::from(*at)])
        }
        Value::Integer(number) | Value::Amount(number) => of(ValueKind::NumberValue(*number as f64)),
        Value::Date(date) => of(ValueKind::NumberValue(date.to_string()[..4].parse().unwrap())),
        Value::Text(text) => text_of(&**text),
    }
}

/// What is known of a model, with the terms that hold for it.
fn facts_of(row: &ModelRow<'_>) -> BTreeMap<String, Attribute> {
    let mut facts = BTreeMap::new();
    for (key, path) in [
        ("tier", "tier"),
        ("license_evidence", "license_evidence"),
        ("publisher", "publisher"),
        ("parameters_total", "parameters.total"),
        ("context_tokens", "context_tokens"),
        ("output_modalities", "output_modalities"),
        ("release_year", "release_date"),
        ("commercial_use", "license.commercial_use"),
        ("excluded_countries", "license.excluded_countries"),
        ("train_other_models", "license.train_other_models"),
        ("scale_gates", "license.scale_gates"),
        ("duties", "license.duties"),
        ("osi_approved", "license.osi_approved"),
        ("revocable", "license.revocable"),
    ] {
        let field = ModelField::find(path).unwrap_or_else(|| panic!("there is no field {path}"));
        let values = row.values(field);
        let list: Vec<Attribute> = values.list.iter().map(|value| attribute(field, value)).collect();
        if ModelField::repeated(field) {
            // What is known of it, where it may hold more.
            facts.insert(key.to_owned(), list_of(list));
        } else if values.open {
            // Nobody knows.
        } else if let [one] = &list[..] {
            facts.insert(key.to_owned(), one.clone());
        }
    }
    facts
}

/// Numbers that look random, and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn some(&mut self, of: &[&str]) -> Vec<String> {
        of.iter().filter(|_| self.below(2) == 0).map(|word| (*word).to_owned()).collect()
    }
}

/// A use of which all is said.
fn some_use(numbers: &mut Numbers) -> pb::Use {
    let mut labels: BTreeMap<String, String> = [
        ("environment", &["production", "staging"][..]),
        ("risk", &["assessed", "open"]),
        ("service", &["summaries", "chat"]),
        ("criticality", &["high", "low"]),
    ]
    .into_iter()
    .map(|(key, values)| (key.to_owned(), numbers.one(values).to_owned()))
    .collect();
    for key in numbers.some(&["owner", "data-agreement"]) {
        labels.insert(key, "x".to_owned());
    }
    let users = numbers.one(&[1_000_i64, 200_000_000, 900_000_000]);
    let words = ["FINE_TUNE", "TRAIN_OTHER_MODELS", "OFFER_AS_SERVICE", "REDISTRIBUTE_WEIGHTS"];
    let activities = numbers.some(&words).iter().map(|word| activity(word)).collect();
    let hosting = numbers.one(&[pb::Hosting::SelfHosted, pb::Hosting::VendorApi, pb::Hosting::OnPremises]);
    pb::Use {
        purpose: numbers.one(&[pb::Purpose::Commercial, pb::Purpose::Research]).into(),
        hosting: hosting.into(),
        provider: if hosting == pb::Hosting::VendorApi { "openai".into() } else { String::new() },
        organization: Some(pb::Organization {
            country: "DE".into(),
            r#type: numbers.one(&[pb::organization::Type::Company, pb::organization::Type::Government]).into(),
            business_types: vec!["none".into()],
            monthly_active_users: Some(users),
            daily_active_users: Some(users / 10),
            annual_revenue_usd: Some(users),
            monthly_revenue_usd: Some(users / 12),
            employee_count: Some(50),
        }),
        deployment_countries: vec![numbers.one(&["DE", "US", "CN"]).into()],
        end_user_countries: vec![numbers.one(&["DE", "US", "CN"]).into()],
        activities,
        categories: numbers.some(&["medical-advice"]),
        labels,
        ..Default::default()
    }
}

/// The policies that an answer says are met.
fn met(answer: &api::Checked) -> BTreeSet<String> {
    let denied = answer.results.iter().flat_map(|result| &result.actions).filter(|(_, effect)| **effect == DENIED);
    denied.map(|(action, _)| action.clone()).collect()
}

// ---- the same answers

fn snapshot() -> Arc<Snapshot> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let registry = Registry::open(Arc::new(MemoryStore::new()), Arc::new(jiff::Timestamp::now));
    runtime.block_on(registry).unwrap().snapshot()
}

#[derive(Default)]
struct Compared {
    checks: usize,
    answers: usize,
    met: BTreeMap<String, usize>,
    undecided: usize,
    left_out: usize,
}

async fn compare(cerbos: &Channel, plain: &Snapshot) -> Compared {
    let written = written();
    assert_eq!(written.len(), POLICIES);
    let short = |name: &str| name.trim_start_matches("policies/").to_owned();
    let actions: Vec<String> = written.iter().map(|policy| short(&policy.name)).collect();
    let set: PolicySet = written.iter().map(|policy| Arc::new(convert::policy(policy, "").unwrap())).collect();
    let ruled = plain.with_policy_set(set);
    let day = Date::parse("2026-06-01").unwrap();
    let mut numbers = Numbers(1);
    let mut compared = Compared::default();
    for entry in plain.models() {
        let model = &entry.record;
        for _ in 0..3 {
            let message = some_use(&mut numbers);
            let request =
                pb::CheckEligibilityRequest { model: "x".into(), r#use: Some(message.clone()), ..Default::default() };
            let use_ = convert::check_request(request, None, &plain.reference().vocabulary).unwrap().use_;
            let decision = evaluate(&ruled, model, &use_, day, Waivers::default());
            let (mut ours, mut undecided) = (BTreeSet::new(), BTreeSet::new());
            for finding in decision.findings.iter() {
                if let Detail::Policy { policy, is_certain, .. } = &finding.detail {
                    let name = short(&policy.name);
                    if *is_certain {
                        ours.insert(name)
                    } else {
                        undecided.insert(name)
                    };
                }
            }
            let mut facts = facts_of(&ModelRow::new(plain, entry));
            let before = verdict(plain, model, &use_, day, Waivers::default());
            facts.insert("verdict".into(), text_of(before.to_string()));
            let question = question(principal(&message), model.name.as_str(), facts, actions.clone());
            let answer: api::Checked = ask(cerbos, CERBOS_CHECK, question).await.unwrap();
            let theirs = met(&answer);
            let decided = |all: &BTreeSet<String>| all.difference(&undecided).cloned().collect::<BTreeSet<_>>();
            assert_eq!(decided(&theirs), ours, "{} {message:#?}", model.name);
            compared.checks += 1;
            compared.answers += POLICIES - undecided.len();
            compared.undecided += undecided.len();
            compared.left_out += undecided.difference(&theirs).count();
            ours.into_iter().for_each(|name| *compared.met.entry(name).or_default() += 1);
        }
    }
    compared
}

// ---- the time of both

struct Timed {
    rate: f64,
    cpu_us: f64,
    p50_us: u128,
    p99_us: u128,
}

async fn timed<Q, A>(address: SocketAddr, process: &str, path: &'static str, request: &Q, count: usize) -> Timed
where
    Q: prost::Message + Clone + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let channel = connect(address).await;
    for _ in 0..count / 10 {
        ask::<Q, A>(&channel, path, request.clone()).await.unwrap();
    }
    // One after the other: how long one takes.
    let mut took = Vec::with_capacity(count / 4);
    for _ in 0..count / 4 {
        let started = Instant::now();
        ask::<Q, A>(&channel, path, request.clone()).await.unwrap();
        took.push(started.elapsed().as_micros());
    }
    took.sort_unstable();
    let (before, started) = (cpu_of(process), Instant::now());
    let asking: Vec<_> = (0..STREAMS)
        .map(|_| {
            let (channel, request) = (channel.clone(), request.clone());
            tokio::spawn(async move {
                for _ in 0..count / STREAMS {
                    ask::<Q, A>(&channel, path, request.clone()).await.unwrap();
                }
            })
        })
        .collect();
    for task in asking {
        task.await.unwrap();
    }
    let calls = (count / STREAMS * STREAMS) as f64;
    Timed {
        rate: calls / started.elapsed().as_secs_f64(),
        cpu_us: (cpu_of(process) - before) * 1e6 / calls,
        p50_us: took[took.len() / 2],
        p99_us: took[took.len() * 99 / 100],
    }
}

async fn measure(cerbos: &Cerbos, plain: &Snapshot, count: usize) {
    const MODEL: &str = "allenai/OLMo-2-1124-7B";
    let ours = Server::start(&["--store", "memory", "--decision-log", "off", "--workers", "1"]);
    let mut client = PolicyServiceClient::new(connect(ours.address).await);
    let mut use_ = some_use(&mut Numbers(7));
    use_.labels = [
        ("criticality", "low"),
        ("data-agreement", "x"),
        ("environment", "staging"),
        ("owner", "x"),
        ("risk", "assessed"),
        ("service", "chat"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    (use_.hosting, use_.provider) = (pb::Hosting::SelfHosted.into(), String::new());
    (use_.deployment_countries, use_.end_user_countries) = (vec!["DE".into()], vec!["DE".into()]);
    use_.activities = vec![activity("OFFER_AS_SERVICE")];
    use_.organization.as_mut().unwrap().r#type = pb::organization::Type::Company.into();
    let request = pb::CheckEligibilityRequest { model: MODEL.into(), r#use: Some(use_.clone()), ..Default::default() };
    let process = ours.id().to_string();
    let [name] = plain.aliases().exact(MODEL)[..] else { panic!("{MODEL} is one model") };
    let entry = plain.model_entry(name).unwrap();
    let mut facts = facts_of(&ModelRow::new(plain, entry));
    facts.insert("verdict".into(), text_of("ELIGIBLE"));
    // What denies it, the duty, and what is not enforced: each of the rules is held against it once.
    let question = question(principal(&use_), MODEL, facts, ["use", "p12", "p19"].map(str::to_owned).to_vec());
    println!("\nserver                          calls/s  CPU us a call   p50 us   p99 us");
    let show = |name: &str, timed: &Timed| {
        let Timed { rate, cpu_us, p50_us, p99_us } = timed;
        println!("{name:<30} {rate:>8.0} {cpu_us:>14.1} {p50_us:>8} {p99_us:>8}");
    };
    type Answer = pb::CheckEligibilityResponse;
    let bare = timed::<_, Answer>(ours.address, &process, OUR_CHECK, &request, count).await;
    show("weighbridge, no policies", &bare);
    for policy in written() {
        let policy_id = policy.name.trim_start_matches("policies/").to_owned();
        let policy = Some(pb::Policy { name: String::new(), ..policy });
        client.create_policy(pb::CreatePolicyRequest { policy_id, policy, ..Default::default() }).await.unwrap();
    }
    let ruled = timed::<_, Answer>(ours.address, &process, OUR_CHECK, &request, count).await;
    show("weighbridge, 20 policies", &ruled);
    let process = cerbos.id().to_string();
    let theirs = timed::<_, api::Checked>(cerbos.address, &process, CERBOS_CHECK, &question, count).await;
    show("cerbos, the same 20 policies", &theirs);
    println!(
        "cerbos / weighbridge: {:.1}x the CPU, {:.1}x fewer calls/s",
        theirs.cpu_us / ruled.cpu_us,
        ruled.rate / theirs.rate
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let Some(program) = after("--cerbos") else {
        println!("give the Cerbos server: cargo bench --bench cerbos -- --cerbos PROGRAM");
        return;
    };
    let plain = snapshot();
    let cerbos = Cerbos::start(program, "policies.cerbos.yaml");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let compared = runtime.block_on(async { compare(&connect(cerbos.address).await, &plain).await });
    let Compared { checks, answers, met, undecided, left_out } = compared;
    println!("{checks} checks, {answers} answers of policies: all the same; met: {met:?}");
    println!(
        "undecided here, since a fact is not known, and so a review: {undecided}; of those Cerbos says nothing: {left_out}"
    );
    // Each policy was met, or the comparison says little of it.
    assert_eq!(met.len(), POLICIES - 1, "{met:?}");
    if !arguments.iter().any(|argument| argument == "--check") {
        let count = after("--requests").map_or(20_000, |text| text.parse().unwrap());
        runtime.block_on(measure(&cerbos, &plain, count));
    }
}
