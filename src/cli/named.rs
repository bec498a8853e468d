//! `weighbridge profiles`, `weighbridge waivers` and, in part, `weighbridge policies`: records that have a name of one segment and nothing but the standard
//! methods.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use prost::Message;
use serde_json::Value;
use tonic::Status;

use super::Failure;
use super::client::{Channel, ServerArguments, failed, read_message, read_tree};
use super::output::{Output, Style, to_json};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::use_profile_service_client::UseProfileServiceClient;
use crate::pb::weighbridge::v1::waiver_service_client::WaiverServiceClient;

/// What can be done with such records.
#[derive(Debug, Subcommand)]
pub(super) enum NamedCommand {
    /// List them by name.
    List {
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Show one.
    Get {
        /// Its id or resource name.
        name: String,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Write those of files (JSON, YAML or TOML, one a file, with its `name`): new ones are added, others replaced. Nothing
    /// is written if one of them is not valid.
    Apply {
        /// Files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Check everything, but write nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Delete one.
    Delete {
        /// Its id or resource name.
        name: String,
        /// Delete only if it still has this etag.
        #[arg(long)]
        etag: Option<String>,
        #[command(flatten)]
        server: ServerArguments,
    },
}

/// The service behind the records of one kind.
pub(super) trait Collection: Sized {
    type Record: Message + Default + Clone;
    /// First segment of their names.
    const COLLECTION: &'static str;
    /// Full name of the message.
    const MESSAGE: &'static str;

    fn open(channel: Channel) -> Self;
    /// The records of a file.
    fn read(path: &Path) -> Result<Vec<Self::Record>, Failure> {
        Ok(vec![read_message(&path.display().to_string(), &read_tree(path)?, Self::MESSAGE)?])
    }
    async fn get(&mut self, name: String) -> Result<Self::Record, Status>;
    /// A page, and the token of the next one.
    async fn page(&mut self, page_token: String) -> Result<(Vec<Self::Record>, String), Status>;
    /// Writes it, whoever changed it in between.
    async fn put(&mut self, record: Self::Record, validate_only: bool) -> Result<(), Status>;
    async fn delete(&mut self, name: String, etag: String) -> Result<(), Status>;
    /// One line for people.
    fn line(record: &Self::Record) -> String;
}

pub(super) async fn run<C: Collection>(command: NamedCommand, out: &Output) -> Result<u8, Failure> {
    match command {
        NamedCommand::List { server } => list::<C>(&server, out).await,
        NamedCommand::Get { name, server } => {
            let mut client = C::open(server.connect().await?);
            let found = client.get(full::<C>(name)).await.map_err(|s| failed(&s))?;
            out.json(C::MESSAGE, &found).map(|()| 0)
        }
        NamedCommand::Apply { files, dry_run, server } => apply::<C>(&files, dry_run, &server, out).await,
        NamedCommand::Delete { name, etag, server } => {
            let mut client = C::open(server.connect().await?);
            client.delete(full::<C>(name), etag.unwrap_or_default()).await.map_err(|s| failed(&s))?;
            Ok(0)
        }
    }
}

fn full<C: Collection>(name: String) -> String {
    let is_full = name.strip_prefix(C::COLLECTION).is_some_and(|rest| rest.starts_with('/'));
    if is_full { name } else { format!("{}/{name}", C::COLLECTION) }
}

async fn list<C: Collection>(server: &ServerArguments, out: &Output) -> Result<u8, Failure> {
    let mut client = C::open(server.connect().await?);
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let (records, next) = client.page(page_token).await.map_err(|s| failed(&s))?;
        all.extend(records);
        if next.is_empty() {
            break;
        }
        page_token = next;
    }
    if out.is_json() {
        let all: Result<Vec<Value>, _> = all.iter().map(|record| to_json(C::MESSAGE, record)).collect();
        return out.value(&Value::Array(all?)).map(|()| 0);
    }
    for record in &all {
        out.line(&C::line(record))?;
    }
    out.line(&out.styled(Style::Dim, &format!("{} {}", all.len(), C::COLLECTION)))?;
    Ok(0)
}

async fn apply<C: Collection>(
    files: &[PathBuf],
    dry_run: bool,
    server: &ServerArguments,
    out: &Output,
) -> Result<u8, Failure> {
    let mut read = Vec::new();
    for file in files {
        read.extend(C::read(file)?.into_iter().map(|record| (file.display(), record)));
    }
    let mut client = C::open(server.connect().await?);
    // First everything is checked, then everything is written.
    for validate_only in [true, false] {
        if !validate_only && dry_run {
            break;
        }
        for (file, record) in &read {
            client.put(record.clone(), validate_only).await.map_err(|status| {
                let Failure { code, message } = failed(&status);
                Failure { code, message: format!("{file}: {message}") }
            })?;
        }
    }
    for file in files {
        out.line(&format!("{}: {}", file.display(), if dry_run { "is valid" } else { "is written" }))?;
    }
    Ok(0)
}

pub(super) fn whole() -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: vec!["*".into()] })
}

impl Collection for UseProfileServiceClient<Channel> {
    type Record = pb::UseProfile;
    const COLLECTION: &'static str = "useProfiles";
    const MESSAGE: &'static str = "weighbridge.v1.UseProfile";

    fn open(channel: Channel) -> Self {
        Self::new(channel)
    }

    async fn get(&mut self, name: String) -> Result<pb::UseProfile, Status> {
        Ok(self.get_use_profile(pb::GetUseProfileRequest { name, ..Default::default() }).await?.into_inner())
    }

    async fn page(&mut self, page_token: String) -> Result<(Vec<pb::UseProfile>, String), Status> {
        let request = pb::ListUseProfilesRequest { page_size: 1_000, page_token };
        let page = self.list_use_profiles(request).await?.into_inner();
        Ok((page.use_profiles, page.next_page_token))
    }

    async fn put(&mut self, record: pb::UseProfile, validate_only: bool) -> Result<(), Status> {
        let use_profile = Some(pb::UseProfile { etag: String::new(), ..record });
        let request = pb::UpdateUseProfileRequest {
            use_profile,
            update_mask: whole(),
            allow_missing: true,
            validate_only,
            ..Default::default()
        };
        self.update_use_profile(request).await.map(drop)
    }

    async fn delete(&mut self, name: String, etag: String) -> Result<(), Status> {
        self.delete_use_profile(pb::DeleteUseProfileRequest { name, etag, validate_only: false, ..Default::default() })
            .await
            .map(drop)
    }

    fn line(record: &pb::UseProfile) -> String {
        let title = if record.display_name.is_empty() { &record.description } else { &record.display_name };
        format!("{:<40} {title}", record.name)
    }
}

impl Collection for WaiverServiceClient<Channel> {
    type Record = pb::Waiver;
    const COLLECTION: &'static str = "waivers";
    const MESSAGE: &'static str = "weighbridge.v1.Waiver";

    fn open(channel: Channel) -> Self {
        Self::new(channel)
    }

    async fn get(&mut self, name: String) -> Result<pb::Waiver, Status> {
        Ok(self.get_waiver(pb::GetWaiverRequest { name, ..Default::default() }).await?.into_inner())
    }

    async fn page(&mut self, page_token: String) -> Result<(Vec<pb::Waiver>, String), Status> {
        let page = self.list_waivers(pb::ListWaiversRequest { page_size: 1_000, page_token }).await?.into_inner();
        Ok((page.waivers, page.next_page_token))
    }

    async fn put(&mut self, record: pb::Waiver, validate_only: bool) -> Result<(), Status> {
        let waiver = Some(pb::Waiver { etag: String::new(), ..record });
        let request = pb::UpdateWaiverRequest {
            waiver,
            update_mask: whole(),
            allow_missing: true,
            validate_only,
            ..Default::default()
        };
        self.update_waiver(request).await.map(drop)
    }

    async fn delete(&mut self, name: String, etag: String) -> Result<(), Status> {
        self.delete_waiver(pb::DeleteWaiverRequest { name, etag, validate_only: false, ..Default::default() })
            .await
            .map(drop)
    }

    fn line(record: &pb::Waiver) -> String {
        let until = record.expire_time.as_ref().and_then(|at| jiff::Timestamp::new(at.seconds, 0).ok());
        let until = until.map_or_else(String::new, |at| at.to_string());
        let scope = [&record.license, &record.model, &record.use_profile];
        let scope: Vec<&str> = scope.into_iter().filter(|name| !name.is_empty()).map(String::as_str).collect();
        format!("{:<40} {:<28} until {until}  {}", record.name, record.reason, scope.join(", "))
    }
}
