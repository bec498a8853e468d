//! `weighbridge credentials`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::{Timestamp, ToSpan as _};

use super::Failure;
use super::client::read_bounded;
use super::output::Output;
use super::security::on_lines;
use crate::auth::{Credentials, Role, digest_of, new_token};

/// Largest file.
const FILE_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum CredentialsCommand {
    /// Make a token: print it, this once, and the entry for the credentials file, which keeps only its digest.
    New(NewArguments),
    /// Say whether a credentials file is right, with every problem.
    Check {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct NewArguments {
    /// Whose it is, as history and the decision log will name it.
    #[arg(long)]
    name: String,
    /// What it allows: reader, editor, policy-admin or admin.
    #[arg(long, value_parser = role)]
    role: Role,
    /// For how many days it is valid; without end when not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    days: Option<u16>,
}

fn role(name: &str) -> Result<Role, String> {
    Role::parse(name).ok_or_else(|| "it is one of reader, editor, policy-admin, admin".to_owned())
}

pub(super) fn run(command: CredentialsCommand, out: &Output) -> Result<u8, Failure> {
    match command {
        CredentialsCommand::New(arguments) => new(&arguments, out),
        CredentialsCommand::Check { file } => {
            let text = String::from_utf8(read_bounded(&file, FILE_BYTES_MAX)?)
                .map_err(|_| Failure::usage(format!("`{}` is no text", file.display())))?;
            let found = Credentials::parse(&text).map_err(|error| Failure::usage(on_lines(&file, &error.0)))?;
            let (tokens, certificates) = found.counts();
            out.line(&format!("tokens: {tokens}, certificates: {certificates}"))?;
            Ok(0)
        }
    }
}

fn new(arguments: &NewArguments, out: &Output) -> Result<u8, Failure> {
    let token = new_token(getrandom::fill).map_err(|error| Failure::new(format!("no random bytes: {error}")))?;
    let NewArguments { name, role, days } = arguments;
    let expires = days.map(|days| {
        let at = Timestamp::now().checked_add((i64::from(days) * 24).hours());
        at.map(|at| format!("expires = {}\n", at.round(jiff::Unit::Second).unwrap_or(at)))
    });
    let expires = expires.transpose().map_err(|error| Failure::usage(error.to_string()))?.unwrap_or_default();
    let digest = digest_of(&token);
    let entry = format!("[[tokens]]\nname = \"{name}\"\nrole = \"{role}\"\nsha256 = \"{digest}\"\n{expires}");
    // What the file would not take is refused before anybody is told a token.
    Credentials::parse(&entry).map_err(|error| Failure::usage(error.0.join("\n")))?;
    if out.is_json() {
        let entry = serde_json::json!({ "token": token, "entry": entry });
        out.value(&entry)?;
    } else {
        out.line(&format!("token, shown this once:\n\n  {token}\n\nfor the credentials file:\n\n{entry}"))?;
    }
    Ok(0)
}
