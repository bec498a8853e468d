//! `weighbridge licenses`.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::client::{ListArguments, ServerArguments, failed, read_message, read_tree};
use super::moment::MomentArguments;
use super::output::{Output, Style, complain};
use super::{Failure, compare, fields, history};
use crate::catalog::fields::LicenseField;
use crate::convert;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use crate::registry::builtin;

const LICENSE: &str = "weighbridge.v1.License";

/// Look at and change licenses.
#[derive(Debug, Subcommand)]
pub(super) enum LicensesCommand {
    /// List licenses by name.
    List {
        #[command(flatten)]
        list: ListArguments,
        #[command(flatten)]
        moment: MomentArguments,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Show a license.
    Get {
        /// Its id or resource name.
        license: String,
        #[command(flatten)]
        moment: MomentArguments,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// List the revisions that changed a license, newest first: when, by whom, and which fields.
    History {
        /// Its id or resource name; it may have been deleted since.
        license: String,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Write the licenses of files or folders (`License` as JSON, YAML or TOML, with its `name`): new ones are added,
    /// others replaced. Nothing is written if one of them is not valid.
    Apply {
        /// Files or folders.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Check everything, but write nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Put the terms of two licenses side by side; what differs is marked.
    Compare(compare::CompareArguments),
    /// List the fields of filters and orders, with what they hold.
    Fields,
    /// Print the JSON Schema of license files, for editors and other tools.
    Schema,
    /// Check license files without a server, and report every problem with file and key.
    Validate {
        /// Files or folders.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

pub(super) async fn run(command: LicensesCommand, out: &Output) -> Result<u8, Failure> {
    match command {
        LicensesCommand::List { list: asked, moment, server } => list(asked, &moment, &server, out).await,
        LicensesCommand::Fields => fields::print::<LicenseField>(out).map(|()| 0),
        LicensesCommand::History { license, server } => history(resource_name(license), &server, out).await,
        LicensesCommand::Get { license, moment, server } => {
            let mut client = LicenseServiceClient::new(server.connect().await?);
            let request = pb::GetLicenseRequest {
                name: resource_name(license),
                as_of_revision: moment.revision(),
                as_of_time: moment.time(),
            };
            let found = client.get_license(request).await.map_err(|s| failed(&s))?;
            out.json(LICENSE, &found.into_inner()).map(|()| 0)
        }
        LicensesCommand::Apply { paths, dry_run, server } => apply(&paths, dry_run, &server, out).await,
        LicensesCommand::Compare(arguments) => compare::run(arguments, out).await,
        LicensesCommand::Schema => out.schema(convert::license_schema()).map(|()| 0),
        LicensesCommand::Validate { paths } => {
            let licenses = validate(&paths)?;
            for (path, license) in &licenses {
                out.line(&format!("{}: {} is valid", path.display(), license.name))?;
            }
            Ok(0)
        }
    }
}

fn resource_name(license: String) -> String {
    if license.starts_with("licenses/") { license } else { format!("licenses/{license}") }
}

async fn history(name: String, server: &ServerArguments, out: &Output) -> Result<u8, Failure> {
    let mut client = LicenseServiceClient::new(server.connect().await?);
    let mut all = pb::ListLicenseRevisionsResponse::default();
    let mut page_token = String::new();
    loop {
        let request = pb::ListLicenseRevisionsRequest { name: name.clone(), page_size: 100, page_token };
        let page = client.list_license_revisions(request).await.map_err(|s| failed(&s))?.into_inner();
        all.revisions.extend(page.revisions);
        all.oldest_revision = page.oldest_revision;
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    if out.is_json() {
        return out.json("weighbridge.v1.ListLicenseRevisionsResponse", &all).map(|()| 0);
    }
    let entries = all.revisions.iter().map(|revision| history::Entry {
        revision: revision.revision,
        time: revision.create_time.as_ref(),
        actor: &revision.actor,
        origin: revision.origin(),
        change: revision.change(),
        record: revision.license.as_ref(),
    });
    history::print(out, LICENSE, &entries.collect::<Vec<_>>(), all.oldest_revision).map(|()| 0)
}

async fn list(
    asked: ListArguments,
    moment: &MomentArguments,
    server: &ServerArguments,
    out: &Output,
) -> Result<u8, Failure> {
    let mut client = LicenseServiceClient::new(server.connect().await?);
    let mut all = pb::ListLicensesResponse::default();
    let mut page_token = String::new();
    loop {
        let ListArguments { filter, order_by } = asked.clone();
        let request = pb::ListLicensesRequest {
            page_size: 200,
            page_token,
            filter,
            order_by,
            as_of_revision: moment.revision(),
            as_of_time: moment.time(),
            ..Default::default()
        };
        let page = client.list_licenses(request).await.map_err(|s| failed(&s))?.into_inner();
        all.total_size = page.total_size;
        all.licenses.extend(page.licenses);
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    if out.is_json() {
        return out.json("weighbridge.v1.ListLicensesResponse", &all).map(|()| 0);
    }
    for license in &all.licenses {
        let category = license.category().as_str_name().trim_start_matches("CATEGORY_");
        let origin = license.origin().as_str_name().trim_start_matches("ORIGIN_");
        let id = license.name.trim_start_matches("licenses/");
        out.line(&format!("{id:<48} {category:<24} {origin:<9} {}", license.display_name))?;
    }
    out.line(&out.styled(Style::Dim, &format!("{} licenses", all.total_size)))?;
    Ok(0)
}

async fn apply(paths: &[PathBuf], dry_run: bool, server: &ServerArguments, out: &Output) -> Result<u8, Failure> {
    let licenses = validate(paths)?;
    let mut client = LicenseServiceClient::new(server.connect().await?);
    // First everything is checked against the registry, then everything is written.
    for validate_only in [true, false] {
        if !validate_only && dry_run {
            break;
        }
        for (path, license) in &licenses {
            let request = pb::UpdateLicenseRequest {
                license: Some(pb::License { etag: String::new(), ..license.clone() }),
                update_mask: Some(prost_types::FieldMask { paths: vec!["*".into()] }),
                allow_missing: true,
                validate_only,
                ..Default::default()
            };
            let written = client.update_license(request).await.map_err(|status| {
                let Failure { code, message } = failed(&status);
                Failure { code, message: format!("{}: {message}", path.display()) }
            })?;
            let written = written.into_inner();
            if !validate_only || dry_run {
                let what = if dry_run {
                    "is valid and would be written".into()
                } else {
                    format!("stands at revision {}", written.revision)
                };
                out.line(&format!("{}: {} {what}", path.display(), written.name))?;
            }
        }
    }
    Ok(0)
}

/// Reads and checks license files, and reports every problem of every file.
fn validate(paths: &[PathBuf]) -> Result<Vec<(PathBuf, pb::License)>, Failure> {
    let builtin = builtin::builtin().map_err(|problems| Failure::new(problems.join("\n")))?;
    let vocabulary = &builtin.reference.vocabulary;
    let mut licenses: Vec<(PathBuf, pb::License)> = Vec::new();
    let mut problems = 0;
    let mut report = |text: &str| {
        problems += 1;
        complain(text);
    };
    for path in files(paths)? {
        let read = read_tree(&path).and_then(|tree| read_message(&path.display().to_string(), &tree, LICENSE));
        let message: pb::License = match read {
            Ok(message) => message,
            Err(failure) => {
                failure.message.lines().for_each(&mut report);
                continue;
            }
        };
        match convert::license(message.clone(), "") {
            Err(violations) => {
                for v in violations {
                    report(&format!("{}: {}: {}", path.display(), v.field, v.description));
                }
            }
            Ok(license) => {
                for problem in license.problems(vocabulary) {
                    report(&format!("{}: {problem}", path.display()));
                }
                let policy = &*license.use_policy.policy;
                if !policy.is_empty() && !builtin.use_policies().any(|known| known == policy) {
                    let near = convert::nearest(policy, builtin.use_policies());
                    let shown = path.display();
                    report(&format!("{shown}: use_policy.policy: `{policy}` is no shared list{near}"));
                }
                if let Some((other, _)) = licenses.iter().find(|(_, l)| l.name == message.name) {
                    report(&format!("{}: name: `{}` is also in {}", path.display(), message.name, other.display()));
                }
                licenses.push((path, message));
            }
        }
    }
    if problems > 0 {
        return Err(Failure::usage(format!("{problems} problem(s) found, nothing was written")));
    }
    Ok(licenses)
}

/// The files named, and those of the folders named, in order.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let failed = |path: &Path, e: std::io::Error| Failure::new(format!("`{}` could not be read: {e}", path.display()));
    let mut out = Vec::new();
    for path in paths {
        if !path.is_dir() {
            out.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|e| failed(path, e))? {
            let entry = entry.map_err(|e| failed(path, e))?.path();
            if convert::text::Syntax::of_path(&entry).is_some() {
                found.push(entry);
            }
        }
        if found.is_empty() {
            return Err(Failure::usage(format!("`{}` holds no .toml, .yaml or .json file", path.display())));
        }
        found.sort();
        out.extend(found);
    }
    Ok(out)
}
