//! Every input of the fuzzer's corpora, and so every one that ever found something, on the stable toolchain.

use std::path::Path;

#[path = "../../fuzz/targets.rs"]
#[allow(dead_code, reason = "the fuzzer names the functions, this test their table")]
mod targets;

#[test]
fn no_input_of_the_corpora_panics_or_breaks_a_law() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, target) in targets::TARGETS {
        let corpus = fuzz.join("corpus").join(name);
        let entries = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
        let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(!paths.is_empty(), "{} is empty", corpus.display());
        for path in paths {
            let input = std::fs::read(&path).unwrap();
            let tried = std::panic::catch_unwind(|| target(&input));
            assert!(tried.is_ok(), "{} fails: see above", path.display());
        }
    }
}

/// A target that is not run, or a corpus that nobody reads, would pass unseen.
#[test]
fn targets_and_corpora_and_binaries_are_the_same_set() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| {
        let entries = std::fs::read_dir(fuzz.join(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let mut targets: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    targets.sort_unstable();
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for name in targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}
