//! Ed25519 keys as files hold them: PKCS #8 and SubjectPublicKeyInfo in PEM (RFC 8410), which `openssl genpkey -algorithm ed25519`
//! writes.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Why a file is no key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// It is no private key.
    #[error("it holds no private Ed25519 key (PKCS #8, PEM): `weighbridge receipt keygen` makes one")]
    NotPrivate,
    /// It is no public key.
    #[error("it holds no public Ed25519 key (PEM)")]
    NotPublic,
    /// It could not be written.
    #[error("a key could not be written")]
    NotWritten,
}

/// What signs.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    id: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        formatter.debug_struct("Signer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Signer {
    /// One of 32 random bytes.
    #[must_use]
    pub fn of(seed: [u8; 32]) -> Self {
        Self::with(SigningKey::from_bytes(&seed))
    }

    /// Reads a private key.
    ///
    /// # Errors
    /// It is none.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(text.trim()).map(Self::with).map_err(|_| KeyError::NotPrivate)
    }

    fn with(key: SigningKey) -> Self {
        let id = id(&key.verifying_key());
        Self { key, id }
    }

    /// The private key, PEM.
    ///
    /// # Errors
    /// It could not be written.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let text = self.key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::NotWritten)?;
        Ok(text.as_str().to_owned())
    }

    /// What others verify with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    /// The id of the key, for finding it again: SHA-256 of the public key's DER form, in hex.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).to_bytes().to_vec()
    }
}

/// What verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// It is none.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_pem(text.trim()).map(Self).map_err(|_| KeyError::NotPublic)
    }

    /// The key, PEM.
    ///
    /// # Errors
    /// It could not be written.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        self.0.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::NotWritten)
    }

    /// Its id, as [`Signer::id`].
    #[must_use]
    pub fn id(&self) -> String {
        id(&self.0)
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        // The strict form also refuses keys and signatures that fit more than one message.
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

fn id(key: &VerifyingKey) -> String {
    let der = key.to_public_key_der().map(|der| der.as_bytes().to_vec()).unwrap_or_default();
    Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect()
}
