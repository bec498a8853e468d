//! `docs/adding-a-license.md` is run as it stands: its files are written, its commands called, and what it shows of their
//! output must be there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use weighbridge::store::MemoryStore;

use super::root;
use crate::harness::TestServer;

/// A fenced block: what stands behind the opening fence, and its lines.
type Block = (String, Vec<String>);

fn blocks(text: &str) -> Vec<Block> {
    let mut out: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(info), false) => {
                out.push((info.to_owned(), Vec::new()));
                inside = true;
            }
            (Some(_), true) => inside = false,
            (None, true) => out.last_mut().unwrap().1.push(line.to_owned()),
            (None, false) => {}
        }
    }
    out
}

/// Runs a command line in a folder, and gives both of its outputs.
fn run(line: &str, folder: &Path, server: &str) -> String {
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("weighbridge"), "{line}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge"));
    command.env_remove("WEIGHBRIDGE_FORMAT").env("WEIGHBRIDGE_SERVER", server).stdin(Stdio::null());
    let output = command.args(words).current_dir(folder).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether an output is the shown one, where a line `…` stands for any lines and a `…` at the end for the rest of a line.
fn is_shown(output: &str, shown: &[String]) -> bool {
    let mut lines = output.lines();
    let mut skipping = false;
    for wanted in shown {
        if wanted == "…" {
            skipping = true;
            continue;
        }
        let is = |line: &str| wanted.strip_suffix('…').map_or(line == wanted, |start| line.starts_with(start));
        let found = if skipping { lines.any(is) } else { lines.next().is_some_and(is) };
        if !found {
            return false;
        }
        skipping = false;
    }
    skipping || lines.next().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_is_true() {
    // The guide shows revisions, which are others in etcd.
    let server = TestServer::on(Arc::new(MemoryStore::new()));
    drop(server.connect().await);
    let folder = tempfile::tempdir().unwrap();
    let mut commands = 0;
    for (info, lines) in blocks(&std::fs::read_to_string(root("docs/adding-a-license.md")).unwrap()) {
        let text = lines.join("\n") + "\n";
        let action = info.split_once(' ').map_or("", |(_, action)| action);
        let (action, file) = action.split_once('=').unwrap_or((action, ""));
        let path = folder.path().join(file);
        match (info.as_str(), action) {
            ("console", _) => {
                for call in text.split("$ ").filter(|call| !call.is_empty()) {
                    let (line, shown) = call.split_once('\n').unwrap();
                    let output = run(line, folder.path(), &server.address);
                    let shown: Vec<String> = shown.lines().map(str::to_owned).collect();
                    assert!(is_shown(&output, &shown), "the guide shows another output than\n$ {line}\n{output}");
                    commands += 1;
                }
            }
            (_, "file") => std::fs::write(path, text).unwrap(),
            (_, "add-to") => {
                let before = std::fs::read_to_string(&path).unwrap();
                std::fs::write(path, before + &text).unwrap();
            }
            (_, "replace") => {
                let before = std::fs::read_to_string(&path).unwrap();
                let (old, new) = (lines[0].trim_start_matches('-'), lines[1].trim_start_matches('+'));
                assert!(before.contains(old), "{old}");
                std::fs::write(path, before.replace(old, new)).unwrap();
            }
            _ => panic!("a block that is not run: {info}"),
        }
    }
    assert!(commands >= 15, "only {commands} commands were found");
}
