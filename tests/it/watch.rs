//! Watches over gRPC: what is told against what the lists and the log say, resumption, pace, and the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::ChangeKind::{Added, Changed, Removed};
use weighbridge::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::registry::WatchLimits;
use weighbridge::store::Store;

use crate::harness::{TestServer, fields, in_etcd, new_store, new_store_to_compact, reason, refused, store_at};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

type Models = ModelServiceClient<Channel>;

/// A server on each kind of store, with the store itself.
fn each_store(path: &Path) -> Vec<(Arc<dyn Store>, TestServer)> {
    let disk = (!in_etcd()).then(|| store_at(path));
    let stores = std::iter::once(new_store()).chain(disk);
    stores.map(|store| (store.clone(), TestServer::on(store))).collect()
}

fn name(id: &str) -> String {
    format!("publishers/acme/models/{id}")
}

fn model(id: &str, context_tokens: i64) -> pb::Model {
    pb::Model { name: name(id), display_name: id.into(), context_tokens, ..Default::default() }
}

async fn put(models: &mut Models, model: pb::Model) -> pb::Model {
    let request = pb::UpdateModelRequest { model: Some(model), allow_missing: true, ..Default::default() };
    models.update_model(request).await.unwrap().into_inner()
}

async fn delete(models: &mut Models, name: String) {
    models.delete_model(pb::DeleteModelRequest { name, ..Default::default() }).await.unwrap();
}

fn quick(filter: &str, start_revision: i64) -> pb::WatchModelsRequest {
    pb::WatchModelsRequest {
        filter: filter.into(),
        start_revision,
        heartbeat_interval: Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 }),
        ..Default::default()
    }
}

async fn watch(models: &mut Models, request: pb::WatchModelsRequest) -> Streaming<pb::WatchModelsResponse> {
    models.watch_models(request).await.unwrap().into_inner()
}

/// The next message with changes.
async fn next(stream: &mut Streaming<pb::WatchModelsResponse>) -> pb::WatchModelsResponse {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let message = stream.message().await.unwrap().unwrap();
        if !message.changes.is_empty() {
            return message;
        }
    }
    panic!("nothing has changed");
}

/// The status that ends a stream.
async fn end<M>(stream: &mut Streaming<M>) -> Status {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match stream.message().await {
            Ok(message) => drop(message.expect("a watch does not end without a reason")),
            Err(status) => return status,
        }
    }
    panic!("the watch has not ended");
}

fn resume_revision(status: &Status) -> i64 {
    status.get_error_details().error_info().unwrap().metadata["resume_revision"].parse().unwrap()
}

fn kinds(message: &pb::WatchModelsResponse) -> Vec<(pb::ChangeKind, &str)> {
    message.changes.iter().map(|change| (change.kind(), change.name.rsplit('/').next().unwrap())).collect()
}

/// A client that takes little without being read from.
async fn slow_reader(server: &TestServer) -> Models {
    let endpoint = Endpoint::from_shared(server.address.clone()).unwrap();
    Models::new(endpoint.initial_stream_window_size(1 << 16).connect().await.unwrap())
}

async fn revision(models: &mut Models) -> i64 {
    let request = pb::ListModelsRequest { page_size: 1, ..Default::default() };
    models.list_models(request).await.unwrap().into_inner().revision
}

#[tokio::test]
async fn a_change_is_told_as_it_shows_to_the_one_who_watches() {
    let folder = tempfile::tempdir().unwrap();
    for (_, server) in each_store(folder.path()) {
        let mut models = Models::new(server.connect().await);
        let mut all = watch(&mut models, quick("", 0)).await;
        let mut long = watch(
            &mut models,
            pb::WatchModelsRequest {
                parent: "publishers/acme".into(),
                read_mask: Some(prost_types::FieldMask { paths: vec!["context_tokens".into()] }),
                ..quick("context_tokens >= 1000", 0)
            },
        )
        .await;
        let start = revision(&mut models).await;
        for stream in [&mut all, &mut long] {
            let first = stream.message().await.unwrap().unwrap();
            assert_eq!((first.revision, first.partial, first.changes.len()), (start, false, 0));
        }
        let one = put(&mut models, model("one", 500)).await;
        let grown = put(&mut models, model("one", 2_000)).await;
        put(&mut models, model("one", 3_000)).await;
        put(&mut models, model("one", 10)).await;
        delete(&mut models, name("one")).await;

        let created = next(&mut all).await;
        assert_eq!(kinds(&created), [(Added, "one")]);
        assert_eq!((created.revision, created.partial), (one.revision, false));
        assert_eq!(created.changes[0].model, Some(one));
        assert!(created.commit_time.is_some());
        for _ in 0..3 {
            assert_eq!(kinds(&next(&mut all).await), [(Changed, "one")]);
        }
        let gone = next(&mut all).await;
        assert_eq!(kinds(&gone), [(Removed, "one")]);
        assert_eq!(gone.changes[0].model.as_ref().unwrap().context_tokens, 10);

        // The same, as it looks through a filter: it is there from 2,000 to 3,000.
        let came = next(&mut long).await;
        assert_eq!((kinds(&came), came.revision), (vec![(Added, "one")], grown.revision));
        assert_eq!(came.changes[0].model, Some(pb::Model { context_tokens: 2_000, ..Default::default() }));
        assert_eq!(kinds(&next(&mut long).await), [(Changed, "one")]);
        let went = next(&mut long).await;
        assert_eq!(kinds(&went), [(Removed, "one")]);
        assert_eq!(went.changes[0].model.as_ref().unwrap().context_tokens, 3_000);
        let quiet = long.message().await.unwrap().unwrap();
        assert_eq!((quiet.revision, quiet.changes.len()), (gone.revision, 0));
    }
}

#[tokio::test]
async fn an_overlay_changes_and_its_end_shows_the_record_below() {
    let server = TestServer::in_memory();
    let mut models = Models::new(server.connect().await);
    let llama = "publishers/meta/models/llama-3.3-70b-instruct";
    let mut stream = watch(&mut models, quick("", 0)).await;
    let built_in =
        models.get_model(pb::GetModelRequest { name: llama.into(), ..Default::default() }).await.unwrap().into_inner();
    put(&mut models, pb::Model { name: llama.into(), family: "x".into(), ..Default::default() }).await;
    let overlaid = next(&mut stream).await;
    assert_eq!(kinds(&overlaid), [(Changed, "llama-3.3-70b-instruct")]);
    assert_eq!(overlaid.changes[0].model.as_ref().unwrap().origin(), pb::Origin::Operator);
    delete(&mut models, llama.into()).await;
    let back = next(&mut stream).await;
    assert_eq!(kinds(&back), [(Changed, "llama-3.3-70b-instruct")]);
    assert_eq!(back.changes[0].model, Some(built_in));
}

#[tokio::test]
async fn a_watch_that_goes_on_is_told_what_it_missed_and_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    for (_, server) in each_store(folder.path()) {
        let mut models = Models::new(server.connect().await);
        put(&mut models, model("kept", 1)).await;
        put(&mut models, model("gone", 1)).await;
        let mut stream = watch(&mut models, quick("", 0)).await;
        let seen = put(&mut models, model("kept", 2)).await.revision;
        assert_eq!(next(&mut stream).await.revision, seen);
        drop(stream);
        put(&mut models, model("kept", 3)).await;
        delete(&mut models, name("gone")).await;
        put(&mut models, model("new", 1)).await;
        put(&mut models, model("kept", 4)).await;
        let last = put(&mut models, model("fleeting", 4)).await.revision;

        let mut stream = watch(&mut models, quick("publisher = acme AND context_tokens <= 3", seen)).await;
        let first = stream.message().await.unwrap().unwrap();
        assert_eq!((first.revision, first.changes.len()), (seen, 0));
        let mut told = Vec::new();
        while told.len() < 4 {
            let message = next(&mut stream).await;
            assert!(message.revision > seen);
            told.extend(kinds(&message).into_iter().map(|(kind, name)| (kind, name.to_owned())));
        }
        let wanted = [(Changed, "kept"), (Removed, "gone"), (Added, "new"), (Removed, "kept")];
        assert_eq!(told, wanted.map(|(kind, name)| (kind, name.to_owned())));
        // What no longer concerns it moves it on all the same.
        let beat = stream.message().await.unwrap().unwrap();
        assert_eq!((beat.revision, beat.changes.len()), (last, 0));
    }
}

#[tokio::test]
async fn licenses_are_watched_alike() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut licenses = LicenseServiceClient::new(channel.clone());
    let request = |filter: &str| pb::WatchLicensesRequest { filter: filter.into(), ..Default::default() };
    let mut stream = licenses.watch_licenses(request("osi_approved = true")).await.unwrap().into_inner();
    let start = stream.message().await.unwrap().unwrap().revision;
    let mut models = watch(&mut Models::new(channel), quick("license.osi_approved = true", 0)).await;
    let name = "licenses/MIT".to_owned();
    let mut change = async |display_name: &str, osi_approved: bool| {
        let license =
            pb::License { name: name.clone(), display_name: display_name.into(), osi_approved, ..Default::default() };
        let mask = prost_types::FieldMask { paths: vec!["display_name".into(), "osi_approved".into()] };
        let request =
            pb::UpdateLicenseRequest { license: Some(license), update_mask: Some(mask), ..Default::default() };
        licenses.update_license(request).await.unwrap().into_inner()
    };
    let renamed = change("The MIT License", true).await;
    change("The MIT License", false).await;
    let message = stream.message().await.unwrap().unwrap();
    assert!(message.revision > start && !message.partial);
    assert_eq!((message.changes[0].kind(), &message.changes[0].license), (Changed, &Some(renamed)));
    let message = stream.message().await.unwrap().unwrap();
    assert_eq!((message.changes[0].kind(), message.changes[0].name.as_str()), (Removed, "licenses/MIT"));
    // Of the models under it nothing is told: their records did not change.
    for _ in 0..3 {
        assert_eq!(models.message().await.unwrap().unwrap().changes, []);
    }
}

#[tokio::test]
async fn a_bad_request_is_told_all_that_is_wrong_with_it() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut models = Models::new(channel.clone());
    let bad = pb::WatchModelsRequest {
        parent: "acme".into(),
        filter: "contxt = 3".into(),
        start_revision: -1,
        read_mask: Some(prost_types::FieldMask { paths: vec!["nme".into()] }),
        heartbeat_interval: Some(prost_types::Duration { seconds: 301, nanos: 0 }),
    };
    let status = refused(models.watch_models(bad).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["parent", "filter", "start_revision", "read_mask", "heartbeat_interval"]);
    for (seconds, nanos) in [(0, 1), (-1, 0), (0, -1), (i64::MAX, i32::MAX), (i64::MIN, i32::MIN), (300, 1)] {
        let heartbeat_interval = Some(prost_types::Duration { seconds, nanos });
        let request = pb::WatchLicensesRequest { heartbeat_interval, ..Default::default() };
        let status =
            refused(LicenseServiceClient::new(channel.clone()).watch_licenses(request).await, Code::InvalidArgument);
        assert_eq!(fields(&status), ["heartbeat_interval"]);
    }
    let status = refused(models.watch_models(quick("", i64::MAX)).await, Code::FailedPrecondition);
    assert_eq!(reason(&status), "REVISION_NOT_REACHED");
}

#[tokio::test]
async fn a_revision_that_is_no_longer_kept_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (memory, _alone) = new_store_to_compact();
    let disk = (!in_etcd()).then(|| store_at(folder.path()));
    for store in std::iter::once(memory).chain(disk) {
        let server = TestServer::on(store.clone());
        let mut models = Models::new(server.connect().await);
        let first = put(&mut models, model("one", 1)).await.revision;
        let second = put(&mut models, model("one", 2)).await.revision;
        put(&mut models, model("one", 3)).await;
        store.compact(second.try_into().unwrap()).await.unwrap();
        let status = refused(models.watch_models(quick("", first)).await, Code::OutOfRange);
        assert_eq!(reason(&status), "REVISION_COMPACTED");
        let mut stream = watch(&mut models, quick("", second)).await;
        assert_eq!(next(&mut stream).await.changes[0].model.as_ref().unwrap().context_tokens, 3);
    }
}

#[tokio::test]
async fn heartbeats_come_while_nothing_changes() {
    let server = TestServer::in_memory();
    let mut models = Models::new(server.connect().await);
    let start = revision(&mut models).await;
    let begun = Instant::now();
    let mut stream = watch(&mut models, quick("", 0)).await;
    for _ in 0..4 {
        let message = stream.message().await.unwrap().unwrap();
        assert_eq!(message, pb::WatchModelsResponse { revision: start, ..Default::default() });
    }
    // The first at once, then three after an interval each.
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_large_commit_is_told_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    for (_, server) in each_store(folder.path()) {
        let channel = server.connect().await;
        let mut models = Models::new(channel.clone());
        let start = revision(&mut models).await;
        let mut stream = watch(&mut models, quick("publisher = acme", 0)).await;
        let count = 250;
        let imported = import(channel, count).await;
        let mut sizes = Vec::new();
        let mut names = Vec::new();
        let mut in_part = 0;
        loop {
            let message = next(&mut stream).await;
            assert_eq!(message.revision, imported);
            sizes.push(message.changes.len());
            assert!(kinds(&message).iter().all(|(kind, _)| *kind == Added));
            names.extend(message.changes.into_iter().map(|change| change.name));
            if !message.partial {
                break;
            }
            in_part = message.revision;
        }
        assert_eq!((sizes, in_part), (vec![100, 100, 50], imported));
        assert!(names.is_sorted() && names.len() == count);
        // Whoever lost it half way starts from the revision before, and is told all of it.
        let mut again = watch(&mut models, quick("publisher = acme", start)).await;
        let first = next(&mut again).await;
        assert_eq!((first.changes.len(), first.partial), (100, true));
        assert_eq!(first.changes[0].name, names[0]);
    }
}

/// Imports records of models as one commit, and answers its revision.
async fn import(channel: Channel, count: usize) -> i64 {
    use weighbridge::pb::weighbridge::v1::import_models_request::Payload;
    let config = pb::ImportConfig {
        source: pb::ImportSource::Records as i32,
        origin: "test.ndjson".into(),
        validate_only: false,
        repository: String::new(),
    };
    let lines = (0..count).map(|i| {
        let description = "x".repeat(2_000);
        format!("{{\"name\": \"{}\", \"description\": \"{description}\"}}\n", name(&format!("m{i:06}")))
    });
    let document = lines.collect::<String>().into_bytes();
    let payloads = std::iter::once(Payload::Config(config))
        .chain(document.chunks(1 << 20).map(|chunk| Payload::Chunk(chunk.to_vec())))
        .map(|payload| pb::ImportModelsRequest { payload: Some(payload) })
        .collect::<Vec<_>>();
    let mut client = ModelServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let report = client.import_models(tokio_stream::iter(payloads)).await.unwrap().into_inner().report.unwrap();
    assert_eq!(report.rejected, 0, "{:?}", report.entries);
    report.revision
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_dropped_and_the_server_goes_on() {
    let limits = WatchLimits { patience: Duration::from_millis(300), ..WatchLimits::default() };
    let server = TestServer::with_watch_limits(new_store(), limits);
    // On a connection of its own, of which nothing is read meanwhile.
    let mut slow = slow_reader(&server).await;
    let mut models = Models::new(server.connect().await);
    let start = revision(&mut models).await;
    let mut stream = watch(&mut slow, quick("", 0)).await;
    let imported = import(server.connect().await, 1_000).await;
    let mut quick_one = watch(&mut models, quick("", start)).await;
    for part in 0..10 {
        let message = next(&mut quick_one).await;
        assert_eq!((message.revision, message.partial), (imported, part < 9));
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let status = end(&mut stream).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "WATCH_TOO_SLOW"));
    // What was not told to its end is told again.
    assert_eq!(resume_revision(&status), start);
    let mut stream = watch(&mut slow, quick("", resume_revision(&status))).await;
    let mut told = 0;
    while told < 1_000 {
        told += next(&mut stream).await.changes.len();
    }
}

#[tokio::test]
async fn a_watch_that_falls_too_far_behind_is_dropped() {
    let limits = WatchLimits { behind_max: 3, ..WatchLimits::default() };
    let server = TestServer::with_watch_limits(new_store(), limits);
    let mut slow = slow_reader(&server).await;
    let mut models = Models::new(server.connect().await);
    import(server.connect().await, 1_000).await;
    let start = revision(&mut models).await;
    // From the beginning it may be further behind than that.
    let mut stream = watch(&mut slow, quick("", 1)).await;
    for context in 0..8 {
        put(&mut models, model("one", context)).await;
    }
    let status = end(&mut stream).await;
    assert_eq!(reason(&status), "WATCH_TOO_SLOW");
    assert!(resume_revision(&status) <= start);
    assert!(next(&mut watch(&mut slow, quick("", resume_revision(&status))).await).await.revision > 1);
}

#[tokio::test]
async fn a_watch_that_has_lasted_long_is_gone_on_with() {
    let limits = WatchLimits { life: Duration::from_millis(500), ..WatchLimits::default() };
    let server = TestServer::with_watch_limits(new_store(), limits);
    let mut models = Models::new(server.connect().await);
    let mut stream = watch(&mut models, quick("", 0)).await;
    let last = put(&mut models, model("one", 1)).await.revision;
    let status = end(&mut stream).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "WATCH_TOO_OLD"));
    assert!(resume_revision(&status) <= last);
    let second = put(&mut models, model("one", 2)).await.revision;
    let mut stream = watch(&mut models, quick("", last)).await;
    while next(&mut stream).await.revision < second {}
}

/// Stops servers of which something is watched, and answers how long the slowest of them took.
async fn stop_watched_servers() -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let mut longest = Duration::ZERO;
    for (_, server) in each_store(folder.path()) {
        let channel = server.connect().await;
        let mut models = Models::new(channel.clone());
        let mut stream = watch(&mut models, quick("", 0)).await;
        let mut licenses = LicenseServiceClient::new(channel)
            .watch_licenses(pb::WatchLicensesRequest::default())
            .await
            .unwrap()
            .into_inner();
        let last = put(&mut models, model("one", 1)).await.revision;
        next(&mut stream).await;
        licenses.message().await.unwrap().unwrap();
        let begun = Instant::now();
        let stopping = tokio::task::spawn_blocking(move || server.stop());
        let status = end(&mut stream).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "STOPPING"));
        assert_eq!(resume_revision(&status), last);
        assert_eq!(reason(&end(&mut licenses).await), "STOPPING");
        drop((models, stream, licenses));
        stopping.await.unwrap().unwrap();
        longest = longest.max(begun.elapsed());
    }
    longest
}

#[tokio::test]
async fn the_end_of_the_server_ends_watches_at_once() {
    // The drain time of tests is 300 ms: if it were waited for, none would be quicker. A busy machine may make one slower.
    let mut took = Vec::new();
    while took.len() < 10 {
        took.push(stop_watched_servers().await);
        if took.iter().any(|took| *took < Duration::from_millis(250)) {
            return;
        }
    }
    panic!("watches are waited for: {took:?}");
}

#[tokio::test]
async fn watches_are_bounded_and_one_that_ends_makes_room() {
    let limits = WatchLimits { watches_max: 2, ..WatchLimits::default() };
    let server = TestServer::with_watch_limits(new_store(), limits);
    let mut models = Models::new(server.connect().await);
    let first = watch(&mut models, quick("", 0)).await;
    let mut second = watch(&mut models, quick("", 0)).await;
    let status = refused(models.watch_models(quick("", 0)).await, Code::ResourceExhausted);
    assert_eq!(reason(&status), "TOO_MANY_WATCHES");
    drop(first);
    // The server hears of it in its own time.
    let begun = Instant::now();
    while models.watch_models(quick("", 0)).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        second.message().await.unwrap().unwrap();
    }
}

/// Numbers that look random, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(sides)).unwrap()
    }
}

const BUILT_IN: [&str; 3] =
    ["meta/models/llama-3.3-70b-instruct", "openai/models/gpt-4o", "allenai/models/olmo-2-1124-7b"];
/// The license terms that they ask for are not those that change meanwhile.
const WATCHED: [(&str, &str); 6] = [
    ("", ""),
    ("publishers/acme", "context_tokens >= 50"),
    ("publishers/-", "origin = OPERATOR AND NOT family = b"),
    ("", "publisher = acme AND license.commercial_use = ALLOWED"),
    ("", "license.read = true AND unknown(context_tokens > 10)"),
    ("publishers/meta", "family = a OR family = llama"),
];

fn any_model(dice: &mut Dice) -> pb::Model {
    let component = pb::Component {
        kind: pb::component::Kind::ModelWeights as i32,
        availability: pb::component::Availability::Available as i32,
        license_expression: ["Apache-2.0", "CC-BY-NC-4.0", ""][usize::try_from(dice.roll(3)).unwrap()].into(),
        ..Default::default()
    };
    pb::Model {
        family: ["a", "b", ""][usize::try_from(dice.roll(3)).unwrap()].into(),
        components: vec![component],
        ..model(&format!("m{:06}", dice.roll(160)), i64::from(dice.roll(100)))
    }
}

async fn write(channel: Channel, seed: u64) {
    let mut dice = Dice(seed);
    let mut models = Models::new(channel.clone());
    let built_in = |dice: &mut Dice| format!("publishers/{}", BUILT_IN[usize::try_from(dice.roll(3)).unwrap()]);
    for round in 0..70 {
        // Writers may come in each other's way: what matters is what is told of those that got through.
        let model = match dice.roll(10) {
            0..5 => Some(any_model(&mut dice)),
            5 => Some(pb::Model { name: built_in(&mut dice), ..any_model(&mut dice) })
                .map(|model| pb::Model { components: Vec::new(), ..model }),
            6 => {
                let name = built_in(&mut dice);
                let _ = models.delete_model(pb::DeleteModelRequest { name, ..Default::default() }).await;
                None
            }
            _ => {
                let name = any_model(&mut dice).name;
                let _ = models.delete_model(pb::DeleteModelRequest { name, ..Default::default() }).await;
                None
            }
        };
        if model.is_some() {
            let _ =
                models.update_model(pb::UpdateModelRequest { model, allow_missing: true, ..Default::default() }).await;
        }
        if seed == 1 && round == 30 {
            import(channel.clone(), 150).await;
            let license = pb::License { name: "licenses/MIT".into(), display_name: "MIT".into(), ..Default::default() };
            let request = pb::UpdateLicenseRequest { license: Some(license), ..Default::default() };
            LicenseServiceClient::new(channel.clone()).update_license(request).await.unwrap();
        }
    }
}

/// All models of a list, with the revision that it stands at.
async fn list(models: &mut Models, (parent, filter): (&str, &str)) -> (i64, BTreeMap<String, pb::Model>) {
    'again: loop {
        let mut found = BTreeMap::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListModelsRequest {
                parent: parent.into(),
                filter: filter.into(),
                page_size: 1_000,
                page_token,
                ..Default::default()
            };
            // Many revisions later the pages of a list are no longer at hand.
            let Ok(page) = models.list_models(request).await else { continue 'again };
            let page = page.into_inner();
            found.extend(page.models.into_iter().map(|model| (model.name.clone(), model)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return (page.revision, found);
            }
        }
    }
}

/// A copy of a list that is kept up to date by watches, one after the other.
struct Copy {
    models: BTreeMap<String, pb::Model>,
    complete: i64,
    /// The revisions that were told.
    told: Vec<i64>,
}

impl Copy {
    /// Takes messages of one watch, until it has had enough of them or has come to the end.
    async fn follow(&mut self, stream: &mut Streaming<pb::WatchModelsResponse>, messages: u64, end: i64) {
        let first = stream.message().await.unwrap().unwrap();
        assert_eq!((first.revision, first.changes.len()), (self.complete, 0));
        let mut parts: Vec<pb::ModelChange> = Vec::new();
        for _ in 0..messages {
            let message = stream.message().await.unwrap().unwrap();
            if message.changes.is_empty() {
                assert!(message.revision >= self.complete && parts.is_empty() && !message.partial);
            } else {
                assert!(message.revision > self.complete, "{} after {}", message.revision, self.complete);
                parts.extend(message.changes);
            }
            if message.partial {
                continue;
            }
            self.complete = message.revision;
            if !parts.is_empty() {
                self.told.push(message.revision);
            }
            for change in parts.drain(..) {
                self.apply(change);
            }
            if self.complete >= end {
                return;
            }
        }
    }

    fn apply(&mut self, change: pb::ModelChange) {
        let kind = change.kind();
        let record = change.model.expect("a change has a record");
        assert_eq!(record.name, change.name);
        match kind {
            Added => assert_eq!(self.models.insert(change.name, record), None),
            Changed => {
                let before = self.models.insert(change.name, record.clone());
                assert!(before.is_some_and(|before| before.etag != record.etag));
            }
            Removed => assert_eq!(self.models.remove(&change.name), Some(record)),
            pb::ChangeKind::Unspecified => panic!("a change has a kind"),
        }
    }
}

/// Follows a list through watches that end at random, from the first writes on or, if it is late, from when all is written.
async fn keep_a_copy(
    channel: Channel,
    seed: usize,
    late: bool,
    mut written: tokio::sync::watch::Receiver<Option<i64>>,
) -> (usize, i64, Copy) {
    let (parent, filter) = WATCHED[seed];
    let mut dice = Dice(seed as u64 + 100);
    let mut models = Models::new(channel);
    let (start, list) = list(&mut models, (parent, filter)).await;
    let mut copy = Copy { models: list, complete: start, told: Vec::new() };
    if late {
        written.wait_for(Option::is_some).await.unwrap();
    }
    loop {
        let end = (*written.borrow()).unwrap_or(i64::MAX);
        if copy.complete >= end {
            return (seed, start, copy);
        }
        let request = pb::WatchModelsRequest { parent: parent.into(), ..quick(filter, copy.complete) };
        let mut stream = watch(&mut models, request).await;
        let messages = if late { u64::MAX } else { 1 + u64::from(dice.roll(40)) };
        copy.follow(&mut stream, messages, end).await;
    }
}

#[tokio::test]
async fn copies_kept_by_watches_are_the_lists() {
    let folder = tempfile::tempdir().unwrap();
    for (store, server) in each_store(folder.path()) {
        let channel = server.connect().await;
        let (tell, written) = tokio::sync::watch::channel(None);
        let mut copies = tokio::task::JoinSet::new();
        for seed in 0..WATCHED.len() {
            for late in [false, true] {
                copies.spawn(keep_a_copy(server.connect().await, seed, late, written.clone()));
            }
        }
        let writers: Vec<_> = (1..4).map(|seed| tokio::spawn(write(channel.clone(), seed))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let mut models = Models::new(channel);
        tell.send_replace(Some(revision(&mut models).await));
        let mut seen = 0;
        while let Some(copy) = copies.join_next().await {
            let (seed, start, copy) = copy.unwrap();
            let (end, wanted) = list(&mut models, WATCHED[seed]).await;
            assert_eq!((copy.complete, copy.models.len()), (end, wanted.len()), "{:?}", WATCHED[seed]);
            assert!(copy.models == wanted, "{:?}", WATCHED[seed]);
            let commits = store.changes_since(start.try_into().unwrap(), usize::MAX).await.unwrap();
            let touches = |kind: &[u8]| {
                let of = |key: &[u8]| key.get(1..).is_some_and(|rest| rest.starts_with(kind));
                let some = commits.iter().filter(|commit| commit.writes.iter().any(|write| of(&write.key)));
                some.map(|commit| i64::try_from(commit.revision).unwrap()).collect::<Vec<_>>()
            };
            // Each record of theirs is an operator's, so that every one of them shows.
            let all = touches(b"/models/");
            match WATCHED[seed] {
                ("", "") => assert_eq!(copy.told, all),
                _ => assert!(copy.told.iter().all(|revision| all.contains(revision))),
            }
            assert!(copy.told.is_sorted_by(|a, b| a < b));
            seen += copy.told.len();
        }
        assert!(seen > 100, "{seen}");
    }
}
