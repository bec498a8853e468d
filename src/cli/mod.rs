//! The command line: the same use cases as the RPCs. One file a command.

mod advise;
mod backup;
mod chart;
mod check;
mod client;
mod compact;
mod compare;
mod config;
mod credentials;
mod decisions;
mod deployments;
mod document;
mod etcd;
mod export;
mod facts;
mod fields;
mod gate;
mod history;
mod import;
mod licenses;
mod migrate;
mod model_list;
mod models;
mod moment;
mod named;
mod notice;
mod offerings;
mod output;
mod policies;
mod receipt;
mod records;
mod restore;
mod sarif;
mod security;
mod serve;
mod status;
mod traces;
mod verify;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::pb::weighbridge::v1::use_profile_service_client::UseProfileServiceClient;
use crate::pb::weighbridge::v1::waiver_service_client::WaiverServiceClient;
use client::Channel;
use output::Output;

/// May we use this AI model, this way, here, at our size, and what must we then do?
#[derive(Debug, Parser)]
#[command(name = "weighbridge", version, about, propagate_version = true)]
struct Arguments {
    /// Form of the output.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, env = "WEIGHBRIDGE_FORMAT")]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for people.
    Text,
    /// The proto3 JSON mapping.
    Json,
    /// SARIF 2.1.0, of `check`: what stands in the way, beside the line that names the model.
    Sarif,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service.
    Serve(Box<serve::ServeArguments>),
    /// Check whether models may be used as described. Exit codes: 0 eligible or with conditions (3 with
    /// --strict-conditions), 4 review, 5 ineligible, 6 model not found, 2 usage, 1 failure; the worst of several models.
    Check(Box<check::CheckArguments>),
    /// Look at and change models.
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Ask where to run a model, on what, and at which cost.
    #[command(subcommand)]
    Advise(advise::AdviseCommand),
    /// Look at who serves which model, and at what price.
    #[command(subcommand)]
    Offerings(offerings::OfferingsCommand),
    /// Look at and change licenses.
    #[command(subcommand)]
    Licenses(licenses::LicensesCommand),
    /// Look at and change use profiles: named sets of facts, for `check --profile`.
    #[command(subcommand)]
    Profiles(named::NamedCommand),
    /// Look at and change waivers: recorded exceptions that silence findings until they expire.
    #[command(subcommand)]
    Waivers(named::NamedCommand),
    /// Look at, try out and change organisation policies.
    #[command(subcommand)]
    Policies(policies::PoliciesCommand),
    /// Look at and register deployments: what runs where, and whether it may.
    #[command(subcommand)]
    Deployments(deployments::DeploymentsCommand),
    /// Look at the decision log of a server.
    #[command(subcommand)]
    Decisions(decisions::DecisionsCommand),
    /// Get decisions as signed receipts, and verify them without a server.
    #[command(subcommand)]
    Receipt(receipt::ReceiptCommand),
    /// Write one attribution text for the models in use: the notices, names and phrases that their licenses, and those of
    /// the models whose weights they contain, want kept or shown.
    Notice(notice::NoticeArguments),
    /// Import a document of a known source.
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Write licenses and models as one JSON object a line, as `weighbridge import records` reads them.
    Export(export::ExportArguments),
    /// Look at the settings of `serve`.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Make and check the credentials that callers show.
    #[command(subcommand)]
    Credentials(credentials::CredentialsCommand),
    /// Write completions for a shell to standard output.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    Backup(backup::BackupArguments),
    Restore(restore::RestoreArguments),
    Verify(verify::VerifyArguments),
    Migrate(Box<migrate::MigrateArguments>),
    Compact(compact::CompactArguments),
    /// Follow changes of models or licenses as they are made, one line a change. Goes on by itself when the server goes away for
    /// a while; Ctrl-C ends it.
    #[command(subcommand)]
    Watch(watch::WatchCommand),
    /// Say what a server holds and how its store is.
    Status(status::StatusArguments),
}

/// What the registry's own store is called.
const REGISTRY_STORE: &str = "registry";

/// The stores of a data directory: the registry's own, and those of the decision log that are there.
fn stores_of(data_dir: &std::path::Path) -> Vec<(String, std::path::PathBuf)> {
    let log = ["decisions/0", "decisions/1"].map(|label| (label.to_owned(), data_dir.join(label)));
    let there = log.into_iter().filter(|(_, path)| path.exists());
    std::iter::once((REGISTRY_STORE.to_owned(), data_dir.to_path_buf())).chain(there).collect()
}

/// Why a command failed, with its exit code.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The command could not do its work.
    fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// The command was given wrong arguments.
    fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }
}

/// Runs the command of the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    let given: Vec<_> = std::env::args_os().collect();
    let read = config::matches(&Arguments::command(), &given).and_then(|(matches, settings)| {
        let arguments = Arguments::from_arg_matches(&matches).map_err(config::Wrong::Usage)?;
        Ok((arguments, settings))
    });
    let (arguments, settings) = match read {
        Ok(read) => read,
        Err(config::Wrong::Usage(error)) => {
            // Help and version go to standard output and succeed; usage errors exit with 2.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            let _ = error.print();
            return ExitCode::from(code);
        }
        Err(config::Wrong::Settings(problems)) => {
            output::complain(&problems.join("\n"));
            return ExitCode::from(2);
        }
    };
    let out = Output::new(arguments.format);
    match execute(arguments.command, &settings, &out) {
        Ok(code) => ExitCode::from(code),
        Err(Failure { code, message }) => {
            output::complain(&message);
            ExitCode::from(code)
        }
    }
}

/// How long work beside the commands may take to end.
const END_TIME: Duration = Duration::from_secs(5);

fn execute(command: Command, settings: &[config::Setting], out: &Output) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("a runtime could not be started: {e}")))?;
    if out.is_sarif() && !matches!(command, Command::Check(_)) {
        return Err(Failure::usage("--format sarif goes with `check`"));
    }
    let done = runtime.block_on(async {
        match command {
            Command::Serve(arguments) => serve::run(*arguments, out).await,
            Command::Check(arguments) => check::run(*arguments, out).await,
            Command::Models(command) => models::run(command, out).await,
            Command::Advise(command) => advise::run(command, out).await,
            Command::Offerings(command) => offerings::run(command, out).await,
            Command::Licenses(command) => licenses::run(command, out).await,
            Command::Profiles(command) => named::run::<UseProfileServiceClient<Channel>>(command, out).await,
            Command::Waivers(command) => named::run::<WaiverServiceClient<Channel>>(command, out).await,
            Command::Policies(command) => policies::run(command, out).await,
            Command::Deployments(command) => deployments::run(command, out).await,
            Command::Decisions(command) => decisions::run(command, out).await,
            Command::Receipt(command) => receipt::run(command, out).await,
            Command::Notice(arguments) => notice::run(arguments, out).await,
            Command::Import(command) => import::run(command, out).await,
            Command::Export(arguments) => export::run(arguments, out).await,
            Command::Config(command) => config::run(command, settings, out),
            Command::Credentials(command) => credentials::run(command, out),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Arguments::command(), "weighbridge", &mut script);
                out.line(String::from_utf8_lossy(&script).trim_end()).map(|()| 0)
            }
            Command::Backup(arguments) => backup::run(arguments, out).await,
            Command::Restore(arguments) => restore::run(arguments, out).await,
            Command::Verify(arguments) => verify::run(arguments, out),
            Command::Migrate(arguments) => migrate::run(*arguments, out).await,
            Command::Compact(arguments) => compact::run(arguments, out),
            Command::Watch(command) => watch::run(command, out).await,
            Command::Status(arguments) => status::run(arguments, out).await,
        }
    });
    // What hangs in a file system does not keep the process from ending.
    runtime.shutdown_timeout(END_TIME);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
