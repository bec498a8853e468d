//! The credentials file: tokens, by their digest, and the names in certificates.
//!
//! ```toml
//! [[tokens]]
//! name = "ci"
//! role = "reader"
//! sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
//! expires = 2027-06-30T00:00:00Z      # optional
//!
//! [[certificates]]
//! name = "spiffe://example.org/ns/prod/sa/gateway"    # or "spiffe://example.org/ns/prod/*", or "cert:gateway.example.org"
//! role = "editor"
//! ```
//!
//! A token is 256 random bits, so that one round of a hash is enough to keep it: there is nothing to guess.

use std::collections::HashSet;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use super::{Caller, Refusal, Role};

/// What a token begins with: secret scanners know it by that.
const TOKEN_PREFIX: &str = "wb_";
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// Entries of a file, of both kinds together.
const ENTRIES_MAX: usize = 10_000;

/// Everything that is wrong with a credentials file, a line each.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .0.join("\n"))]
pub struct CredentialsError(pub Vec<String>);

/// Who is let in by a token or a certificate.
#[derive(Debug, Default)]
pub struct Credentials {
    tokens: Vec<Token>,
    certificates: Vec<Certificate>,
}

#[derive(Debug)]
struct Token {
    digest: [u8; 32],
    caller: Caller,
    /// In seconds since 1970.
    expires: Option<i64>,
}

#[derive(Debug)]
struct Certificate {
    /// Without the `*` of one that stands for all that begin so.
    name: String,
    is_prefix: bool,
    role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tokens: Vec<toml::Spanned<TokenEntry>>,
    #[serde(default)]
    certificates: Vec<toml::Spanned<CertificateEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: String,
    role: String,
    sha256: String,
    expires: Option<toml::value::Datetime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateEntry {
    name: String,
    role: String,
}

impl Credentials {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(text: &str) -> Result<Credentials, CredentialsError> {
        let file: File = toml::from_str(text).map_err(|error| CredentialsError(vec![said(text, &error)]))?;
        let mut found = Credentials::default();
        let mut problems = Vec::new();
        let (mut names, mut digests) = (HashSet::new(), HashSet::new());
        if file.tokens.len() + file.certificates.len() > ENTRIES_MAX {
            problems.push(format!("it has more than {ENTRIES_MAX} entries"));
        }
        for entry in &file.tokens {
            let line = || line_of(text, entry.span().start);
            let TokenEntry { name, role, sha256, expires } = entry.get_ref();
            let mut problem = |what: String| problems.push(format!("line {}: token `{name}`: {what}", line()));
            if !is_name(name) {
                problem("`name` is 1 to 100 letters, digits and `.`, `_`, `-`".to_owned());
            }
            if !names.insert(name.as_str()) {
                problem("another one has that name".to_owned());
            }
            let role = Role::parse(role).ok_or_else(|| not_a_role(role)).map_err(&mut problem).ok();
            let digest = hex(sha256);
            if digest.is_none() {
                problem("`sha256` is the digest of the token, 64 hexadecimal digits".to_owned());
            } else if !digests.insert(digest) {
                problem("another one is the same token".to_owned());
            }
            let expires =
                expires.map(|at| seconds(&at).ok_or_else(|| "`expires` is a date or an RFC 3339 time".to_owned()));
            let expires = expires.transpose().map_err(&mut problem).ok();
            if let (Some(role), Some(digest), Some(expires)) = (role, digest, expires) {
                let caller = Caller { actor: format!("token:{name}").into(), role };
                found.tokens.push(Token { digest, caller, expires });
            }
        }
        for entry in &file.certificates {
            let line = || line_of(text, entry.span().start);
            let CertificateEntry { name, role } = entry.get_ref();
            let mut problem = |what: String| problems.push(format!("line {}: certificate `{name}`: {what}", line()));
            let (start, is_prefix) = name.strip_suffix('*').map_or((name.as_str(), false), |start| (start, true));
            if start.contains('*') || is_prefix && !(start.starts_with("spiffe://") && start.ends_with('/')) {
                problem(
                    "`*` stands for the last parts of a SPIFFE id, as in `spiffe://example.org/ns/prod/*`".to_owned(),
                );
            } else if !is_prefix && !start.starts_with("spiffe://") && !start.starts_with("cert:") {
                problem("`name` is `spiffe://…`, or `cert:` and a DNS name or the common name".to_owned());
            }
            if !names.insert(name.as_str()) {
                problem("another one has that name".to_owned());
            }
            if let Ok(role) = Role::parse(role).ok_or_else(|| not_a_role(role)).map_err(&mut problem) {
                found.certificates.push(Certificate { name: start.to_owned(), is_prefix, role });
            }
        }
        if problems.is_empty() { Ok(found) } else { Err(CredentialsError(problems)) }
    }

    /// How many tokens and certificates it knows.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.tokens.len(), self.certificates.len())
    }

    pub(super) fn by_token(&self, token: &str, now: i64) -> Result<Caller, Refusal> {
        let digest = Sha256::digest(token.as_bytes());
        // All are compared, each in the same time, whichever it is.
        let mut found = None;
        for known in &self.tokens {
            if bool::from(known.digest.ct_eq(digest.as_slice())) {
                found = Some(known);
            }
        }
        let known = found.ok_or(Refusal::Invalid { why: "the token is not known" })?;
        if known.expires.is_some_and(|expires| expires <= now) {
            return Err(Refusal::Expired);
        }
        Ok(known.caller.clone())
    }

    /// The caller of the first of a certificate's names that is known; exact names come before `*`, and long ones before short.
    pub(super) fn by_names(&self, names: &[String]) -> Option<Caller> {
        names.iter().find_map(|name| {
            let fits = |known: &&Certificate| {
                if known.is_prefix { name.starts_with(&known.name) } else { *name == known.name }
            };
            let best = self.certificates.iter().filter(fits);
            let best = best.max_by_key(|known| (!known.is_prefix, known.name.len()))?;
            Some(Caller { actor: name.as_str().into(), role: best.role })
        })
    }
}

/// A new token, from the random bytes of `fill`.
pub fn new_token<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<String, E> {
    use base64::Engine as _;
    let mut bytes = [0; TOKEN_BYTES];
    fill(&mut bytes)?;
    Ok(format!("{TOKEN_PREFIX}{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)))
}

/// What the file keeps of a token: its SHA-256, in hexadecimal digits.
#[must_use]
pub fn digest_of(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=100).contains(&name.len()) && name.chars().all(fits)
}

fn not_a_role(role: &str) -> String {
    let known: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    format!("`{role}` is no role: it is one of {}", known.join(", "))
}

fn hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A date is the beginning of its day, in UTC.
fn seconds(at: &toml::value::Datetime) -> Option<i64> {
    let text = at.to_string();
    if at.time.is_none() {
        let day: jiff::civil::Date = text.parse().ok()?;
        return Some(day.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second());
    }
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

fn said(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| line_of(text, span.start));
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    line.map_or(message.clone(), |line| format!("line {line}: {message}"))
}
