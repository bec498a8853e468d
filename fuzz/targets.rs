//! What is fuzzed: one function a target. None may panic, whatever it is given, and each holds a law where there is a cheap one.
//!
//! The fuzzer (`fuzz_targets/`) and the replay of the corpora on the stable toolchain (`tests/it/fuzz.rs`) both call these, so
//! an input that was found once is tried again with every run of the tests.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use tokio::runtime::Runtime;
use weighbridge::auth::{Authenticator, Credentials, JwtSettings, Keys, Shown, shown_by};
use weighbridge::catalog::fields::{LicenseField, ModelField, OfferingField};
use weighbridge::catalog::filter::{self, DEPTH_MAX, LEN_MAX, Node, Schema, words_of};
use weighbridge::catalog::{ModelRow, Snapshot};
use weighbridge::convert::text::{self, Syntax, WriteStyle};
use weighbridge::convert::{self, RequestRefused};
use weighbridge::domain::alias::fold;
use weighbridge::domain::date::Date;
use weighbridge::domain::license::{Expression, Term};
use weighbridge::domain::name::{LicenseId, ModelName, OfferingName, ProviderId};
use weighbridge::domain::tri::Tri;
use weighbridge::ingest::document::{File, Reading};
use weighbridge::ingest::{self, ImportError, Limits, hub};
use weighbridge::pb::weighbridge::storage::v1 as storage;
use weighbridge::pb::weighbridge::storage::v1::record::Record as Kind;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::policy::PolicyField;
use weighbridge::registry::{ImportRequest, ListRequest, PageRequest, Registry};
use weighbridge::store::{ArchiveReader, ArchiveWriter, Frame, MemoryStore, verify_backup};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// A target.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("filter", filter),
    ("list", list),
    ("page_token", page_token),
    ("license_expression", license_expression),
    ("identity", identity),
    ("text", text),
    ("request", request),
    ("write_request", write_request),
    ("stored_record", stored_record),
    ("import_models_dev", import_models_dev),
    ("import_catalog", import_catalog),
    ("import_mot", import_mot),
    ("import_osai", import_osai),
    ("import_comparia", import_comparia),
    ("import_epoch", import_epoch),
    ("import_model_card", import_model_card),
    ("import_records", import_records),
    ("credentials", credentials),
    ("jwt", jwt),
    ("certificate", certificate),
    ("backup", backup),
];

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts"));

/// A registry of the built-in catalog, which no target changes.
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let clock = Arc::new(|| jiff::Timestamp::from_second(1_790_000_000).expect("a time"));
    RUNTIME.block_on(Registry::open(Arc::new(MemoryStore::new()), clock)).expect("the built-in catalog opens")
});

fn utf8(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// The first byte chooses, the others are the input.
fn chosen(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(first, rest)| (*first, rest))
}

/// A filter means the same when it is printed and read again.
pub fn filter(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let Ok(Some(node)) = filter::parse(text) else { return };
    let printed = node.to_string();
    // Printing adds quotes and parentheses, so what is near a limit may pass it.
    if printed.len() <= LEN_MAX && printed.matches('(').count() <= DEPTH_MAX {
        let again = filter::parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
        let again = again.unwrap_or_else(|| panic!("{printed} is empty"));
        assert_eq!(again.to_string(), printed, "{text}");
        checked::<ModelField>(&node, &again);
        checked::<OfferingField>(&node, &again);
        checked::<LicenseField>(&node, &again);
        checked::<PolicyField<ModelField>>(&node, &again);
    }
}

fn checked<S: Schema>(node: &Node, again: &Node) {
    let near = |name: &str, known: &[&str]| convert::nearest(name, known.iter().copied());
    match (filter::check::<S>(node, &near), filter::check::<S>(again, &near)) {
        (Ok(first), Ok(second)) => assert_eq!(first, second),
        (Err(first), Err(second)) => assert_eq!(first.len(), second.len(), "{again}"),
        (first, second) => panic!("{again}: {first:?} and then {second:?}"),
    }
}

/// Lists by a filter and an order, a line each: the index finds what a look at every record finds.
pub fn list(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let (filter, order_by) = text.split_once('\n').unwrap_or((text, ""));
    let page = PageRequest { size: 2, token: String::new() };
    let request = ListRequest { filter: filter.into(), order_by: order_by.into(), page, ..ListRequest::default() };
    let registry = &*REGISTRY;
    let found = registry.list_models("", &request);
    let _ = registry.list_offerings("", "", &request);
    let _ = registry.list_licenses(&request);
    let facets =
        pb::AggregateModelsRequest { filter: filter.into(), fields: vec![order_by.into()], ..Default::default() };
    let snapshot = registry.snapshot();
    let _ = registry.aggregate_models(&snapshot, &facets);
    let (Ok(found), Ok(Some(node))) = (found, filter::parse(filter)) else { return };
    let Ok(query) = filter::check::<ModelField>(&node, &|_, _| String::new()) else { return };
    if query.tests() > 4 {
        return;
    }
    let held = snapshot.models().filter(|entry| query.holds(&ModelRow::new(&snapshot, entry)) == Tri::True).count();
    assert_eq!(usize::try_from(found.total_size), Ok(held), "{filter}");
}

/// A page token of a list of models, offerings, licenses or eligible models: as given, and as the end of one that the list gave.
pub fn page_token(data: &[u8]) {
    let Some((which, rest)) = chosen(data) else { return };
    let Some(text) = utf8(rest) else { return };
    let Some(first) = listed(which, "") else { return };
    let _ = listed(which, text);
    // The digest at the front says that a token is of this list; what stands behind it is all that is left to guess.
    let Ok(plain) = URL_SAFE_NO_PAD.decode(first) else { return };
    let bound = plain.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let forged = [plain.get(..bound).unwrap_or_default(), rest].concat();
    let _ = listed(which, &URL_SAFE_NO_PAD.encode(forged));
}

/// The token of the next page.
fn listed(which: u8, token: &str) -> Option<String> {
    let registry = &*REGISTRY;
    let page = PageRequest { size: 1, token: token.into() };
    let order_by = if which & 4 == 0 { String::new() } else { "release_date desc".to_owned() };
    let request = ListRequest { order_by, page, ..ListRequest::default() };
    match which % 4 {
        0 => registry.list_models("", &request).ok().map(|found| found.next_page_token),
        1 => registry.list_licenses(&request).ok().map(|found| found.next_page_token),
        2 => RUNTIME
            .block_on(registry.model_revisions("models/meta-llama/Llama-3.3-70B-Instruct", &request.page))
            .ok()
            .map(|found| found.next_page_token),
        _ => {
            let snapshot = registry.snapshot();
            let message = pb::ListEligibleModelsRequest { r#use: Some(pb::Use::default()), ..Default::default() };
            let asked = convert::eligible_request(message, None, &snapshot.reference().vocabulary).ok()?;
            registry.eligible_models(&snapshot, &asked, "", &request).ok().map(|found| found.next_page_token)
        }
    }
}

/// A license expression is what it says it is, and means the same when its tree is written out.
pub fn license_expression(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let Ok(expression) = Expression::parse(text) else { return };
    assert_eq!(Expression::parse(expression.as_str()).as_ref(), Ok(&expression));
    let written = written(expression.root());
    if let Ok(again) = Expression::parse(&written) {
        assert_eq!(again.root(), expression.root(), "{text} as {written}");
    }
    assert!(expression.satisfied_by(&|_| true) && !expression.satisfied_by(&|_| false), "{text}");
    let known = expression.named().iter().filter(|id| REGISTRY.snapshot().license_entry(id).is_some()).count();
    assert!(known <= expression.licenses().len() * 2);
}

fn written(term: &Term) -> String {
    let joined = |terms: &[Term], word: &str| {
        let parts: Vec<String> = terms.iter().map(|term| format!("({})", written(term))).collect();
        parts.join(word)
    };
    match term {
        Term::License { id, exception: None, .. } => id.as_str().to_owned(),
        Term::License { id, exception: Some(exception), .. } => format!("{id} WITH {exception}"),
        Term::And(terms) => joined(terms, " AND "),
        Term::Or(terms) => joined(terms, " OR "),
    }
}

/// Names, dates and aliases: what is read is printed and read again, and folding twice is folding once.
pub fn identity(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let folded = fold(text);
    assert_eq!(fold(&folded), folded);
    assert_eq!(words_of(text), words_of(&folded));
    if let Ok(name) = ModelName::parse(text) {
        assert_eq!(ModelName::parse(name.as_str()).as_ref(), Ok(&name));
        assert_eq!(ModelName::new(name.publisher(), name.model()).as_ref(), Ok(&name));
    }
    if let Ok(id) = LicenseId::parse(text) {
        assert_eq!(LicenseId::parse(&id.resource_name()), Ok(id));
    }
    if let Ok(id) = ProviderId::parse(text) {
        assert_eq!(ProviderId::parse(&id.resource_name()), Ok(id));
    }
    if let Ok(name) = OfferingName::parse(text) {
        assert_eq!(OfferingName::parse(&name.resource_name()), Ok(name));
    }
    if let Ok(date) = Date::parse(text) {
        assert_eq!(Date::parse(&date.to_string()), Ok(date));
        assert!(date.first_day() <= date.last_day());
    }
    if let Some(repository) = hub::repository_of(text) {
        assert_eq!(hub::repository_of(&repository).as_ref(), Some(&repository), "{text}");
    }
    // What is known is found by what it folds to as well. What is not is left out: its nearest names take most of the time.
    let snapshot = REGISTRY.snapshot();
    for model in snapshot.aliases().exact(text) {
        assert!(snapshot.aliases().folded_hits(&folded).iter().any(|(hit, _)| *hit == model), "{text}");
        assert!(REGISTRY.resolve(text).is_ok() || snapshot.aliases().exact(text).len() > 1, "{text}");
    }
}

const MESSAGES: &[&str] = &[
    "weighbridge.v1.Model",
    "weighbridge.v1.License",
    "weighbridge.v1.CheckEligibilityRequest",
    "weighbridge.v1.UseProfile",
    "weighbridge.v1.Waiver",
    "weighbridge.v1.Policy",
    "weighbridge.storage.v1.UsePolicyRecord",
];

/// A document in JSON, TOML or YAML: what is read as a message is written and read again as the same.
pub fn text(data: &[u8]) {
    let Some((which, rest)) = chosen(data) else { return };
    let syntax = match which % 3 {
        0 => Syntax::Json,
        1 => Syntax::Toml,
        _ => Syntax::Yaml,
    };
    let Ok(tree) = text::parse(rest, syntax, &text::Limits::default()) else { return };
    for name in MESSAGES {
        let Some(descriptor) = convert::descriptor(name) else { panic!("{name} is described") };
        let Ok(message) = text::read(&tree, &descriptor) else { continue };
        for style in [WriteStyle::READABLE, WriteStyle::default()] {
            let written = text::write(&message, &style);
            let again = text::read(&written, &descriptor).unwrap_or_else(|problems| panic!("{written}: {problems:?}"));
            // As bytes: what is no number is not equal to itself.
            assert_eq!(again.encode_to_vec(), message.encode_to_vec(), "{written}");
        }
    }
}

/// Checks, and lists of what may be used: the same request has the same answer.
pub fn request(data: &[u8]) {
    let Some((which, rest)) = chosen(data) else { return };
    let snapshot = REGISTRY.snapshot();
    match which % 3 {
        0 => {
            let Ok(message) = pb::CheckEligibilityRequest::decode(rest) else { return };
            let first = decided(&snapshot, message.clone());
            assert_eq!(decided(&snapshot, message), first);
        }
        1 => {
            let Ok(message) = pb::ListEligibleModelsRequest::decode(rest) else { return };
            let vocabulary = &snapshot.reference().vocabulary;
            let Ok(asked) = convert::eligible_request(message.clone(), None, vocabulary) else { return };
            let page = PageRequest { size: message.page_size, token: message.page_token };
            let request =
                ListRequest { filter: message.filter, order_by: message.order_by, page, ..Default::default() };
            let _ = REGISTRY.eligible_models(&snapshot, &asked, &message.parent, &request);
        }
        _ => {
            let Ok(profile) = pb::UseProfile::decode(rest) else { return };
            let checked = convert::check_use_profile(&profile, &snapshot.reference().vocabulary, "use_profile");
            let facts = profile.r#use.unwrap_or_default();
            let message = pb::CheckEligibilityRequest {
                model: "meta-llama/Llama-3.3-70B-Instruct".into(),
                r#use: Some(pb::Use::default()),
                ..Default::default()
            };
            // Facts that a profile may hold are facts that a request takes.
            let read = convert::check_request(message, Some(facts), &snapshot.reference().vocabulary);
            if let (Ok(()), Err(RequestRefused::Invalid(violations))) = (checked, read) {
                panic!("{violations:?}");
            }
        }
    }
}

fn decided(snapshot: &Arc<Snapshot>, message: pb::CheckEligibilityRequest) -> Option<pb::Decision> {
    let asked = convert::check_request(message, None, &snapshot.reference().vocabulary).ok()?;
    let answer = REGISTRY.check_on(snapshot, &asked, |checked| {
        let mut decision = convert::decision(&checked.decision, checked.name, checked.revision);
        REGISTRY.explain(snapshot, checked, &mut decision);
        decision
    });
    answer.ok()
}

/// Requests that write, which are only validated.
pub fn write_request(data: &[u8]) {
    let Some((which, rest)) = chosen(data) else { return };
    let registry = &*REGISTRY;
    let before = registry.snapshot().revision();
    RUNTIME.block_on(async {
        match which % 4 {
            0 => {
                let Ok(message) = pb::CreateModelRequest::decode(rest) else { return };
                let _ = registry.create_model(pb::CreateModelRequest { validate_only: true, ..message }).await;
            }
            1 => {
                let Ok(message) = pb::UpdateModelRequest::decode(rest) else { return };
                let _ = registry.update_model(pb::UpdateModelRequest { validate_only: true, ..message }).await;
            }
            2 => {
                let Ok(message) = pb::CreateLicenseRequest::decode(rest) else { return };
                let _ = registry.create_license(pb::CreateLicenseRequest { validate_only: true, ..message }).await;
            }
            _ => {
                let Ok(message) = pb::UpdateLicenseRequest::decode(rest) else { return };
                let _ = registry.update_license(pb::UpdateLicenseRequest { validate_only: true, ..message }).await;
            }
        }
    });
    assert_eq!(registry.snapshot().revision(), before, "what is only validated changes nothing");
}

/// Stored bytes: what is read is stored and read again as the same.
pub fn stored_record(data: &[u8]) {
    let _ = convert::decode_note(data);
    let _ = convert::decode_decision(data);
    let Ok(record) = convert::decode(data) else { return };
    let again = convert::decode(&convert::encode(record.clone())).expect("what was encoded is decoded");
    assert_eq!(again.encode_to_vec(), record.encode_to_vec());
    let Some(kind) = record.record else { return };
    let snapshot = REGISTRY.snapshot();
    match kind {
        Kind::Model(message) => drop(convert::model(message, "")),
        Kind::License(message) => {
            if let Ok(mut license) = convert::license(message, "") {
                license.work_out_limits(&snapshot.reference().vocabulary);
                let _ = license.problems(&snapshot.reference().vocabulary);
            }
        }
        Kind::UsePolicy(message) => drop(convert::restrictions(message.use_restrictions)),
        Kind::Provider(message) => drop(convert::provider(message)),
        Kind::Offering(message) => drop(convert::offering(message)),
        Kind::UseProfile(message) => {
            let _ = convert::check_use_profile(&message, &snapshot.reference().vocabulary, "");
        }
        Kind::Waiver(message) => drop(convert::waiver(message, "")),
        Kind::Policy(message) => drop(convert::stored_policy(&message)),
        Kind::Deployment(message) => {
            let _ = convert::check_deployment(&message, &snapshot.reference().vocabulary, "");
        }
        Kind::SourceRecord(message) => source_record(message),
    }
}

fn source_record(message: storage::SourceRecord) {
    let Ok(record) = convert::source_record(message) else { return };
    let again = convert::source_record(convert::source_record_message(&record)).expect("what was stored is read");
    assert_eq!(again, record);
}

/// One file, or several, each below a line `=== path`.
fn files(data: &[u8], path: &str) -> Vec<File> {
    const MARK: &[u8] = b"=== ";
    if !data.starts_with(MARK) {
        return vec![File { path: path.into(), bytes: data.to_vec() }];
    }
    let mut files: Vec<File> = Vec::new();
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        match (line.strip_prefix(MARK), files.last_mut()) {
            (Some(path), _) => {
                let path = String::from_utf8_lossy(path.trim_ascii()).into();
                files.push(File { path, bytes: Vec::new() });
            }
            (None, Some(file)) => file.bytes.extend_from_slice(line),
            (None, None) => {}
        }
    }
    files
}

/// Reads a document of model records.
type Importer = fn(&[File], &Limits) -> Result<Reading, ImportError>;

/// A document: it is read the same twice, what it says is kept as it was read, and the report of an import is the same twice.
fn imported(source: pb::ImportSource, files: &[File], read: Option<Importer>) {
    if let Some(read) = read {
        let first = read(files, &Limits::default());
        assert_eq!(read(files, &Limits::default()), first);
        let Ok(reading) = first else { return };
        for record in reading.records {
            let kept = convert::source_record(convert::source_record_message(&record)).expect("what was read is kept");
            let read = ingest::statement::SourceRecord { warnings: Vec::new(), ..record };
            assert_eq!(kept, read);
        }
    }
    let config = pb::ImportConfig {
        source: source.into(),
        origin: "fuzz".into(),
        validate_only: true,
        repository: "example/model".into(),
    };
    let report = || {
        let request = ImportRequest { config: config.clone(), files: files.to_vec() };
        RUNTIME.block_on(REGISTRY.import(request)).map_err(|error| error.to_string())
    };
    let first = report();
    assert_eq!(report(), first);
    assert!(first.as_ref().map_or_else(|error| !error.contains("shut"), |_| true), "{first:?}");
}

/// The API document of models.dev.
pub fn import_models_dev(data: &[u8]) {
    imported(pb::ImportSource::ModelsDev, &files(data, "api.json"), None);
}

/// The catalog of models.dev.
pub fn import_catalog(data: &[u8]) {
    imported(pb::ImportSource::ModelsDevCatalog, &files(data, "models.json"), Some(ingest::models_dev::catalog::read));
}

/// Files of the Model Openness Tool.
pub fn import_mot(data: &[u8]) {
    imported(pb::ImportSource::Mot, &files(data, "model.yml"), Some(ingest::mot::read));
}

/// Files of the European Open Source AI Index.
pub fn import_osai(data: &[u8]) {
    imported(pb::ImportSource::Osai, &files(data, "model.yaml"), Some(ingest::osai::read));
}

/// The models of compar:IA.
pub fn import_comparia(data: &[u8]) {
    imported(pb::ImportSource::Comparia, &files(data, "models.json"), Some(ingest::comparia::read));
}

/// The table of Epoch AI.
pub fn import_epoch(data: &[u8]) {
    imported(pb::ImportSource::Epoch, &files(data, "all_ai_models.csv"), Some(ingest::epoch::read));
}

/// A model card of the hub.
pub fn import_model_card(data: &[u8]) {
    imported(pb::ImportSource::ModelCard, &files(data, "README.md"), Some(model_card));
}

fn model_card(files: &[File], limits: &Limits) -> Result<Reading, ImportError> {
    ingest::model_card::read(files, "example/model", limits)
}

/// Records of a registry such as this; the first byte chooses the form.
pub fn import_records(data: &[u8]) {
    let Some((which, rest)) = chosen(data) else { return };
    let path = ["records.json", "records.toml", "records.yaml", "records.ndjson"][usize::from(which % 4)];
    imported(pb::ImportSource::Records, &files(rest, path), None);
}

/// A file of tokens and certificates: it names everything that is wrong, and what it gives is asked for.
pub fn credentials(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    match Credentials::parse(text) {
        Ok(credentials) => {
            let (tokens, certificates) = credentials.counts();
            let authenticator = Authenticator::default();
            authenticator.set_credentials(credentials);
            for line in text.lines() {
                let named = line.split('"').nth(1).unwrap_or_default().to_owned();
                let header = format!("Bearer {named}");
                let by_token = authenticator.authenticate(Some(&header), None, 1_790_000_000);
                assert!(tokens > 0 || by_token.is_err());
                let shown = Shown { names: vec![named], not_after: i64::MAX };
                let by_certificate = authenticator.authenticate(None, Some(&shown), 1_790_000_000);
                assert!(certificates > 0 || by_certificate.is_err());
            }
            let _ = authenticator.authenticate(Some(text), None, i64::MAX);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A set of keys, and below an empty line a token. Nobody comes in by a token that the keys did not sign.
pub fn jwt(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let (set, token) = text.split_once("\n\n").unwrap_or((text, ""));
    let settings = JwtSettings { issuer: "issuer".into(), audience: "audience".into(), role_claim: "role".into() };
    let Ok(keys) = Keys::parse(set, settings) else { return };
    assert!(!keys.is_empty());
    let authenticator = Authenticator::default();
    authenticator.set_keys(keys);
    let header = format!("Bearer {}", token.trim());
    let first = authenticator.authenticate(Some(&header), None, 1_790_000_000);
    assert_eq!(authenticator.authenticate(Some(&header), None, 1_790_000_000), first);
}

/// A client certificate.
pub fn certificate(data: &[u8]) {
    for name in shown_by(data).names {
        assert!(name.contains(':'), "{name}");
    }
}

/// A backup as it is, and one whose rows are the input, under checksums that hold: what is read is written as the same.
pub fn backup(data: &[u8]) {
    let _ = verify_backup(data, "registry");
    if let Some(rewritten) = rewritten(data) {
        assert_eq!(rewritten, data);
    }
    let (totals, rows) = data.split_at(data.len().min(TOTALS_SIZE_BYTES));
    let (rows, digest) = sealed(rows);
    let totals = [b"e", totals, &digest.to_be_bytes()].concat();
    let mut writer = ArchiveWriter::new(Vec::new()).expect("memory takes it");
    writer.section("registry").expect("memory takes it");
    writer.part(&rows).expect("memory takes it");
    writer.part(&totals).expect("memory takes it");
    let archive = writer.finish().expect("memory takes it");
    assert_eq!(rewritten(&archive).as_ref(), Some(&archive));
    if let Ok(sections) = verify_backup(&archive[..], "registry") {
        assert_eq!(sections.len(), 1);
    }
}

/// Four numbers and two times, before the digest.
const TOTALS_SIZE_BYTES: usize = 48;
const CHECKSUM_SIZE_BYTES: usize = 8;

/// Rows as a part of a backup, and their digest. Each stands behind the sizes of its key and its row, in a byte and in two; the
/// last eight bytes of a row become its checksum.
fn sealed(mut data: &[u8]) -> (Vec<u8>, u128) {
    let (mut rows, mut digest) = (b"r".to_vec(), 0_u128);
    while let Some(([key_size, high, low], rest)) = data.split_first_chunk::<3>() {
        let (key, rest) = rest.split_at(usize::from(*key_size).min(rest.len()));
        let row_size = usize::from(u16::from_be_bytes([*high, *low]));
        let (row, rest) = rest.split_at(row_size.min(rest.len()));
        let body = &row[..row.len().saturating_sub(CHECKSUM_SIZE_BYTES)];
        let key_sized = [&(key.len() as u64).to_be_bytes()[..], key].concat();
        let row = [body, &xxh3_64(&[&key_sized, body].concat()).to_be_bytes()].concat();
        digest = digest.wrapping_add(xxh3_128(&[&key_sized[..], &row].concat()));
        rows.extend_from_slice(&u16::try_from(key.len()).expect("a byte").to_be_bytes());
        rows.extend_from_slice(key);
        rows.extend_from_slice(&u32::try_from(row.len()).expect("two bytes").to_be_bytes());
        rows.extend_from_slice(&row);
        data = rest;
    }
    (rows, digest)
}

fn rewritten(archive: &[u8]) -> Option<Vec<u8>> {
    let mut reader = ArchiveReader::new(archive).ok()?;
    let mut writer = ArchiveWriter::new(Vec::new()).expect("memory takes it");
    loop {
        match reader.frame().ok()? {
            Frame::Section(label) => writer.section(&label).expect("memory takes it"),
            Frame::Part(part) => writer.part(&part).expect("memory takes it"),
            Frame::End => return Some(writer.finish().expect("memory takes it")),
        }
    }
}
