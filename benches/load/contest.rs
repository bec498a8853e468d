//! Servers that take turns under the same load, and what came of it.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use super::{Question, Shape, closed};
use crate::binary::{cpu_of, resident_mib_of};

const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

/// How often each has its turn, for how long, and whether it has a core for itself.
pub(crate) struct Turns {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    pub(crate) is_pinned: bool,
}

impl Turns {
    /// As `--rounds` and `--seconds` say. Goes on with the load on a core of its own, if it can.
    pub(crate) fn of(arguments: &[String]) -> Self {
        let is_pinned = pin(arguments);
        if !is_pinned {
            println!("`taskset` or a second core is missing: servers and load share what there is");
        }
        let number = |name: &str, default: u64| {
            let at = arguments.iter().position(|a| a == name);
            at.and_then(|at| arguments.get(at + 1)).map_or(default, |text| text.parse().unwrap())
        };
        let (rounds, time) = (number("--rounds", 5).max(1), Duration::from_secs(number("--seconds", 2).max(1)));
        let rounds = usize::try_from(rounds).unwrap();
        Self { rounds, time, is_pinned }
    }

    /// A command on the core of the servers.
    pub(crate) fn on_core(&self, program: &str) -> Command {
        if !self.is_pinned {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_CORE, program]);
        command
    }

    /// Has them take turns, and shows what came of it.
    pub(crate) fn compete(&self, contestants: &mut [Contestant<'_>]) {
        for one in contestants.iter_mut() {
            one.rounds.clear();
            one.run(self.time / 2, false);
        }
        // Another one begins each time.
        for round in 0..self.rounds {
            let count = contestants.len();
            (0..count).for_each(|i| contestants[(round + i) % count].run(self.time, true));
        }
        println!(
            "\n| server | connections x calls | decisions/s | CPU us a decision | busy | p50 us | p99 us | p99.9 us | MiB |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for one in contestants.iter() {
            let quantile = |at: usize| one.of(|round| f64::from(round.quantiles_us[at])).median;
            println!(
                "| {} | {} x {} | {} | {} | {:.0} % | {:.0} | {:.0} | {:.0} | {:.0} |",
                one.name,
                one.shape.connections,
                one.shape.streams,
                one.of(|round| round.rate).shown(0),
                one.of(|round| round.cpu_us).shown(2),
                one.of(|round| round.busy).median * 100.0,
                quantile(0),
                quantile(1),
                quantile(2),
                resident_mib_of(&one.process),
            );
        }
        println!();
    }
}

/// Goes on with the load on a core of its own; whether it could.
fn pin(arguments: &[String]) -> bool {
    const PINNED: &str = "WEIGHBRIDGE_BENCH_PINNED";
    if std::env::var_os(PINNED).is_some() {
        return true;
    }
    let has = |core| Command::new("taskset").args(["-c", core, "true"]).status().is_ok_and(|status| status.success());
    if has(SERVER_CORE) && has(LOAD_CORE) {
        let mut again = Command::new("taskset");
        again.args(["-c", LOAD_CORE]).arg(std::env::current_exe().unwrap()).args(&arguments[1..]).env(PINNED, "1");
        panic!("it does not start again: {}", again.exec());
    }
    false
}

/// A server that takes part.
pub(crate) struct Contestant<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: SocketAddr,
    process: String,
    ask: Box<dyn Fn() -> Vec<Question> + 'a>,
    pub(crate) shape: Shape,
    pub(crate) rounds: Vec<Round>,
}

pub(crate) struct Round {
    pub(crate) rate: f64,
    pub(crate) cpu_us: f64,
    /// Share of its core that it took.
    pub(crate) busy: f64,
    pub(crate) quantiles_us: [u32; 3],
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(
        name: &'a str,
        address: SocketAddr,
        process: u32,
        shape: Shape,
        ask: impl Fn() -> Vec<Question> + 'a,
    ) -> Self {
        Self { name, address, process: process.to_string(), ask: Box::new(ask), shape, rounds: Vec::new() }
    }

    pub(crate) fn run(&mut self, time: Duration, is_kept: bool) {
        let questions = (self.ask)();
        let process = self.process.clone();
        let outcome = closed(self.address, questions, self.shape, time, move || cpu_of(&process));
        let cpu = outcome.metered;
        if is_kept {
            self.rounds.push(Round {
                rate: outcome.rate(),
                cpu_us: cpu * 1e6 / outcome.decisions as f64,
                busy: cpu / outcome.seconds,
                quantiles_us: [0.5, 0.99, 0.999].map(|share| outcome.quantile_us(share)),
            });
        }
    }

    /// Whether the load could not do more, so that its rate says less than its CPU.
    fn is_limited_by_the_load(&self) -> bool {
        self.of(|round| round.busy).median < 0.97
    }

    pub(crate) fn of(&self, pick: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(pick).collect())
    }
}

/// Median, lowest, highest.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { median: values[values.len() / 2], low: values[0], high: values[values.len() - 1] }
    }

    pub(crate) fn shown(&self, decimals: usize) -> String {
        let Self { median, low, high } = self;
        format!("{median:.decimals$} ({low:.decimals$} to {high:.decimals$})")
    }
}

/// How one stands to another, round by round.
pub(crate) fn ratio(one: &Contestant<'_>, other: &Contestant<'_>, pick: impl Fn(&Round) -> f64) -> Spread {
    Spread::of(one.rounds.iter().zip(&other.rounds).map(|(one, other)| pick(one) / pick(other)).collect())
}

/// Rates, round by round, with a word where one of them is the load's and not the server's.
pub(crate) fn rates(one: &Contestant<'_>, other: &Contestant<'_>) -> (Spread, &'static str) {
    let limited = one.is_limited_by_the_load() || other.is_limited_by_the_load();
    (ratio(one, other, |round| round.rate), if limited { " (limited by the load)" } else { "" })
}

/// Whether a target is met.
pub(crate) fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}
