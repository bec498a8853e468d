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

mod binary;
mod drawn;
mod load;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use prost::Message as _;
use weighbridge::pb::weighbridge::v1 as pb;

use binary::Server;
use load::contest::{Contestant, Spread, Turns, ratio};
use load::{Question, Shape, once};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CHECK: &str = "/weighbridge.v1.EligibilityService/CheckEligibility";
const RESOLVE: &str = "/weighbridge.v1.ModelService/ResolveModel";
const LIST: &str = "/weighbridge.v1.ModelService/ListModels";
const AGGREGATE: &str = "/weighbridge.v1.ModelService/AggregateModels";
/// Models that are asked about in turn.
const ASKED: usize = 1_000;
const PIPELINED: Shape = Shape { connections: 8, streams: 16 };
const ONE: Shape = Shape { connections: 1, streams: 1 };

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` only wants to know that it starts.
    if arguments.iter().any(|a| a == "--test") {
        return;
    }
    let after = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    if let Some(folder) = after("--fill") {
        return drawn::fill(after("--models").unwrap().parse().unwrap(), Path::new(&folder));
    }
    let turns = Turns::of(&arguments);
    let sizes = after("--models").unwrap_or_else(|| "5000,100000,1000000".into());
    let sizes = std::iter::once(0).chain(sizes.split(',').map(|size| size.parse().unwrap()));
    let kept = after("--keep").map(PathBuf::from);
    let scratch = tempfile::tempdir().unwrap();
    let folder = kept.as_deref().unwrap_or(scratch.path());
    println!("| models | import s | start ms | resident MiB after it |\n| --- | --- | --- | --- |");
    let sizes: Vec<Size> = sizes.map(|models| Size::start(models, folder, &turns)).collect();

    compare("check, one model of the catalog", &sizes, PIPELINED, &turns, |size| vec![size.check(size.known())]);
    let name = format!("check, {ASKED} models in turn");
    compare(&name, &sizes, PIPELINED, &turns, |size| size.names.iter().map(|name| size.check(name.clone())).collect());
    let name = format!("resolve, {ASKED} models in turn");
    compare(&name, &sizes, PIPELINED, &turns, |size| size.names.iter().map(|name| size.resolve(name)).collect());
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
}

impl Size {
    /// Fills a store with so many models beside those of the catalog, and serves it.
    fn start(models: u64, folder: &Path, turns: &Turns) -> Self {
        let store = folder.join(models.to_string());
        let mut import = "-".to_owned();
        if models > 0 && !store.exists() {
            std::fs::create_dir_all(folder).unwrap();
            let started = Instant::now();
            let mut fill = Command::new(std::env::current_exe().unwrap());
            fill.args(["--models", &models.to_string(), "--fill"]).arg(&store).stdout(Stdio::null());
            assert!(fill.status().unwrap().success());
            import = format!("{:.1}", started.elapsed().as_secs_f64());
        }
        let start = || {
            let started = Instant::now();
            let program = turns.on_core(env!("CARGO_BIN_EXE_weighbridge"));
            let options = ["--data-dir", store.to_str().unwrap(), "--decision-log", "off", "--workers", "1"];
            let server = Server::start_with(program, &options);
            once(server.address, CHECK, &check(KNOWN.into()));
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
        let names = names(&server);
        Self { name: format!("{all} models"), server, names }
    }

    fn known(&self) -> String {
        KNOWN.into()
    }

    fn check(&self, model: String) -> Question {
        self.question(CHECK, &check(model))
    }

    fn resolve(&self, name: &str) -> Question {
        let (publisher, model) = name.trim_start_matches("publishers/").split_once("/models/").unwrap();
        let alias = format!("{publisher}/{model}");
        self.question(RESOLVE, &pb::ResolveModelRequest { alias, ..Default::default() })
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

fn check(model: String) -> pb::CheckEligibilityRequest {
    let use_ = pb::Use {
        purpose: pb::Purpose::Commercial as i32,
        hosting: pb::Hosting::SelfHosted as i32,
        organization: Some(pb::Organization {
            country: "US".into(),
            r#type: pb::organization::Type::Company as i32,
            monthly_active_users: Some(1_000_000),
            ..Default::default()
        }),
        deployment_countries: vec!["US".into()],
        end_user_countries: vec!["US".into()],
        ..Default::default()
    };
    pb::CheckEligibilityRequest { model, r#use: Some(use_), ..Default::default() }
}

/// Names of models from all over the registry: those next to each other by date or size were not written together.
fn names(server: &Server) -> Vec<String> {
    let orders = ["release_date", "release_date desc", "parameters.total", "parameters.total desc"];
    let list = |order_by: &str| {
        let page_size = i32::try_from(ASKED / orders.len()).unwrap();
        let request = pb::ListModelsRequest { page_size, order_by: order_by.into(), ..Default::default() };
        pb::ListModelsResponse::decode(once(server.address, LIST, &request)).unwrap().models
    };
    orders.iter().flat_map(|order_by| list(order_by)).map(|model| model.name).collect()
}

fn compare(what: &str, sizes: &[Size], shape: Shape, turns: &Turns, ask: impl Fn(&Size) -> Vec<Question>) {
    println!("\n## {what}");
    let mut contestants: Vec<Contestant<'_>> = sizes
        .iter()
        .map(|size| Contestant::new(&size.name, size.server.address, size.server.id(), shape, || ask(size)))
        .collect();
    turns.compete(&mut contestants);
    let (first, others) = contestants.split_first().unwrap();
    for other in others {
        println!(
            "- {}: {} times the CPU of {}, p50 {} times",
            other.name,
            ratio(other, first, |round| round.cpu_us).shown(2),
            first.name,
            ratio(other, first, |round| f64::from(round.quantiles_us[0])).shown(2)
        );
    }
}
