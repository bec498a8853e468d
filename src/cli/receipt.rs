//! `weighbridge receipt`, and the key that `serve` signs receipts with.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::Failure;
use super::check::exit_code;
use super::client::{ServerArguments, failed, read_bounded, read_message};
use super::output::{Output, note, to_json};
use crate::attest::{self, PublicKey, Receipt, Signer};
use crate::convert::text::{self, Limits, Syntax};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use crate::server;
use crate::service::Signing;

const ENVELOPE: &str = "weighbridge.v1.Envelope";
/// How far apart clocks may be, in seconds.
const CLOCKS_DIFFER_S: i64 = 60;
/// Largest file of a key.
const KEY_BYTES_MAX: usize = 64 << 10;

/// Get and verify receipts.
#[derive(Debug, Subcommand)]
pub(super) enum ReceiptCommand {
    /// Get a recorded decision as a receipt: an in-toto statement in a DSSE envelope, signed with the server's key.
    Get {
        /// Id or resource name of the decision.
        name: String,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Verify a receipt, without a server, and show what it says. Exit codes: those of `check` for the verdict, 1 where the receipt
    /// does not hold.
    Verify(VerifyReceiptArguments),
    /// Make a key: the private part into a new file that only you can read, the public part to standard output.
    Keygen {
        /// The new file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct VerifyReceiptArguments {
    /// The receipt, JSON; `-` for standard input.
    file: PathBuf,
    /// Public keys of which one has to have signed it, PEM.
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// The model that it has to be about: its resource name, or the id that the check asked with.
    #[arg(long)]
    model: Option<String>,
    /// The use profile that it has to have been asked with. Facts beside it count before the profile's: look at the use.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// A label that the use has to have.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Who has to have asked, as the decision log names them.
    #[arg(long)]
    actor: Option<String>,
    /// The least registry revision that it was decided on.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    min_revision: Option<i64>,
    /// How old the decision may be, and how far back the time of the use, in hours.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    max_age_h: Option<u32>,
}

pub(super) async fn run(command: ReceiptCommand, out: &Output) -> Result<u8, Failure> {
    match command {
        ReceiptCommand::Get { name, server } => {
            let mut client = EligibilityServiceClient::new(server.connect().await?);
            let name = if name.starts_with("decisions/") { name } else { format!("decisions/{name}") };
            let request = pb::GetDecisionReceiptRequest { name };
            let envelope = client.get_decision_receipt(request).await.map_err(|s| failed(&s))?.into_inner();
            out.json(ENVELOPE, &envelope).map(|()| 0)
        }
        ReceiptCommand::Verify(arguments) => verify(&arguments, out),
        ReceiptCommand::Keygen { file } => keygen(&file, out),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl VerifyReceiptArguments {
    /// What a receipt that holds is not, and was asked to be.
    fn problems(&self, receipt: &Receipt, now: Timestamp) -> Vec<String> {
        let decision = &receipt.decision;
        let use_ = decision.r#use.clone().unwrap_or_default();
        let mut problems = Vec::new();
        if let Some(model) = self.model.as_ref().filter(|m| **m != decision.model && **m != decision.requested_model) {
            let (of, asked) = (&decision.model, &decision.requested_model);
            problems.push(format!("it is about `{of}` (asked for as `{asked}`), not `{model}`"));
        }
        if let Some(profile) = &self.profile {
            let (asked, given) = (profile.trim_start_matches("useProfiles/"), &decision.use_profile);
            if asked != given.trim_start_matches("useProfiles/") {
                problems.push(format!("it was asked with the profile `{given}`, not `{asked}`"));
            }
        }
        for (key, value) in self.labels.iter().filter(|(key, value)| use_.labels.get(key) != Some(value)) {
            problems.push(format!("the use has not the label `{key}={value}`"));
        }
        if let Some(actor) = self.actor.as_ref().filter(|actor| **actor != decision.actor) {
            problems.push(format!("`{}` asked, not `{actor}`", decision.actor));
        }
        if let Some(least) = self.min_revision.filter(|least| decision.revision < *least) {
            problems.push(format!("it was decided on revision {}, before {least}", decision.revision));
        }
        // Clocks differ a little.
        if receipt.time.duration_since(now).as_secs() > CLOCKS_DIFFER_S {
            problems.push(format!("it says that it was made at {}, which has not come", receipt.time));
        }
        if let Some(hours) = self.max_age_h {
            let used = use_.at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok()).unwrap_or(receipt.time);
            for (what, time) in [("the decision was made", receipt.time), ("the use is of a time", used)] {
                let age = now.duration_since(time).as_hours();
                if age >= i64::from(hours) {
                    problems.push(format!("{what} {age} hours ago"));
                } else if time.duration_since(now).as_secs() > CLOCKS_DIFFER_S {
                    problems.push(format!("{what} {time}, which has not come"));
                }
            }
        }
        problems
    }
}

fn keygen(file: &Path, out: &Output) -> Result<u8, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::new(format!("no random bytes: {error}")))?;
    let signer = Signer::of(seed);
    let text = signer.to_pem().map_err(|error| Failure::new(error.to_string()))?;
    let public = signer.public().to_pem().map_err(|error| Failure::new(error.to_string()))?;
    let failed = |error: std::io::Error| Failure::new(format!("`{}`: {error}", file.display()));
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    written.write_all(text.as_bytes()).and_then(|()| written.sync_all()).map_err(failed)?;
    note(&format!("key {}", signer.id()));
    out.line(public.trim_end()).map(|()| 0)
}

fn verify(arguments: &VerifyReceiptArguments, out: &Output) -> Result<u8, Failure> {
    let mut keys = Vec::new();
    for path in &arguments.keys {
        let text = String::from_utf8(read_bounded(path, KEY_BYTES_MAX)?).unwrap_or_default();
        let key = PublicKey::from_pem(&text);
        keys.push(key.map_err(|error| Failure::usage(format!("`{}`: {error}", path.display())))?);
    }
    let shown = arguments.file.display().to_string();
    let limits = Limits::default();
    let path = if shown == "-" { Path::new("/dev/stdin") } else { arguments.file.as_path() };
    let bytes = read_bounded(path, limits.max_bytes)?;
    let tree = text::parse(&bytes, Syntax::Json, &limits).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("{shown}: {problem}")).collect();
        Failure::new(lines.join("\n"))
    })?;
    let no = |why: &dyn std::fmt::Display| Failure::new(format!("{shown}: {why}"));
    let envelope: pb::Envelope =
        read_message(&shown, &tree, ENVELOPE).map_err(|failure| Failure::new(failure.message))?;
    let statement = attest::verify(&envelope, &keys).map_err(|error| no(&error))?;
    let receipt = attest::read(statement).map_err(|error| no(&error))?;
    let Receipt { decision, verifier, time } = &receipt;
    let problems = arguments.problems(&receipt, Timestamp::now());
    if !problems.is_empty() {
        return Err(no(&problems.join("; ")));
    }
    if out.is_json() {
        out.json("weighbridge.v1.Decision", decision)?;
    } else {
        let verdict = decision.verdict().as_str_name().trim_start_matches("VERDICT_");
        out.line(&format!("{verdict}  {}", decision.model))?;
        out.line(&format!("  {}", decision.summary))?;
        let used = to_json("weighbridge.v1.Use", &decision.r#use.clone().unwrap_or_default())?;
        let profile = if decision.use_profile.is_empty() { "" } else { " with " };
        out.line(&format!("  USE   {used}{profile}{}", decision.use_profile))?;
        for duty in &decision.duties {
            out.line(&format!("  DUTY  {}", duty.text))?;
        }
        out.line(&format!("  {} of {time}, revision {}, by {verifier}: verified", decision.name, decision.revision))?;
    }
    Ok(exit_code(decision.verdict(), false))
}

/// What receipts are signed with.
#[derive(Debug, Args)]
#[command(next_help_heading = "Receipts")]
pub(super) struct ReceiptKeyArguments {
    /// Private Ed25519 key that receipts of decisions are signed with, PEM (PKCS #8). There are none without it.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_RECEIPT_KEY")]
    receipt_key: Option<PathBuf>,
    /// Who vouches for receipts, a URI.
    #[arg(long, value_name = "URI", default_value = "weighbridge:registry", env = "WEIGHBRIDGE_RECEIPT_VERIFIER")]
    receipt_verifier: String,
}

impl ReceiptKeyArguments {
    /// Reads the key; `None`: there is none, or there are problems.
    pub(super) fn load(&self, problems: &mut Vec<String>) -> Option<Arc<Signing>> {
        let verifier = self.receipt_verifier.clone();
        let has_scheme = verifier.split_once(':').is_some_and(|(scheme, rest)| {
            let mut letters = scheme.chars();
            letters.next().is_some_and(|first| first.is_ascii_alphabetic())
                && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
                && !rest.is_empty()
        });
        if !has_scheme || verifier.contains(|c: char| c.is_whitespace() || c.is_control()) {
            problems.push(format!("--receipt-verifier: `{verifier}` is no URI as `https://registry.example.com`"));
        }
        let path = self.receipt_key.as_ref()?;
        let read = server::read_bounded(path, KEY_BYTES_MAX).and_then(|bytes| {
            let text = String::from_utf8(bytes).unwrap_or_default();
            Signer::from_pem(&text).map_err(|error| format!("`{}`: {error}", path.display()))
        });
        match read {
            Ok(signer) => Some(Arc::new(Signing { signer, verifier })),
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    }
}
