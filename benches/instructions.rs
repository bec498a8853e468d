//! Instructions of one check, from the bytes of its request to the bytes of its answer, and of the decision alone: counted by
//! callgrind, so that a machine that is busy with other things counts the same.
//!
//! `cargo bench --bench instructions [-- --check | --write]`
//!
//! `--check` holds the figures against `benches/instructions.tsv`, fails where one is higher than the tolerance allows, and says where
//! one is lower by as much: a gain that is not written down hides the next loss. `--write` writes that file anew. Needs `valgrind`.
//! The figures are of one compiler: who takes another one writes them anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark stops at the first thing that is not as it expects"
)]

mod asked;

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use prost::Message as _;
use weighbridge::convert::{check_request, encode_decision};
use weighbridge::domain::eligibility::Verdict;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::registry::Registry;
use weighbridge::store::MemoryStore;

use asked::{check, commercial};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.tsv");
/// As far from the figure that is written down it may be: above is a loss, which fails, below a gain to write down.
const TOLERANCE: f64 = 0.03;
/// The same where another compiler wrote it.
const TOLERANCE_OTHER: f64 = 0.15;
const ROUNDS: u64 = 2_000;
/// Processes that are counted for one figure, which is the middle one of theirs: hash maps are seeded anew in each, and that alone
/// moves a figure by up to 2 %.
const PROCESSES: usize = 3;
/// What a process that is counted is told.
const COUNTED: &str = "WEIGHBRIDGE_BENCH_COUNTED";

const CASES: [(&str, &str, &[pb::Activity]); 3] = [
    ("permissive", "allenai/OLMo-2-1124-7B", &[]),
    (
        "bespoke, served and passed on",
        "meta-llama/Llama-3.3-70B-Instruct",
        &[pb::Activity::OfferAsService, pb::Activity::RedistributeWeights],
    ),
    ("two sets of terms by lineage", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B", &[]),
];
const PARTS: [&str; 2] = ["check", "decision"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Ok(what) = std::env::var(COUNTED) {
        let what: Vec<usize> = what.split(' ').map(|number| number.parse().unwrap()).collect();
        work(what[0], what[1]);
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches`, which only wants to know that it starts, does not say this.
    if !arguments.iter().any(|a| a == "--bench") {
        return ExitCode::SUCCESS;
    }
    let has = |name: &str| arguments.iter().any(|a| a == name);
    let known = std::fs::read_to_string(FIGURES).unwrap_or_default();
    let compiler = compiler();
    let is_same = known.lines().any(|line| line.strip_prefix("# ") == Some(&compiler));
    let tolerance = if is_same { TOLERANCE } else { TOLERANCE_OTHER };
    let known = |name: &str| -> Option<f64> {
        let line = known.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'))?;
        Some(line.parse().unwrap())
    };
    let mut written = format!(
        "# Instructions, counted by `cargo bench --bench instructions -- --write`, release profile.\n# {compiler}\n"
    );
    let (mut is_loss, mut is_gain) = (false, false);
    for (case, (title, _, _)) in CASES.iter().enumerate() {
        for (part, of) in PARTS.iter().enumerate() {
            let each = counted(case, part) / ROUNDS;
            let name = format!("{of}, {title}");
            writeln!(written, "{name}\t{each}").unwrap();
            let change = known(&name).map(|known| each as f64 / known - 1.0);
            let shown =
                change.map_or_else(|| "no figure is written down".to_owned(), |c| format!("{:+.1} %", c * 100.0));
            println!("{name:<42} {each:>8} instructions, {shown}");
            is_loss |= change.is_none_or(|change| change > tolerance);
            is_gain |= change.is_some_and(|change| change < -tolerance);
        }
    }
    if has("--write") {
        std::fs::write(FIGURES, written).unwrap();
    }
    if !has("--check") {
        return ExitCode::SUCCESS;
    }
    let percent = tolerance * 100.0;
    if is_gain {
        println!(
            "benches/instructions.tsv has a figure that is more than {percent:.0} % too high: write it anew with `--write` and say why"
        );
    }
    if is_loss {
        println!(
            "benches/instructions.tsv allows {percent:.0} % more{}: find out why, or write it anew with `--write` and say why",
            if is_same { "" } else { ", since another compiler wrote it" }
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The compiler, in one line.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap_or_else(|error| panic!("rustc: {error}"));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Instructions of all rounds: the middle one of what the processes took.
fn counted(case: usize, part: usize) -> u64 {
    let started: Vec<Child> = (0..PROCESSES).map(|_| start(case, part)).collect();
    let mut counts: Vec<u64> = started.into_iter().map(count).collect();
    counts.sort_unstable();
    counts[PROCESSES / 2]
}

/// A process that works and is counted.
fn start(case: usize, part: usize) -> Child {
    Command::new("valgrind")
        // What comes before and after the rounds is not counted: it differs from run to run.
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=instructions::rounds*"])
        .arg(std::env::current_exe().unwrap())
        .env(COUNTED, format!("{case} {part}"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("valgrind: {error}"))
}

/// Waits for a process to end.
fn count(process: Child) -> u64 {
    let output = process.wait_with_output().unwrap_or_else(|error| panic!("valgrind: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let line = told.lines().find_map(|line| line.split_once("Collected : ")).unwrap_or_else(|| panic!("{told}"));
    let count = line.1.trim().parse().unwrap();
    assert!(count > 0, "the rounds were not found: {told}");
    count
}

/// What stands before the rounds, and the rounds.
fn work(case: usize, part: usize) {
    let (_, model, activities) = CASES[case];
    // A day of its own: the figures of tomorrow are those of today.
    let at = Some(prost_types::Timestamp { seconds: 1_780_272_000, nanos: 0 });
    let request = check(model, &pb::Use { at, ..commercial(activities) });
    let bytes = request.encode_to_vec();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let registry = runtime.block_on(Registry::open(Arc::new(MemoryStore::new()), Arc::new(jiff::Timestamp::now)));
    let registry = registry.unwrap();
    rounds(&registry, &bytes, part);
}

#[inline(never)]
fn rounds(registry: &Registry, bytes: &[u8], part: usize) {
    let snapshot = registry.snapshot();
    let vocabulary = &snapshot.reference().vocabulary;
    let read = |bytes: &[u8]| {
        let request = pb::CheckEligibilityRequest::decode(bytes).unwrap();
        check_request(request, None, vocabulary).unwrap()
    };
    let asked = read(bytes);
    let verdict = registry.check_on(&snapshot, &asked, |checked| checked.decision.verdict).unwrap();
    assert!(verdict <= Verdict::EligibleWithConditions, "{verdict}");
    for _ in 0..ROUNDS {
        if part == 0 {
            let asked = read(black_box(bytes));
            let answer = registry.check_on(&snapshot, &asked, |checked| {
                let mut out = Vec::with_capacity(5 << 10);
                encode_decision(&checked.decision, checked.name, checked.revision, &mut out);
                out
            });
            black_box(answer.unwrap());
        } else {
            let found = registry.check_on(&snapshot, black_box(&asked), |checked| checked.decision.findings.len());
            black_box(found.unwrap());
        }
    }
}
