//! JSON Web Tokens (RFC 7519) of one issuer, verified with a set of public keys (RFC 7517).
//!
//! Issuer and audience are required: a token that the same issuer made for another service is nobody's here. Only signatures by
//! public keys are taken; one by a shared secret, or none, is not.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{Caller, Refusal, Role};

/// How far the clock of the issuer may be off, in seconds.
const LEEWAY_S: i64 = 30;
/// Longest token.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Keys of a set: a token that names none is held against each.
const KEYS_MAX: usize = 32;
/// Tokens that are remembered as verified.
const VERIFIED_MAX: usize = 4_096;
/// Longest subject that history keeps.
const SUBJECT_BYTES_MAX: usize = 256;

/// Everything that is wrong with a set of keys, a line each.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .0.join("\n"))]
pub struct JwtError(pub Vec<String>);

/// Which tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    /// `iss` must be this.
    pub issuer: String,
    /// `aud` must hold this.
    pub audience: String,
    /// The claim with the role's name, or a list of them, of which the highest counts.
    pub role_claim: String,
}

/// The claims that count.
#[derive(Clone, Debug, Deserialize)]
pub struct Claims {
    sub: Option<String>,
    exp: i64,
    nbf: Option<i64>,
    #[serde(flatten)]
    others: HashMap<String, serde_json::Value>,
}

/// The keys of an issuer.
pub struct Keys {
    settings: JwtSettings,
    keys: Vec<Key>,
    /// By digest: what was verified, and until when it holds.
    verified: Mutex<HashMap<[u8; 32], (Caller, i64)>>,
}

struct Key {
    id: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keys").field("settings", &self.settings).field("keys", &self.keys.len()).finish()
    }
}

impl Keys {
    /// Reads a JWKS document.
    ///
    /// # Errors
    /// It is none, a key cannot be used, or none is left.
    pub fn parse(text: &str, settings: JwtSettings) -> Result<Keys, JwtError> {
        let set: JwkSet =
            serde_json::from_str(text).map_err(|error| JwtError(vec![format!("no set of keys: {error}")]))?;
        let (mut keys, mut problems) = (Vec::new(), Vec::new());
        for (i, jwk) in set.keys.iter().enumerate() {
            // Keys for encryption lie in the same sets.
            if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
                continue;
            }
            match usable(jwk, &settings) {
                Ok(key) => keys.push(key),
                Err(problem) => problems.push(format!("keys[{i}]: {problem}")),
            }
        }
        if set.keys.len() > KEYS_MAX {
            problems.push(format!("it has more than {KEYS_MAX} keys"));
        }
        if keys.is_empty() && problems.is_empty() {
            problems.push("it has no key for signatures".to_owned());
        }
        if !problems.is_empty() {
            return Err(JwtError(problems));
        }
        Ok(Keys { settings, keys, verified: Mutex::default() })
    }

    /// How many keys it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has none, which [`Keys::parse`] does not make.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn verify(&self, token: &str, now: i64) -> Result<Caller, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Invalid { why: "the token is too long" });
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some((caller, until)) = self.verified().get(&digest) {
            return if now < *until { Ok(caller.clone()) } else { Err(Refusal::Expired) };
        }
        let claims = self.claims(token)?;
        let until = claims.exp.saturating_add(LEEWAY_S);
        if until <= now {
            return Err(Refusal::Expired);
        }
        if claims.nbf.is_some_and(|from| from > now.saturating_add(LEEWAY_S)) {
            return Err(Refusal::Invalid { why: "the token is not valid yet (`nbf`)" });
        }
        let caller = self.caller(&claims)?;
        let mut verified = self.verified();
        if verified.len() >= VERIFIED_MAX {
            verified.retain(|_, (_, until)| now < *until);
            if verified.len() >= VERIFIED_MAX {
                verified.clear();
            }
        }
        verified.insert(digest, (caller.clone(), until));
        Ok(caller)
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], (Caller, i64)>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The claims, if a key of the set signed them for this service.
    fn claims(&self, token: &str) -> Result<Claims, Refusal> {
        let header = decode_header(token).map_err(|_| Refusal::Invalid { why: "the token cannot be read" })?;
        // Where a token does not name its key each of the set may be it.
        let fits = |key: &&Key| match (&header.kid, &key.id) {
            (Some(asked), Some(id)) => asked == id,
            (Some(_), None) | (None, _) => true,
        };
        let mut refusal = Refusal::Invalid { why: "the token is signed by no known key" };
        for key in self.keys.iter().filter(fits) {
            match decode::<Claims>(token, &key.key, &key.validation) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(error) => match error.kind() {
                    // What follows a right signature is the reason.
                    ErrorKind::InvalidIssuer => refusal = Refusal::Invalid { why: "the token is of another issuer" },
                    ErrorKind::InvalidAudience => {
                        refusal = Refusal::Invalid { why: "the token is for another audience" };
                    }
                    ErrorKind::MissingRequiredClaim(_) => {
                        refusal = Refusal::Invalid { why: "the token lacks one of `exp`, `iss`, `aud`" };
                    }
                    ErrorKind::Json(_) | ErrorKind::InvalidClaimFormat(_) => {
                        refusal = Refusal::Invalid { why: "the claims of the token cannot be read" };
                    }
                    _ => {}
                },
            }
        }
        Err(refusal)
    }

    fn caller(&self, claims: &Claims) -> Result<Caller, Refusal> {
        let subject = claims.sub.as_deref().unwrap_or_default();
        let is_printable = subject.chars().all(|c| !c.is_control());
        if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || !is_printable {
            return Err(Refusal::Invalid { why: "the token has no subject (`sub`) of up to 256 bytes" });
        }
        let actor = format!("jwt:{subject}");
        let names: Vec<&str> = match claims.others.get(&self.settings.role_claim) {
            Some(serde_json::Value::String(name)) => vec![name],
            Some(serde_json::Value::Array(names)) => names.iter().filter_map(|name| name.as_str()).collect(),
            _ => Vec::new(),
        };
        let role = names.into_iter().filter_map(Role::parse).max();
        let what_to_do = "the issuer has to put reader, editor, policy-admin or admin into the claim for it";
        let role = role.ok_or(Refusal::NoRole { actor: actor.clone(), what_to_do })?;
        Ok(Caller { actor: actor.into(), role })
    }
}

fn usable(jwk: &Jwk, settings: &JwtSettings) -> Result<Key, String> {
    let possible: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return Err("this curve is not known; use P-256 or P-384".to_owned()),
        },
        AlgorithmParameters::OctetKeyPair(_) => &[Algorithm::EdDSA],
        AlgorithmParameters::OctetKey(_) => {
            return Err("it is a shared secret, which is not taken: sign with RSA, ECDSA or Ed25519".to_owned());
        }
        _ => return Err("this kind of key is not known".to_owned()),
    };
    let stated = match jwk.common.key_algorithm {
        Some(algorithm) => Some(Algorithm::try_from(algorithm).map_err(|_| "its algorithm is not known".to_owned())?),
        None => None,
    };
    let algorithms = match stated {
        Some(stated) if possible.contains(&stated) => vec![stated],
        Some(_) => return Err("its algorithm does not fit its kind".to_owned()),
        None => possible.to_vec(),
    };
    let key = DecodingKey::from_jwk(jwk).map_err(|error| format!("it cannot be read: {error}"))?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.algorithms = algorithms;
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&[&settings.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    // Against the time that comes in.
    validation.validate_exp = false;
    Ok(Key { id: jwk.common.key_id.clone(), key, validation })
}
