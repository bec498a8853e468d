//! Who may call what.
//!
//! A caller shows a bearer token, a JSON Web Token or a client certificate; [`Authenticator`] says who that is and which
//! [`Role`] they have, and [`methods`] which role each method asks for. Nothing here knows of gRPC or of the registry.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `methods.rs` | the one table of methods and roles |
//! | `credentials.rs` | the file of tokens and certificates |
//! | `jwt.rs` | JSON Web Tokens against a set of keys |
//! | `certificate.rs` | the names in a client certificate |

mod certificate;
mod credentials;
mod jwt;
pub mod methods;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use thiserror::Error;

pub use certificate::{Shown, shown as shown_by};
pub use credentials::{Credentials, CredentialsError, digest_of, new_token};
pub use jwt::{Claims, JwtError, JwtSettings, Keys};

/// What a caller may do; each role can do what those before it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Ask and look: checks, reads, lists, watches.
    Reader,
    /// Change models, licenses and use profiles, and import.
    Editor,
    /// Change what decides for all: policies and waivers.
    PolicyAdmin,
    /// Run the service: backups and restores.
    Admin,
}

impl Role {
    /// All of them, from the least.
    pub const ALL: [Role; 4] = [Role::Reader, Role::Editor, Role::PolicyAdmin, Role::Admin];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Editor => "editor",
            Role::PolicyAdmin => "policy-admin",
            Role::Admin => "admin",
        }
    }

    /// The role of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Role> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As history and the decision log name them: `token:NAME`, `jwt:SUBJECT`, the SPIFFE id or `cert:NAME` of a certificate.
    pub actor: Arc<str>,
    /// What they may do.
    pub role: Role,
}

/// Why a caller is not let in.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing was shown.
    #[error(
        "credentials are missing: send `authorization: Bearer TOKEN`, or a client certificate that the server knows"
    )]
    Missing,
    /// What was shown is nobody's.
    #[error("the credentials are not valid: {why}")]
    Invalid {
        /// What is wrong with them, as far as a stranger is told.
        why: &'static str,
    },
    /// They were valid.
    #[error("the credentials have expired")]
    Expired,
    /// They are somebody's who was given no role.
    #[error("`{actor}` has no role here: {what_to_do}")]
    NoRole {
        /// Who.
        actor: String,
        /// How one is given.
        what_to_do: &'static str,
    },
}

/// Says who calls.
#[derive(Debug, Default)]
pub struct Authenticator {
    credentials: ArcSwapOption<Credentials>,
    jwt: ArcSwapOption<Keys>,
}

impl Authenticator {
    /// Takes tokens and certificates of a file from now on.
    pub fn set_credentials(&self, credentials: Credentials) {
        self.credentials.store(Some(Arc::new(credentials)));
    }

    /// Takes JSON Web Tokens of a set of keys from now on. What was verified before is verified again.
    pub fn set_keys(&self, keys: Keys) {
        self.jwt.store(Some(Arc::new(keys)));
    }

    /// Whether anybody could be let in.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.credentials.load().is_some() || self.jwt.load().is_some()
    }

    /// Who shows this: the value of the `authorization` header, if there is one, else a verified certificate.
    ///
    /// `now` is in seconds since 1970.
    ///
    /// # Errors
    /// They are not let in.
    pub fn authenticate(
        &self,
        authorization: Option<&str>,
        shown: Option<&Shown>,
        now: i64,
    ) -> Result<Caller, Refusal> {
        let Some(authorization) = authorization else {
            return self.by_certificate(shown, now);
        };
        let token = bearer(authorization).ok_or(Refusal::Invalid { why: "the header is not `Bearer TOKEN`" })?;
        // A JSON Web Token has two dots, a token of ours none.
        if token.contains('.') {
            let keys = self.jwt.load();
            let keys = keys.as_ref().ok_or(Refusal::Invalid { why: "no JSON Web Tokens are taken here" })?;
            return keys.verify(token, now);
        }
        let credentials = self.credentials.load();
        let credentials = credentials.as_ref().ok_or(Refusal::Invalid { why: "no tokens are taken here" })?;
        credentials.by_token(token, now)
    }

    fn by_certificate(&self, shown: Option<&Shown>, now: i64) -> Result<Caller, Refusal> {
        let names = shown.map(|shown| shown.names.as_slice()).unwrap_or_default();
        let Some(first) = names.first() else { return Err(Refusal::Missing) };
        // It was verified when the connection began, which may be long ago.
        if shown.is_some_and(|shown| shown.not_after < now) {
            return Err(Refusal::Expired);
        }
        let credentials = self.credentials.load();
        let known = credentials.as_ref().and_then(|credentials| credentials.by_names(names));
        known.ok_or_else(|| Refusal::NoRole {
            actor: first.clone(),
            what_to_do: "add the name of the certificate to the credentials file",
        })
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
