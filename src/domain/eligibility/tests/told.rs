//! What decisions say, word for word: a change of wording, of a rule or of the facts that a finding names shows here as a
//! difference, to be read before it is accepted (`cargo insta review`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::laws::{Dice, draw_use, draw_waiver, draw_world, forgetting};
use super::*;
use crate::domain::eligibility::{Remedy, remedies};

/// Messages kept of each reason and effect.
const MESSAGES: usize = 16;

/// Bytes that are the same in every run.
fn bytes(seed: &mut u64, count: usize) -> Vec<u8> {
    // splitmix64
    let mut next = || {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

/// A finding on one line, with all that a caller gets of it.
fn line(finding: &Finding<'_>) -> String {
    let mut out = finding.message();
    let clause = finding.origin.clause;
    let named: Vec<&str> = finding.facts.iter().map(|fact| fact.as_str()).collect();
    let missing = finding.missing.iter().map(|fact| fact.as_str().to_owned());
    let missing: Vec<String> = missing.chain(finding.missing_measures.iter().map(|key| key.to_string())).collect();
    for (what, words) in [("clause", clause.to_owned()), ("facts", named.join(" ")), ("missing", missing.join(" "))] {
        if !words.is_empty() {
            write!(out, " [{what}: {words}]").unwrap();
        }
    }
    if let Some(waiver) = finding.waived_by {
        write!(out, " [waived by {}]", waiver.name).unwrap();
    }
    out
}

#[derive(Default)]
struct Told {
    count: usize,
    texts: Vec<String>,
}

impl Told {
    fn add(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.texts.len() < MESSAGES {
            let text = text();
            if !self.texts.contains(&text) {
                self.texts.push(text);
            }
        }
    }
}

#[test]
fn decisions_say_what_they_said() {
    let seed = &mut 20_261_125_u64;
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    for round in 0..2_500_u32 {
        let mut world = draw_world(&bytes(seed, 600));
        if round % 3 == 0 {
            world.waivers = (0..3).map(|_| draw_waiver(&mut Dice(&bytes(seed, 8)))).collect();
        }
        let full = draw_use(&bytes(seed, 80));
        let mask = bytes(seed, 4);
        let mask = u16::from_le_bytes([mask[0] & mask[1], mask[2] & mask[3] & 0x1f]);
        let use_ = forgetting(&world, &full, mask);
        let decision = world.decide(&use_);
        told.entry(format!("summary {}", decision.verdict)).or_default().add(|| decision.summary());
        for finding in decision.findings.iter() {
            let key = format!("{} {}", finding.reason, finding.effect);
            told.entry(key).or_default().add(|| line(finding));
        }
        // Remedies are tried one by one, which takes long.
        if round % 10 == 0 {
            let list: Vec<&Waiver> = world.waivers.iter().collect();
            let others = world.models.iter().map(|other| (other, Vec::new()));
            let waivers = Waivers { list: &list, at: NOW };
            let found: Vec<Remedy<'_>> =
                remedies(&world, &decision, case(&use_, waivers), others).into_iter().collect();
            for remedy in &found {
                let kind = format!("{:?}", remedy.change);
                let kind = kind.split('(').next().unwrap_or_default();
                let text = || format!("{} → {}", remedy.sentence(), remedy.verdict);
                told.entry(format!("remedy {kind}")).or_default().add(text);
            }
            told.entry(format!("{} remedies", found.len())).or_default().add(String::new);
        }
    }
    let mut out = String::new();
    for (key, Told { count, texts }) in &told {
        writeln!(out, "{key}: {count}").unwrap();
        texts.iter().filter(|text| !text.is_empty()).for_each(|text| writeln!(out, "    {text}").unwrap());
    }
    insta::assert_snapshot!("decisions", out);
}
