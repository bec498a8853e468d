//! Asks a registry whether a model may be used, and fails closed.
//!
//!     cargo run --no-default-features --features client --example gate -- Qwen/Qwen3-32B commercial self-hosted
//!
//! `WEIGHBRIDGE_SERVER` names the server, `WEIGHBRIDGE_CA_CERT` and `WEIGHBRIDGE_TOKEN_FILE` the files for one with TLS. The
//! exit codes are those of `weighbridge check`: 0 may be used, 4 needs a review, 5 ineligible, 6 the model is not known,
//! 2 wrong arguments, 1 no answer.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

use std::process::ExitCode;

use tonic::Code;
use weighbridge::client::{Blocked, Gate, Settings};
use weighbridge::pb::weighbridge::v1::{CheckEligibilityRequest, Hosting, Purpose, Use, Verdict};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (gate, request) = match prepare() {
        Ok(prepared) => prepared,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    match gate.check(request).await {
        Ok(permission) => {
            println!("ALLOWED  {}", permission.decision().summary);
            for duty in &permission.decision().duties {
                println!("  duty: {}", duty.text);
            }
            ExitCode::SUCCESS
        }
        Err(blocked) => {
            println!("BLOCKED  {blocked}");
            if let Blocked::Decided { decision, .. } = &blocked {
                for fact in &decision.missing_facts {
                    println!("  missing: {fact}");
                }
            }
            ExitCode::from(code(&blocked))
        }
    }
}

fn prepare() -> Result<(Gate, CheckEligibilityRequest), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, purpose, hosting] = arguments.as_slice() else {
        return Err("write: gate MODEL PURPOSE HOSTING".into());
    };
    let name = |word: &str| word.to_uppercase().replace('-', "_");
    let known = Purpose::from_str_name(&format!("PURPOSE_{}", name(purpose)));
    let purpose = known.ok_or_else(|| format!("`{purpose}` is no purpose"))?.into();
    let known = Hosting::from_str_name(&format!("HOSTING_{}", name(hosting)));
    let hosting = known.ok_or_else(|| format!("`{hosting}` is no hosting"))?.into();
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let server = variable("WEIGHBRIDGE_SERVER").unwrap_or_else(|| "http://127.0.0.1:50051".to_owned());
    let mut settings = Settings::new(server);
    settings.ca_cert = variable("WEIGHBRIDGE_CA_CERT").map(std::fs::read).transpose()?;
    settings.token = variable("WEIGHBRIDGE_TOKEN_FILE").map(std::fs::read_to_string).transpose()?;
    let (model, r#use) = (model.clone(), Some(Use { purpose, hosting, ..Use::default() }));
    Ok((Gate::new(&settings)?, CheckEligibilityRequest { model, r#use, ..CheckEligibilityRequest::default() }))
}

fn code(blocked: &Blocked) -> u8 {
    match blocked {
        Blocked::Decided { decision, .. } => match decision.verdict() {
            Verdict::NeedsReview => 4,
            Verdict::Ineligible => 5,
            _ => 1,
        },
        Blocked::Conditions { .. } => 3,
        Blocked::NotFound { .. } => 6,
        Blocked::Refused { .. } | Blocked::NoAnswer { code: Code::Unimplemented, .. } => 2,
        // A kind of a later version of this crate blocks as well.
        _ => 1,
    }
}
