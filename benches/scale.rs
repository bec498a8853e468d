//! What a registry costs as it grows: checks, resolving, pages, counts, import, start and memory, from the built-in catalog to a
//! million models.
//!
//! `cargo bench --bench scale [-- --models 5000,100000,1000000 --rounds 5 --seconds 2 --keep FOLDER]`
//!
//! Every size is a durable store of drawn models (`drawn/`), served by the release binary as a process of its own on one core; the
//! servers of all sizes take turns under the same load from another core. With `--keep` the stores are filled once and stay.
//! Linux only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark stops at the first thing that is not as it expects"
)]

mod asked;
mod binary;
mod drawn;
mod load;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::registry::Registry;
use weighbridge::store::MemoryStore;

use asked::{check, commercial};
use binary::Server;
use load::contest::{Contestant, Spread, Turns, ratio};
use load::{Question, Shape, each, once};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CHECK: &str = "/weighbridge.v1.EligibilityService/CheckEligibility";
const RESOLVE: &str = "/weighbridge.v1.ModelService/ResolveModel";
const LIST: &str = "/weighbridge.v1.ModelService/ListModels";
const AGGREGATE: &str = "/weighbridge.v1.ModelService/AggregateModels";
/// Models that are asked about in turn: more than the caches of a core hold.
const ASKED: usize = 5_000;
const PIPELINED: Shape = Shape { connections: 8, streams: 16 };
const ONE: Shape = Shape { connections: 1, streams: 1 };

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches`, which only wants to know that it starts, does not say this.
    if !arguments.iter().any(|a| a == "--bench") {
        return;
    }
    let after = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    if let Some(folder) = after("--fill") {
        return drawn::fill(after("--models").unwrap().parse().unwrap(), Path::new(&folder));
    }
    let turns = Turns::of(&arguments);
    let templates = templates();
    let sizes = after("--models").unwrap_or_else(|| "5000,100000,1000000".into());
    let sizes = std::iter::once(0).chain(sizes.split(',').map(|size| size.parse().unwrap()));
    let kept = after("--keep").map(PathBuf::from);
    let scratch = tempfile::tempdir().unwrap();
    let folder = kept.as_deref().unwrap_or(scratch.path());
    println!("| models | import s | start ms | resident MiB after it |\n| --- | --- | --- | --- |");
    let sizes: Vec<Size> = sizes.map(|models| Size::start(models, folder, &turns, &templates)).collect();

    compare("check, one model of the catalog", &sizes, PIPELINED, &turns, |size| size.checks(&[KNOWN.to_owned()]));
    let name = format!("check, {ASKED} models in turn");
    compare(&name, &sizes, PIPELINED, &turns, |size| size.checks(&size.names));
    let name = format!("resolve, {ASKED} models in turn");
    compare(&name, &sizes, PIPELINED, &turns, Size::resolves);
    compare("page of 50, three terms, by date", &sizes, ONE, &turns, |size| {
        let filter = "tier = OPEN_WEIGHT AND license.commercial_use = ALLOWED AND context_tokens >= 128k";
        vec![size.list(filter, "release_date desc")]
    });
    compare("counts, three facets of everything", &sizes, ONE, &turns, |size| vec![size.aggregate()]);
    println!("\n| models | resident MiB at the end |\n| --- | --- |");
    for size in &sizes {
        println!("| {} | {:.0} |", size.name, size.server.resident_mib());
    }
}

/// A registry of some size.
struct Size {
    name: String,
    server: Server,
    /// Names of models, spread over all.
    names: Vec<String>,
    /// What checks of these are answered, made once.
    answers: RefCell<Vec<Bytes>>,
}

impl Size {
    /// Fills a store with so many models beside those of the catalog, and serves it.
    fn start(models: u64, folder: &Path, turns: &Turns, templates: &[pb::Model]) -> Self {
        let (store, whole) = (folder.join(models.to_string()), folder.join(format!("{models}.whole")));
        let mut import = "-".to_owned();
        if models > 0 && !whole.exists() {
            let _ = std::fs::remove_dir_all(&store);
            std::fs::create_dir_all(folder).unwrap();
            // With every core: the load has only one of them.
            let mut fill = Command::new("taskset");
            fill.args(["-c", "0,1"]).arg(std::env::current_exe().unwrap());
            fill.args(["--bench", "--models", &models.to_string(), "--fill"]).arg(&store);
            let filled = fill.stderr(Stdio::inherit()).output().unwrap();
            assert!(filled.status.success());
            let told = String::from_utf8(filled.stdout).unwrap();
            import = told.split_whitespace().nth(1).unwrap().to_owned();
            std::fs::write(&whole, "").unwrap();
        }
        let start = || {
            let started = Instant::now();
            let program = turns.on_core(env!("CARGO_BIN_EXE_weighbridge"));
            let options = ["--data-dir", store.to_str().unwrap(), "--decision-log", "off", "--workers", "1"];
            let server = Server::start_with(program, &options);
            once(server.address, CHECK, &check(KNOWN, &commercial(&[])));
            (server, started.elapsed().as_secs_f64() * 1e3)
        };
        // The last one stays; before it, one that is large starts once only.
        let again = if models < 1_000_000 { turns.rounds - 1 } else { 0 };
        let mut took: Vec<f64> = (0..again).map(|_| start().1).collect();
        let (server, last) = start();
        took.push(last);
        let request = pb::ListModelsRequest { page_size: 1, ..Default::default() };
        let all = pb::ListModelsResponse::decode(once(server.address, LIST, &request)).unwrap().total_size;
        println!("| {all} | {import} | {} | {:.0} |", Spread::of(took).shown(0), server.resident_mib());
        assert_eq!(all as usize, templates.len() + models as usize);
        // Without drawn ones those that they are drawn from.
        let number = |i: usize| i as u64 * models / ASKED as u64;
        let name = |i: usize| match models {
            0 => templates[i % templates.len()].name.clone(),
            _ => drawn::draw(templates, number(i)).name,
        };
        let names = (0..ASKED).map(name).collect();
        Self { name: format!("{all} models"), server, names, answers: RefCell::default() }
    }

    fn checks(&self, names: &[String]) -> Vec<Question> {
        let requests: Vec<_> = names.iter().map(|name| check(name, &commercial(&[]))).collect();
        let mut answers = self.answers.borrow_mut();
        if answers.len() != names.len() {
            *answers = each(self.server.address, CHECK, &requests.iter().collect::<Vec<_>>());
            let read = |answer: &Bytes| pb::CheckEligibilityResponse::decode(answer.clone()).unwrap().decision.unwrap();
            assert!(answers.iter().all(|answer| read(answer).verdict() != pb::Verdict::Unspecified));
            let mean = answers.iter().map(Bytes::len).sum::<usize>() / answers.len();
            println!("- {}: {mean} bytes an answer", self.name);
        }
        let question = |(request, answer): (&_, &Bytes)| {
            let answer = answer.clone();
            Question::new(CHECK, request, Box::new(move |other| *other == answer[..]))
        };
        requests.iter().zip(&*answers).map(question).collect()
    }

    fn resolves(&self) -> Vec<Question> {
        let question = |name: &String| {
            let (publisher, model) = name.trim_start_matches("publishers/").split_once("/models/").unwrap();
            let request = pb::ResolveModelRequest { alias: format!("{publisher}/{model}"), ..Default::default() };
            let name = name.clone();
            let judge = move |answer: &[u8]| {
                let answer = pb::ResolveModelResponse::decode(answer).unwrap();
                answer.model.is_some_and(|model| model.name == name)
            };
            Question::new(RESOLVE, &request, Box::new(judge))
        };
        self.names.iter().map(question).collect()
    }

    fn list(&self, filter: &str, order_by: &str) -> Question {
        let (filter, order_by) = (filter.into(), order_by.into());
        self.question(LIST, &pb::ListModelsRequest { filter, order_by, page_size: 50, ..Default::default() })
    }

    fn aggregate(&self) -> Question {
        let fields = ["tier", "license.commercial_use", "release_date"].map(str::to_owned).to_vec();
        self.question(AGGREGATE, &pb::AggregateModelsRequest { fields, ..Default::default() })
    }

    /// Answered as it is answered once, again and again.
    fn question(&self, path: &'static str, request: &impl prost::Message) -> Question {
        let answer = once(self.server.address, path, request);
        Question::new(path, request, Box::new(move |other| *other == answer[..]))
    }
}

/// Of the built-in catalog, and so of every size.
const KNOWN: &str = "meta-llama/Llama-3.3-70B-Instruct";

/// The models of the catalog.
fn templates() -> Vec<pb::Model> {
    let registry = Registry::open(Arc::new(MemoryStore::new()), Arc::new(jiff::Timestamp::now));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    drawn::templates(&runtime.block_on(registry).unwrap())
}

fn compare(what: &str, sizes: &[Size], shape: Shape, turns: &Turns, ask: impl Fn(&Size) -> Vec<Question>) {
    println!("\n## {what}");
    let mut contestants: Vec<Contestant<'_>> = sizes
        .iter()
        .map(|size| Contestant::new(&size.name, size.server.address, size.server.id(), shape, || ask(size)))
        .collect();
    turns.compete(&mut contestants);
    for (at, one) in contestants.iter().enumerate() {
        for other in &contestants[..at] {
            let cpu = ratio(one, other, |round| round.cpu_us).shown(2);
            println!("- {}: {cpu} times the CPU of {}", one.name, other.name);
        }
    }
}
