//! Drawn models in a durable store, as many as are wanted.
//!
//! They are drawn from the built-in catalog: licenses, parts, modalities and dates as often as they stand there, sizes and
//! contexts spread around them, a third of them made from another model, most of these under its license, publishers from large
//! to small, and a description of words for people, so that a record is about 1 kB.

#![allow(dead_code, reason = "each benchmark uses something else")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message as _;
use weighbridge::convert;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::registry::{ImportFile, ImportRequest, Registry};
use weighbridge::store::{SledOptions, SledStore};

/// Records in one import.
const CHUNK: u64 = 25_000;
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) async fn open(folder: &Path) -> Registry {
    Registry::open_with(Arc::new(jiff::Timestamp::now), |take| {
        let (store, revision) = SledStore::open_loading(SledOptions::new(folder.to_owned()), take)?;
        Ok((Arc::new(store), revision))
    })
    .await
    .unwrap()
}

pub(crate) fn fill(models: u64, folder: &Path) {
    let (bytes, took) = runtime().block_on(async {
        let registry = open(folder).await;
        let templates = templates(&registry);
        let (mut bytes, mut took) = (0, Duration::ZERO);
        for first in (0..models).step_by(CHUNK as usize) {
            let imported = import(&registry, &templates, first..(first + CHUNK).min(models)).await;
            (bytes, took) = (bytes + imported.0, took + imported.1);
        }
        (bytes, took)
    });
    println!("import {:.1} s, {} bytes a model as protobuf", took.as_secs_f64(), bytes / models);
}

/// Imports drawn models; their size as protobuf, and how long the import took.
pub(crate) async fn import(
    registry: &Registry,
    templates: &[pb::Model],
    numbers: std::ops::Range<u64>,
) -> (u64, Duration) {
    let (mut bytes, mut lines) = (0, Vec::new());
    for i in numbers {
        let model = draw(templates, i);
        bytes += model.encoded_len() as u64;
        lines.extend_from_slice(json(&model).as_bytes());
        lines.push(b'\n');
    }
    let config = pb::ImportConfig { source: pb::ImportSource::Records as i32, ..Default::default() };
    let files = vec![ImportFile { path: "drawn.ndjson".into(), bytes: lines }];
    let started = Instant::now();
    let report = registry.import(ImportRequest { config, files }).await.unwrap();
    assert_eq!(report.rejected, 0, "{:?}", report.entries.first());
    (bytes, started.elapsed())
}

fn json(model: &pb::Model) -> String {
    let descriptor = convert::descriptor("weighbridge.v1.Model").unwrap();
    let message = prost_reflect::DynamicMessage::decode(descriptor, model.encode_to_vec().as_slice()).unwrap();
    serde_json::to_string(&message).unwrap()
}

/// The models of the catalog.
pub(crate) fn templates(registry: &Registry) -> Vec<pb::Model> {
    let names: Vec<String> = registry.snapshot().models().map(|entry| entry.record.name.to_string()).collect();
    names.iter().map(|name| registry.model(name).unwrap()).collect()
}

/// A number that depends on another one alone (splitmix64).
fn mix(mut n: u64) -> u64 {
    n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = mix(self.0);
        self.0 % n
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let at = self.below(list.len() as u64) as usize;
        &list[at]
    }
}

/// Words of model cards, for descriptions that are not all alike.
const WORDS: &str = "a able about accuracy adapter after all also and answers any are as assistant at average based be \
    been before benchmark best better between bias both by can card checkpoint code community compared context corpus \
    data dataset details developed dialogue does domain each efficient english evaluation example experiments few fine \
    first following for from further general generation german given good has have high higher human if improved in \
    inference instruction instructions intended into is it its knowledge language large layers learning license \
    limitations long low made many mathematics may memory merged method mixture model models more most multilingual \
    name new no not of on one only open or original other our outputs over paper parameters per performance please \
    precision prediction preference pretrained previous prompt public quality quantized questions random rate reasoning \
    reduce release released reported research responses results same samples scale score see sequence set several should \
    similar size small some speech standard step such summarization supervised support system tasks team tested text than \
    that the their then these this three through time to tokenizer tokens tool trained training translation tuned two \
    under use used users using variants various version very vision was way we weights well were when where which while \
    with without words work world you";

/// Made-up sentences of about as many bytes.
fn prose(dice: &mut Dice, bytes: u64) -> String {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut text = String::new();
    while (text.len() as u64) < bytes {
        match dice.below(12) {
            0 => text.push_str(". "),
            1 => text.push_str(&format!(" {}.{}", dice.below(100), dice.below(10))),
            _ => text.push(' '),
        }
        text.push_str(dice.pick::<&str>(&words));
    }
    text
}

pub(crate) fn draw(templates: &[pb::Model], i: u64) -> pb::Model {
    let mut dice = Dice(i);
    let mut template = dice.pick(templates);
    let base = (dice.below(3) == 0).then(|| dice.pick(templates));
    // What is made from a model is most often under its license, and takes in and gives out the same.
    template = base.filter(|_| dice.below(8) != 0).unwrap_or(template);
    // Few publishers have much, and many have little.
    let publisher = format!("maker-{}", (dice.below(1 << 24) * dice.below(1 << 24)) >> 34);
    let stem = template.name.rsplit('/').next().unwrap();
    let id: String = format!("{}-{i}", stem.chars().take(80).collect::<String>());
    let day = format!("{}-{:02}-{:02}", 2022 + dice.below(5), 1 + dice.below(12), 1 + dice.below(28));
    let size = i64::try_from(dice.below(1_000) + 1).unwrap() * 100_000_000;
    let mut model = pb::Model {
        name: format!("publishers/{publisher}/models/{id}"),
        display_name: format!("{} {i}", template.display_name),
        description: {
            let bytes = 300 + dice.below(800);
            prose(&mut dice, bytes)
        },
        aliases: vec![format!("{publisher}/{}-{i}", template.display_name.replace(' ', "-"))],
        components: template.components.clone(),
        input_modalities: template.input_modalities.clone(),
        output_modalities: template.output_modalities.clone(),
        capabilities: template.capabilities.clone(),
        context_tokens: *dice.pick(&[0, 4_096, 8_192, 32_768, 128_000, 131_072, 200_000, 1_000_000]),
        parameters: Some(pb::Parameters { total: size, active: size }),
        release_date: day,
        family: template.family.clone(),
        sources: vec![pb::Source { title: "benchmark".into(), ..Default::default() }],
        ..Default::default()
    };
    for component in &mut model.components {
        component.note.clear();
        component.conclusion = None;
    }
    if let Some(base) = base {
        let of = base.name.clone();
        let relations = [pb::base_model::Relation::FineTune, pb::base_model::Relation::Quantized];
        let relation = *dice.pick(&relations) as i32;
        model.base_models = vec![pb::BaseModel { model: of, relation, ..Default::default() }];
    }
    model
}
