//! `weighbridge watch`.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use prost::Message;
use tonic::{Code, Status, Streaming};

use super::Failure;
use super::client::{ANSWER_BYTES_MAX, Channel, ServerArguments, failed};
use super::output::{Output, Style, note, to_json};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::deployment_service_client::DeploymentServiceClient;
use crate::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use crate::pb::weighbridge::v1::model_service_client::ModelServiceClient;

/// Longest pause before another try to reach the server.
const PAUSE_MAX: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// How long a server may be silent: it says something every ten seconds.
const SILENCE_MAX: Duration = Duration::from_secs(35);

/// Follow changes as they are made.
#[derive(Debug, Subcommand)]
pub(super) enum WatchCommand {
    /// Follow changes of models. A change of a license, an offering or an ancestor is none of the models it concerns.
    Models {
        /// Only those of a publisher, for example meta.
        #[arg(long)]
        publisher: Option<String>,
        #[command(flatten)]
        watch: WatchArguments,
    },
    /// Follow changes of licenses.
    Licenses {
        #[command(flatten)]
        watch: WatchArguments,
    },
    /// Follow the verdicts of deployments: what has changed, and what led to it.
    Deployments {
        /// Only those of an owner.
        #[arg(long, default_value = "", hide_default_value = true)]
        owner: String,
        /// Only those of an environment, for example production.
        #[arg(long, default_value = "", hide_default_value = true)]
        environment: String,
        #[command(flatten)]
        follow: FollowArguments,
    },
}

#[derive(Debug, Args)]
pub(super) struct WatchArguments {
    /// Only those that meet a filter, for example `tier = OPEN_WEIGHT AND context_tokens >= 128k`; `weighbridge models
    /// fields` (`licenses`) lists the fields.
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
    #[command(flatten)]
    follow: FollowArguments,
}

#[derive(Debug, Args)]
pub(super) struct FollowArguments {
    /// Begin with the changes after this revision, instead of from now on.
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(i64).range(1..))]
    since: Option<i64>,
    /// End after so many changes.
    #[arg(long, value_name = "CHANGES", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) async fn run(command: WatchCommand, out: &Output) -> Result<u8, Failure> {
    let following = async {
        match command {
            WatchCommand::Models { publisher, watch } => {
                let parent = publisher.map_or_else(String::new, |publisher| format!("publishers/{publisher}"));
                let WatchArguments { filter, follow: from } = watch;
                follow::<Models>(Wanted { parent, filter, ..Wanted::default() }, from, out).await
            }
            WatchCommand::Licenses { watch: WatchArguments { filter, follow: from } } => {
                follow::<Licenses>(Wanted { filter, ..Wanted::default() }, from, out).await
            }
            WatchCommand::Deployments { owner, environment, follow: from } => {
                follow::<Deployments>(Wanted { owner, environment, ..Wanted::default() }, from, out).await
            }
        }
    };
    tokio::select! {
        ended = following => ended,
        // Ctrl-C is how one leaves.
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.map(|()| 0).map_err(|e| Failure::new(format!("signals cannot be caught: {e}")))
        }
    }
}

/// What a message says, whichever kind of records it is of.
struct Told<C> {
    revision: i64,
    partial: bool,
    commit_time: Option<prost_types::Timestamp>,
    actor: String,
    changes: Vec<C>,
}

/// The watch of one kind of records.
trait Watch {
    type Response: Message + Default + 'static;
    type Change: Message;
    /// The name of the message of a change.
    const CHANGE: &'static str;

    async fn start(channel: Channel, wanted: &Wanted, from: &From) -> Result<Streaming<Self::Response>, Status>;
    fn told(response: Self::Response) -> Told<Self::Change>;
    /// Kind, name, and what the record is called and comes to.
    fn said(change: &Self::Change) -> (pb::ChangeKind, &str, String);
}

struct Models;

impl Watch for Models {
    type Response = pb::WatchModelsResponse;
    type Change = pb::ModelChange;
    const CHANGE: &'static str = "weighbridge.v1.ModelChange";

    async fn start(channel: Channel, wanted: &Wanted, from: &From) -> Result<Streaming<Self::Response>, Status> {
        let request = pb::WatchModelsRequest {
            parent: wanted.parent.clone(),
            filter: wanted.filter.clone(),
            start_revision: from.revision,
            ..Default::default()
        };
        let mut client = ModelServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        client.watch_models(request).await.map(tonic::Response::into_inner)
    }

    fn told(response: Self::Response) -> Told<Self::Change> {
        let pb::WatchModelsResponse { revision, partial, commit_time, actor, changes } = response;
        Told { revision, partial, commit_time, actor, changes }
    }

    fn said(change: &Self::Change) -> (pb::ChangeKind, &str, String) {
        let what = change.model.as_ref().map_or_else(String::new, |model| {
            let tier = model.tier().as_str_name().trim_start_matches("TIER_");
            let license =
                if model.license_expression.is_empty() { "no license known" } else { &model.license_expression };
            format!("{tier}  {license}")
        });
        (change.kind(), &change.name, what)
    }
}

struct Licenses;

impl Watch for Licenses {
    type Response = pb::WatchLicensesResponse;
    type Change = pb::LicenseChange;
    const CHANGE: &'static str = "weighbridge.v1.LicenseChange";

    async fn start(channel: Channel, wanted: &Wanted, from: &From) -> Result<Streaming<Self::Response>, Status> {
        let (filter, start_revision) = (wanted.filter.clone(), from.revision);
        let request = pb::WatchLicensesRequest { filter, start_revision, ..Default::default() };
        let mut client = LicenseServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        client.watch_licenses(request).await.map(tonic::Response::into_inner)
    }

    fn told(response: Self::Response) -> Told<Self::Change> {
        let pb::WatchLicensesResponse { revision, partial, commit_time, actor, changes } = response;
        Told { revision, partial, commit_time, actor, changes }
    }

    fn said(change: &Self::Change) -> (pb::ChangeKind, &str, String) {
        let what = change.license.as_ref().map_or_else(String::new, |license| license.display_name.clone());
        (change.kind(), &change.name, what)
    }
}

struct Deployments;

impl Watch for Deployments {
    type Response = pb::WatchDeploymentsResponse;
    type Change = pb::DeploymentChange;
    const CHANGE: &'static str = "weighbridge.v1.DeploymentChange";

    async fn start(channel: Channel, wanted: &Wanted, from: &From) -> Result<Streaming<Self::Response>, Status> {
        let request = pb::WatchDeploymentsRequest {
            owner: wanted.owner.clone(),
            environment: wanted.environment.clone(),
            start_revision: from.revision,
            start_time: from.time.filter(|_| from.revision > 0),
            ..Default::default()
        };
        let mut client = DeploymentServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        client.watch_deployments(request).await.map(tonic::Response::into_inner)
    }

    fn told(response: Self::Response) -> Told<Self::Change> {
        let pb::WatchDeploymentsResponse { revision, partial, event_time, actor, changes } = response;
        Told { revision, partial, commit_time: event_time, actor, changes }
    }

    fn said(change: &Self::Change) -> (pb::ChangeKind, &str, String) {
        let kind = match change.kind() {
            pb::DeploymentChangeKind::Added => pb::ChangeKind::Added,
            pb::DeploymentChangeKind::Removed => pb::ChangeKind::Removed,
            pb::DeploymentChangeKind::Changed | pb::DeploymentChangeKind::Unspecified => pb::ChangeKind::Changed,
        };
        let short = |verdict: pb::Verdict| verdict.as_str_name().trim_start_matches("VERDICT_").to_owned();
        let (before, after) = (short(change.before()), short(change.after()));
        let verdicts = match kind {
            pb::ChangeKind::Added => after,
            pb::ChangeKind::Removed => before,
            pb::ChangeKind::Changed | pb::ChangeKind::Unspecified => {
                format!("{before} → {after}, because of {}", change.causes.join(", "))
            }
        };
        (kind, change.deployment.as_ref().map_or("", |deployment| &deployment.name), verdicts)
    }
}

/// What is watched.
#[derive(Debug, Default)]
struct Wanted {
    parent: String,
    filter: String,
    owner: String,
    environment: String,
}

/// From where on.
struct From {
    revision: i64,
    /// Up to when everything that time brings was told.
    time: Option<prost_types::Timestamp>,
}

/// How far it has come, over all connections.
struct Position {
    /// A message has come.
    begun: bool,
    /// The last revision that came to its end; 0: from now on.
    complete: i64,
    /// The time of that.
    time: Option<prost_types::Timestamp>,
    /// The revision of the last change that was printed, and how many of it were: after a break in between they come again.
    printed: (i64, usize),
    /// How many changes are still wanted.
    left: u64,
}

async fn follow<W: Watch>(wanted: Wanted, watch: FollowArguments, out: &Output) -> Result<u8, Failure> {
    let FollowArguments { since, limit, server } = watch;
    let (complete, left) = (since.unwrap_or(0), limit.unwrap_or(u64::MAX));
    let mut position = Position { begun: false, complete, time: None, printed: (0, 0), left };
    let mut pause = PAUSE_MIN;
    let mut channel = Some(server.connect().await?);
    loop {
        let lost = match channel.take() {
            Some(channel) => {
                match W::start(channel, &wanted, &From { revision: position.complete, time: position.time }).await {
                    Ok(stream) => match read::<W>(stream, &mut position, &mut pause, out).await? {
                        None => return Ok(0),
                        Some(status) => status,
                    },
                    Err(status) => status,
                }
            }
            None => Status::unavailable(format!("no server answers at `{}`", server.server)),
        };
        // A server that was never there is an error; one that goes away is waited for.
        if !passes(&lost) || !position.begun {
            return Err(failed(&lost));
        }
        let (why, from, seconds) = (lost.message(), position.complete, pause.as_secs_f64());
        note(&format!("{why}; trying again from revision {from} in {seconds:.1} s"));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        channel = server.connect().await.ok();
    }
}

/// Whether a watch can be gone on with after this. A connection that breaks is not always UNAVAILABLE.
fn passes(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::ResourceExhausted | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
    )
}

/// Prints what a watch tells, until it ends. `None`: no more is wanted.
async fn read<W: Watch>(
    mut stream: Streaming<W::Response>,
    position: &mut Position,
    pause: &mut Duration,
    out: &Output,
) -> Result<Option<Status>, Failure> {
    // The revision that is being told on this connection, and how much of it has been.
    let mut seen = (0, 0);
    loop {
        let told = match tokio::time::timeout(SILENCE_MAX, stream.message()).await {
            Ok(Ok(Some(message))) => W::told(message),
            Ok(Ok(None)) => return Ok(Some(Status::unavailable("the server has ended the watch"))),
            Ok(Err(status)) => return Ok(Some(status)),
            Err(_) => return Ok(Some(Status::unavailable("the server has fallen silent"))),
        };
        (position.begun, *pause) = (true, PAUSE_MIN);
        for change in &told.changes {
            seen = (told.revision, if seen.0 == told.revision { seen.1 + 1 } else { 1 });
            if seen <= position.printed {
                continue;
            }
            position.printed = seen;
            position.left -= 1;
            if !print::<W>(&told, change, out)? || position.left == 0 {
                return Ok(None);
            }
        }
        if !told.partial {
            (position.complete, position.time) = (told.revision, told.commit_time);
            // What comes after a break comes after it.
            position.printed = (told.revision, 0);
            seen = (0, 0);
        }
    }
}

/// Prints a change; `false`: nobody reads any more.
fn print<W: Watch>(told: &Told<W::Change>, change: &W::Change, out: &Output) -> Result<bool, Failure> {
    let time = told.commit_time.as_ref().and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
    let time = time.map_or_else(|| "-".to_owned(), |time| time.to_string());
    if out.is_json() {
        let mut value = to_json(W::CHANGE, change)?;
        if let Some(fields) = value.as_object_mut() {
            // As the mapping writes 64-bit numbers.
            fields.insert("revision".into(), told.revision.to_string().into());
            fields.insert("commitTime".into(), time.into());
            if !told.actor.is_empty() {
                fields.insert("actor".into(), told.actor.clone().into());
            }
        }
        return out.line_for_reader(&value.to_string());
    }
    let (kind, name, what) = W::said(change);
    let (word, style) = match kind {
        pb::ChangeKind::Added => ("ADDED  ", Style::Good),
        pb::ChangeKind::Removed => ("REMOVED", Style::Bad),
        pb::ChangeKind::Changed | pb::ChangeKind::Unspecified => ("CHANGED", Style::Warn),
    };
    let by = if told.actor.is_empty() { String::new() } else { format!("  by {}", told.actor) };
    out.line_for_reader(&format!(
        "{}  {time}  {}  {}  {what}{by}",
        told.revision,
        out.styled(style, word),
        out.styled(Style::Bold, name)
    ))
}
