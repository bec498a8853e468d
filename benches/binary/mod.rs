//! The server as a process of its own, and what it takes. Linux only.

#![allow(dead_code, reason = "each benchmark looks at something else")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// With options of `serve`, on a port of its own.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_with(Command::new(env!("CARGO_BIN_EXE_weighbridge")), options)
    }

    /// By a command that runs it.
    pub(crate) fn start_with(mut command: Command, options: &[&str]) -> Self {
        let child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Ended with this value, whatever comes.
        let mut server = Self { child, address: ([127, 0, 0, 1], 0).into() };
        let mut log = BufReader::new(server.child.stderr.take().unwrap()).lines();
        server.address = log
            .by_ref()
            .find_map(|line| {
                let event: serde_json::Value = serde_json::from_str(&line.unwrap()).ok()?;
                event["server.address"].as_str().map(|address| address.parse().unwrap())
            })
            .expect("the server says where it listens");
        // What it says from now on is read, so that it does not wait for a reader.
        thread::spawn(move || log.for_each(drop));
        server
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds that it took so far.
    pub(crate) fn cpu(&self) -> f64 {
        cpu_of(&self.child.id().to_string())
    }

    /// Sets its peak memory back.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// Its memory at its largest since then.
    pub(crate) fn peak_mib(&self) -> f64 {
        self.memory_mib("VmHWM:")
    }

    /// Its memory now.
    pub(crate) fn resident_mib(&self) -> f64 {
        resident_mib_of(&self.id().to_string())
    }

    fn memory_mib(&self, field: &str) -> f64 {
        memory_mib_of(&self.id().to_string(), field)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU seconds that a process took so far.
pub(crate) fn cpu_of(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name of the process may hold anything, but ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().map(|at| fields[*at].parse::<f64>().unwrap()).sum();
    // `USER_HZ` is 100 wherever Linux runs.
    ticks / 100.0
}

/// Memory of a process now.
pub(crate) fn resident_mib_of(process: &str) -> f64 {
    memory_mib_of(process, "VmRSS:")
}

fn memory_mib_of(process: &str, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the server still runs");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
