//! Dead Simple Signing Envelope (DSSE 1.0): what is signed, with its type, so that nothing is read before it is verified.

use thiserror::Error;

use super::keys::{PublicKey, Signer};
use crate::pb::weighbridge::v1 as pb;

/// The type of an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Why an envelope does not hold.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DsseError {
    /// It holds something else.
    #[error("the envelope holds `{0}`, and no in-toto statement ({PAYLOAD_TYPE})")]
    OtherType(String),
    /// Nobody signed it.
    #[error("the envelope has no signature")]
    NotSigned,
    /// None of the keys made a signature of it.
    #[error("no signature is of a key that was given: it was changed, or signed with {0}")]
    NotVerified(String),
}

/// What is signed in place of the payload (`PAE` of the specification).
fn encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Signs a statement.
#[must_use]
pub fn sign(statement: Vec<u8>, signer: &Signer) -> pb::Envelope {
    let sig = signer.sign(&encoding(PAYLOAD_TYPE, &statement));
    pb::Envelope {
        payload: statement,
        payload_type: PAYLOAD_TYPE.to_owned(),
        signatures: vec![pb::envelope::Signature { keyid: signer.id().to_owned(), sig }],
    }
}

/// The statement of an envelope, which one of some keys signed.
///
/// # Errors
/// None did, or it holds something else.
pub fn verify<'e>(envelope: &'e pb::Envelope, keys: &[PublicKey]) -> Result<&'e [u8], DsseError> {
    if envelope.signatures.is_empty() {
        return Err(DsseError::NotSigned);
    }
    let signed = encoding(&envelope.payload_type, &envelope.payload);
    // The id of a key is a hint, which nothing rests on.
    let verified =
        envelope.signatures.iter().any(|signature| keys.iter().any(|key| key.verifies(&signed, &signature.sig)));
    if !verified {
        let ids: Vec<&str> = envelope.signatures.iter().map(|signature| signature.keyid.as_str()).collect();
        return Err(DsseError::NotVerified(ids.join(", ")));
    }
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(DsseError::OtherType(envelope.payload_type.clone()));
    }
    Ok(&envelope.payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(encoding("http://example.com/HelloWorld", b"hello world"), expected);
    }

    #[test]
    fn what_was_changed_is_not_verified() {
        let (signer, other) = (Signer::of([7; 32]), Signer::of([8; 32]));
        let signed = sign(b"{}".to_vec(), &signer);
        let keys = [other.public(), signer.public()];
        assert_eq!(verify(&signed, &keys), Ok(b"{}".as_slice()));
        let refused = |change: &dyn Fn(&mut pb::Envelope)| {
            let mut changed = signed.clone();
            change(&mut changed);
            verify(&changed, &keys).unwrap_err()
        };
        let not_verified = DsseError::NotVerified(signer.id().to_owned());
        assert_eq!(refused(&|envelope| envelope.payload.push(b' ')), not_verified);
        assert_eq!(refused(&|envelope| envelope.payload_type.push('x')), not_verified);
        assert_eq!(refused(&|envelope| envelope.signatures[0].sig[5] ^= 1), not_verified);
        assert_eq!(refused(&|envelope| envelope.signatures[0].sig.truncate(63)), not_verified);
        assert_eq!(refused(&|envelope| envelope.signatures.clear()), DsseError::NotSigned);
        assert_eq!(verify(&signed, &[other.public()]), Err(not_verified));
        assert!(verify(&signed, &[]).is_err());
        // The id does not count.
        let renamed = pb::envelope::Signature { keyid: "x".into(), ..signed.signatures[0].clone() };
        assert!(verify(&pb::Envelope { signatures: vec![renamed], ..signed.clone() }, &keys).is_ok());
        // One of another type is not taken for a statement.
        let sig = signer.sign(&encoding("text/plain", b"{}"));
        let signature = pb::envelope::Signature { keyid: String::new(), sig };
        let typed = pb::Envelope { payload_type: "text/plain".into(), signatures: vec![signature], ..signed };
        assert_eq!(verify(&typed, &keys), Err(DsseError::OtherType("text/plain".into())));
    }

    #[test]
    fn keys_are_read_as_they_were_written() {
        let signer = Signer::of([9; 32]);
        let (private, public) = (signer.to_pem().unwrap(), signer.public().to_pem().unwrap());
        assert!(private.starts_with("-----BEGIN PRIVATE KEY-----"), "{private}");
        assert_eq!(Signer::from_pem(&private).unwrap().id(), signer.id());
        assert_eq!(PublicKey::from_pem(&public), Ok(signer.public()));
        assert_eq!(signer.public().id(), signer.id());
        assert!(Signer::from_pem(&public).is_err() && PublicKey::from_pem(&private).is_err());
        assert!(!format!("{signer:?}").contains("key:"));
        // The private key of RFC 8410, section 10.3, and the public one of section 10.1.
        let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        assert_eq!(Signer::from_pem(private).unwrap().public(), PublicKey::from_pem(public).unwrap());
    }
}
