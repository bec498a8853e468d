//! Writes to a store as fast as it takes it, and says what was acknowledged; or says whether all of that is there.
//!
//! `pressed write FOLDER LEDGER` runs until it is ended. Each acknowledged batch is one line of the ledger, written and
//! flushed after the acknowledgement. `pressed check FOLDER LEDGER` opens the store and holds it against the ledger: every
//! batch of it is there, whole, and no half one beside them. The scripts that cut the power and fill the disk run both.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a tool for scripts ends at the first problem"
)]

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use weighbridge::store::{Batch, SledOptions, SledStore, Store, Write};

const WRITERS: u32 = 4;
/// Keys of a batch, all with the same value: the last writer makes large ones, which are found begun after a cut.
const TOGETHER: [u32; WRITERS as usize] = [3, 3, 3, 1_500];
/// History that is kept, in revisions: what lies before it is let go of again and again.
const KEPT: u64 = 100;
/// Values are now and then as large as this: pages of their own, and a batch that fills several segments of the engine.
const LARGE: usize = 400_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", folder, ledger] => write(folder, ledger),
        ["check", folder, ledger] => check(folder, ledger),
        _ => {
            println!("usage: pressed write|check FOLDER LEDGER");
            ExitCode::from(2)
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The value of a writer's n-th batch: its number, and bytes that follow from it.
fn value(writer: u32, number: u64) -> Bytes {
    let is_large = number % 97 == 96 && TOGETHER[writer as usize] < 10;
    let size = if is_large { LARGE } else { 400 };
    let mut seed = (u64::from(writer) << 40 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = format!("{number} ").into_bytes();
    while bytes.len() < size {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.into()
}

fn number(value: &[u8]) -> u64 {
    let digits = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

/// Where a writer goes on: after the newest batch that is there.
fn newest(store: &SledStore) -> HashMap<u32, Vec<u64>> {
    let mut found: HashMap<u32, Vec<u64>> = HashMap::new();
    for record in block_on(store.load()).unwrap().records {
        let key = std::str::from_utf8(&record.key).unwrap();
        let (writer, _) = key.split_once('/').unwrap();
        let writer: u32 = writer.parse().unwrap();
        let number = number(&record.value);
        assert_eq!(record.value, value(writer, number), "the value of {key} was changed");
        found.entry(writer).or_default().push(number);
    }
    found
}

fn write(folder: &str, ledger: &str) -> ExitCode {
    let store = Arc::new(SledStore::open(SledOptions::new(folder)).unwrap());
    let found = newest(&store);
    let ledger = Arc::new(Mutex::new(OpenOptions::new().create(true).append(true).open(ledger).unwrap()));
    // Without it the whole history stays, and the engine removes nothing.
    let kept = std::env::var_os("PRESSED_KEEPS_HISTORY").is_none();
    println!("ready");
    std::io::stdout().flush().unwrap();
    let threads: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, ledger) = (store.clone(), ledger.clone());
            let mut number = found.get(&writer).and_then(|numbers| numbers.iter().max()).copied().unwrap_or(0);
            std::thread::spawn(move || {
                loop {
                    number += 1;
                    let value = value(writer, number);
                    let put = |i| Write { key: format!("{writer}/{i}").into(), value: Some(value.clone()) };
                    if kept && writer == 0 && number % 25 == 0 {
                        let _ = block_on(store.compact(store.status().revision.saturating_sub(KEPT)));
                    }
                    match block_on(store.commit(Batch::of((0..TOGETHER[writer as usize]).map(put)))) {
                        Ok(_) => writeln!(ledger.lock().unwrap(), "{writer} {number}").unwrap(),
                        Err(error) => {
                            println!("{error}");
                            return;
                        }
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // Writes have failed. The engine repeats its error for pages that it has to make room for; what a registry shows is read from
    // memory and not from here.
    match block_on(store.load()) {
        Ok(contents) => println!("{} records can be read after writes have failed", contents.records.len()),
        Err(error) => println!("not all can be read from the disk after writes have failed: {error}"),
    }
    ExitCode::SUCCESS
}

fn check(folder: &str, ledger: &str) -> ExitCode {
    let store = match SledStore::open(SledOptions::new(folder)) {
        Ok(store) => store,
        Err(error) => {
            println!("it does not open: {error}");
            return ExitCode::FAILURE;
        }
    };
    let found = newest(&store);
    let (mut acknowledged, mut problems, mut lines) = (HashMap::new(), Vec::new(), 0);
    // Where there is no ledger nothing was acknowledged.
    for line in File::open(ledger).map(BufReader::new).into_iter().flat_map(|file| file.lines()) {
        let line = line.unwrap();
        // The last line may be cut.
        if let Some((Ok(writer), Ok(number))) = line.split_once(' ').map(|(w, n)| (w.parse::<u32>(), n.parse::<u64>()))
        {
            acknowledged.insert(writer, number);
            lines += 1;
        }
    }
    for writer in 0..WRITERS {
        let numbers = found.get(&writer).cloned().unwrap_or_default();
        let last = acknowledged.get(&writer).copied().unwrap_or(0);
        if !numbers.is_empty()
            && (numbers.len() != TOGETHER[writer as usize] as usize || numbers.iter().any(|n| *n != numbers[0]))
        {
            problems.push(format!("writer {writer}: half a batch: {numbers:?}"));
        }
        let newest = numbers.iter().max().copied().unwrap_or(0);
        // One more may be there: it was not answered any more.
        if newest < last || newest > last + 1 {
            problems.push(format!("writer {writer}: {newest} is there, {last} was acknowledged"));
        }
    }
    if problems.is_empty() {
        println!("ok: {lines} acknowledged batches");
        return ExitCode::SUCCESS;
    }
    println!("{}", problems.join("; "));
    ExitCode::FAILURE
}
